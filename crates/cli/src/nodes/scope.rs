//! Where a tenant, a project or a key is looked for by its name.

use super::{Kind, id_of};
use crate::admin::Admin;
use crate::failure::Failure;

/// Where something is looked for by its name.
pub(crate) trait Scope: clap::Args {
    const KIND: Kind;
    /// The tenant that it belongs to, by its name or id.
    fn tenant(&self) -> Option<&str> {
        None
    }
    /// The project that it belongs to, by its name or id.
    fn project(&self) -> Option<&str> {
        None
    }
}

/// Tenants, whose names are unique.
#[derive(Debug, clap::Args)]
pub(crate) struct OfAll;

impl Scope for OfAll {
    const KIND: Kind = Kind::Tenant;
}

/// Projects, whose names are unique in a tenant.
#[derive(Debug, clap::Args)]
pub(crate) struct InTenant {
    /// Looks in this tenant, by its name or id.
    #[arg(long)]
    pub(crate) tenant: Option<String>,
}

impl Scope for InTenant {
    const KIND: Kind = Kind::Project;
    fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }
}

/// Keys, whose names are unique in a project.
#[derive(Debug, clap::Args)]
pub(crate) struct InProject {
    /// Looks in this tenant, by its name or id.
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// Looks in this project, by its name or id.
    #[arg(long)]
    pub(crate) project: Option<String>,
}

impl Scope for InProject {
    const KIND: Kind = Kind::Key;
    fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }
    fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }
}

/// The ids of the tenant and the project that a scope names, for a list of the admin API.
#[derive(Debug)]
pub(super) struct Place {
    tenant: Option<String>,
    project: Option<String>,
}

impl Place {
    pub(super) fn find<S: Scope>(admin: &Admin, scope: &S) -> Result<Self, Failure> {
        let tenant = scope.tenant().map(|it| id_of(admin, it, &OfAll));
        let within = InTenant {
            tenant: tenant.transpose()?,
        };
        let project = scope.project().map(|it| id_of(admin, it, &within));
        Ok(Self {
            project: project.transpose()?,
            tenant: within.tenant,
        })
    }

    /// The parameters that keep a list to it.
    pub(super) fn query(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let tenant = self.tenant.as_deref().map(|id| ("tenant", id));
        let project = self.project.as_deref().map(|id| ("project", id));
        tenant.into_iter().chain(project)
    }
}
