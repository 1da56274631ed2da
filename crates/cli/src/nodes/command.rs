//! How the commands for tenants, projects and keys begin, and how they list.

use serde_json::Value;

use super::scope::{Place, Scope};
use super::shown;
use crate::admin::{self, Access, Admin};
use crate::failure::Failure;
use crate::moments::Clock;

/// What is to be done, at which gateway, and in whose time.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments<A: clap::Subcommand> {
    #[command(subcommand)]
    pub(crate) action: A,
    #[command(flatten)]
    pub(crate) clock: Clock,
    #[command(flatten)]
    access: Access,
}

impl<A: clap::Subcommand> Arguments<A> {
    pub(crate) fn admin(&self) -> Result<Admin, Failure> {
        Admin::open(&self.access)
    }
}

/// Which are listed, and in which form.
#[derive(Debug, clap::Args)]
pub(crate) struct Listing<S: Scope> {
    #[command(flatten)]
    scope: S,
    /// Prints one JSON array.
    #[arg(long)]
    json: bool,
}

impl<S: Scope> Listing<S> {
    /// Prints a table, or the array of the admin API. `cells` reads what else a table needs, and
    /// gives what makes the cells of one before its status and behind the others.
    pub(crate) fn run<C>(
        &self,
        admin: &Admin,
        clock: Clock,
        heads: [&[&str]; 2],
        cells: impl FnOnce() -> Result<C, Failure>,
    ) -> Result<(), Failure>
    where
        C: Fn(&Value) -> [Vec<String>; 2],
    {
        let place = Place::find(admin, &self.scope)?;
        let query: Vec<(&str, &str)> = place.query().collect();
        let nodes = admin.list(S::KIND.path(), &query)?;
        if self.json {
            return admin::print_json(&Value::from(nodes));
        }
        admin::print(&shown::list(&nodes, heads, cells()?, clock))
    }
}
