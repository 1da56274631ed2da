//! Tenants, projects and keys as the admin API shows them. No secret and no digest is among it.

use bailian_tenants::model::{Project, Row, Tenant, VirtualKey};
use bailian_tenants::settings::{Settings, SettingsInput};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
pub(super) struct TenantView {
    #[schema(example = "t_4fTz81QwXk")]
    id: String,
    #[serde(flatten)]
    state: State,
    #[serde(flatten)]
    #[schema(value_type = SettingsInput)]
    settings: Settings,
}

/// A project.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Project)]
pub(super) struct ProjectView {
    #[schema(example = "p_4fTz81QwXk")]
    id: String,
    /// The tenant that it belongs to.
    tenant: String,
    #[serde(flatten)]
    state: State,
    #[serde(flatten)]
    #[schema(value_type = SettingsInput)]
    settings: Settings,
}

/// A virtual key, without what opens it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
pub(super) struct KeyView {
    #[schema(example = "k_4fTz81QwXk")]
    id: String,
    /// The project that it belongs to.
    project: String,
    /// The project's tenant, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// The secrets that open it, the newest last.
    credentials: Vec<CredentialView>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
    #[serde(flatten)]
    state: State,
    #[serde(flatten)]
    #[schema(value_type = SettingsInput)]
    settings: Settings,
}

/// A key with its secret, which is shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MadeKey {
    /// The key that callers present. Nobody can read it again. Left out where somebody chose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "bl-k7Qp2mXa-…")]
    pub(super) key: Option<String>,
    #[serde(flatten)]
    pub(super) view: KeyView,
}

/// One secret of a key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Credential)]
struct CredentialView {
    /// What recognises it: the first part of a key's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_id: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it stops to open, after another took its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    valid_until: Option<Timestamp>,
}

/// What a tenant, a project and a key have in common beside their settings.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NodeState)]
struct State {
    /// `tenant`, `project` or `key`.
    object: &'static str,
    /// The change that made it what it is; to be given back as `If-Match` or `revision`.
    revision: u64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// `active`, `disabled`, `expired` or `revoked`, by its own settings.
    status: &'static str,
    /// Stands in the configuration, and can be changed there only.
    fixed: bool,
}

/// One of the three.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum View {
    Tenant(TenantView),
    Project(ProjectView),
    Key(Box<KeyView>),
}

/// What a row is shown with.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) now: Timestamp,
    pub(super) is_fixed: bool,
    /// The tenant of a key's project.
    pub(super) tenant: Option<String>,
}

impl View {
    /// `None` for what this program has no form for.
    pub(super) fn of(row: Row, context: Context) -> Option<Self> {
        match row {
            Row::Tenant(tenant) => Some(Self::Tenant(TenantView::of(tenant, &context))),
            Row::Project(project) => Some(Self::Project(ProjectView::of(project, &context))),
            Row::Key(key) => Some(Self::Key(Box::new(KeyView::of(key, context)))),
            _ => None,
        }
    }
}

impl TenantView {
    pub(super) fn of(tenant: Tenant, context: &Context) -> Self {
        let revision = tenant.revision.0;
        Self {
            id: tenant.id.to_string(),
            state: State::of(
                "tenant",
                revision,
                tenant.created_at,
                &tenant.settings,
                context,
            ),
            settings: tenant.settings,
        }
    }
}

impl ProjectView {
    pub(super) fn of(project: Project, context: &Context) -> Self {
        let revision = project.revision.0;
        Self {
            id: project.id.to_string(),
            tenant: project.tenant.to_string(),
            state: State::of(
                "project",
                revision,
                project.created_at,
                &project.settings,
                context,
            ),
            settings: project.settings,
        }
    }
}

impl KeyView {
    pub(super) fn of(key: VirtualKey, context: Context) -> Self {
        let revision = key.revision.0;
        let mut state = State::of("key", revision, key.created_at, &key.settings, &context);
        if key.revoked.is_some() {
            state.status = "revoked";
        }
        let credentials = key.credentials.into_iter();
        let credentials = credentials.filter(|it| it.is_valid(context.now));
        Self {
            id: key.id.to_string(),
            project: key.project.to_string(),
            tenant: context.tenant,
            credentials: credentials
                .map(|credential| CredentialView {
                    public_id: credential.public_id.map(|id| id.to_string()),
                    created_at: credential.created_at,
                    valid_until: credential.valid_until,
                })
                .collect(),
            revoked_at: key.revoked.map(|revoked| revoked.at),
            state,
            settings: key.settings,
        }
    }
}

impl State {
    fn of(
        object: &'static str,
        revision: u64,
        created_at: Timestamp,
        settings: &Settings,
        context: &Context,
    ) -> Self {
        let is_expired = settings.expires_at.is_some_and(|end| end <= context.now);
        Self {
            object,
            revision,
            created_at,
            status: match () {
                () if settings.disabled => "disabled",
                () if is_expired => "expired",
                () => "active",
            },
            fixed: context.is_fixed,
        }
    }
}
