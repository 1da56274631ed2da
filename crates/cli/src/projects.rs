//! `bailian projects`: the parts of a tenant.

use serde_json::Value;

use crate::admin::{self, Admin, clean, text};
use crate::failure::Failure;
use crate::moments::Clock;
use crate::nodes::{self, Action, InTenant, Listing, Names, OfAll, Settings};

pub(crate) type Arguments = nodes::Arguments<OfProjects>;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum OfProjects {
    /// Lists projects.
    List(Listing<InTenant>),
    /// Makes a project and prints its id.
    Create(Box<New>),
    #[command(flatten)]
    One(Action<InTenant>),
}

#[derive(Debug, clap::Args)]
pub(crate) struct New {
    /// The project's name.
    name: String,
    /// The tenant, by its name or id.
    #[arg(long, default_value = "default")]
    tenant: String,
    #[command(flatten)]
    settings: Settings,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (admin, clock) = (arguments.admin()?, arguments.clock);
    match &arguments.action {
        OfProjects::List(listing) => list(&admin, listing, clock),
        OfProjects::Create(new) => create(&admin, new, clock),
        OfProjects::One(action) => action.run(&admin, clock),
    }
}

fn list(admin: &Admin, listing: &Listing<InTenant>, clock: Clock) -> Result<(), Failure> {
    listing.run(admin, clock, [&["TENANT"], &[]], || {
        let names = Names::read(admin)?;
        Ok(move |project: &Value| [vec![names.of(project, "tenant")], vec![]])
    })
}

fn create(admin: &Admin, new: &New, clock: Clock) -> Result<(), Failure> {
    let mut body = new.settings.of_new(&new.name, clock)?;
    let tenant = nodes::parent(admin, &new.tenant, &OfAll)?;
    body.insert("tenant".to_owned(), tenant.into());
    let project = admin.post("/projects", &body.into())?;
    let (id, name) = (text(&project, "id"), clean(&new.name));
    eprintln!("project {name} ({id}) is made; next: `bailian keys create NAME --project {id}`");
    admin::print(&format!("{id}\n"))
}
