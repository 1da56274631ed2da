//! `bailian tenants`: who pays.

use std::collections::BTreeMap;

use serde_json::json;

use crate::admin::{self, Access, Admin, clean, text};
use crate::failure::Failure;
use crate::moments::Clock;
use crate::nodes::{self, Action, OfAll, Settings};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: OfTenants,
    #[command(flatten)]
    clock: Clock,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, clap::Subcommand)]
enum OfTenants {
    /// Lists tenants.
    List {
        /// Prints one JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Makes a tenant with one project, so that keys can be made for it; prints the tenant's id.
    Create(Box<New>),
    #[command(flatten)]
    One(Action<OfAll>),
}

#[derive(Debug, clap::Args)]
struct New {
    /// The tenant's name.
    name: String,
    /// The project's name.
    #[arg(long, default_value = "default")]
    project: String,
    #[command(flatten)]
    settings: Settings,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let admin = Admin::open(&arguments.access)?;
    let clock = arguments.clock;
    match &arguments.action {
        OfTenants::List { json } => list(&admin, *json, clock),
        OfTenants::Create(new) => create(&admin, new, clock),
        OfTenants::One(action) => action.run(&admin, clock),
    }
}

fn list(admin: &Admin, as_json: bool, clock: Clock) -> Result<(), Failure> {
    let tenants = admin.list("/tenants", &[])?;
    let mut projects: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if !as_json {
        for project in admin.list("/projects", &[])? {
            let of_it = projects.entry(text(&project, "tenant")).or_default();
            of_it.push(text(&project, "name"));
        }
    }
    let shown = nodes::list(
        tenants,
        as_json,
        [&[], &["PROJECTS"]],
        |tenant| {
            let of_it = projects.get(&text(tenant, "id"));
            [
                vec![],
                vec![of_it.map_or_else(String::new, |it| it.join(", "))],
            ]
        },
        clock,
    );
    admin::print(&shown)
}

fn create(admin: &Admin, new: &New, clock: Clock) -> Result<(), Failure> {
    let mut body = new.settings.members(clock).map_err(Failure::Usage)?;
    body.insert("name".to_owned(), new.name.clone().into());
    let tenant = admin.post("/tenants", &body.into())?;
    let id = text(&tenant, "id");
    let (shown, shown_project) = (clean(&new.name), clean(&new.project));
    eprintln!("tenant {shown} ({id}) is made");
    admin::print(&format!("{id}\n"))?;
    admin.post("/projects", &json!({ "name": new.project, "tenant": id }))?;
    eprintln!(
        "its project is {shown_project}; next: `bailian keys create NAME --tenant {id} --project \
         {shown_project}`"
    );
    Ok(())
}
