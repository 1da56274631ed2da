//! `bailian tenants`: who pays.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::admin::{self, Admin, clean, text};
use crate::failure::Failure;
use crate::moments::Clock;
use crate::nodes::{self, Action, Listing, OfAll, Settings};

pub(crate) type Arguments = nodes::Arguments<OfTenants>;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum OfTenants {
    /// Lists tenants.
    List(Listing<OfAll>),
    /// Makes a tenant with one project, so that keys can be made for it; prints the tenant's id.
    Create(Box<New>),
    #[command(flatten)]
    One(Action<OfAll>),
}

#[derive(Debug, clap::Args)]
pub(crate) struct New {
    /// The tenant's name.
    name: String,
    /// The project's name.
    #[arg(long, default_value = "default")]
    project: String,
    #[command(flatten)]
    settings: Settings,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (admin, clock) = (arguments.admin()?, arguments.clock);
    match &arguments.action {
        OfTenants::List(listing) => list(&admin, listing, clock),
        OfTenants::Create(new) => create(&admin, new, clock),
        OfTenants::One(action) => action.run(&admin, clock),
    }
}

fn list(admin: &Admin, listing: &Listing<OfAll>, clock: Clock) -> Result<(), Failure> {
    listing.run(admin, clock, [&[], &["PROJECTS"]], || {
        let mut projects: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for project in admin.list("/projects", &[])? {
            let of_it = projects.entry(text(&project, "tenant")).or_default();
            of_it.push(text(&project, "name"));
        }
        Ok(move |tenant: &Value| {
            let of_it = projects.get(&text(tenant, "id"));
            let names = of_it.map_or_else(String::new, |it| it.join(", "));
            [vec![], vec![names]]
        })
    })
}

fn create(admin: &Admin, new: &New, clock: Clock) -> Result<(), Failure> {
    let body = new.settings.of_new(&new.name, clock)?;
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
