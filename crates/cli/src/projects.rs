//! `bailian projects`: the parts of a tenant.

use crate::admin::{self, Access, Admin, clean, text};
use crate::failure::Failure;
use crate::moments::Clock;
use crate::nodes::{self, Action, InTenant, Names, OfAll, Settings};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: OfProjects,
    #[command(flatten)]
    clock: Clock,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, clap::Subcommand)]
enum OfProjects {
    /// Lists projects.
    List {
        /// Lists those of this tenant, by its name or id.
        #[arg(long)]
        tenant: Option<String>,
        /// Prints one JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Makes a project and prints its id.
    Create(Box<New>),
    #[command(flatten)]
    One(Action<InTenant>),
}

#[derive(Debug, clap::Args)]
struct New {
    /// The project's name.
    name: String,
    /// The tenant, by its name or id.
    #[arg(long, default_value = "default")]
    tenant: String,
    #[command(flatten)]
    settings: Settings,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let admin = Admin::open(&arguments.access)?;
    let clock = arguments.clock;
    match &arguments.action {
        OfProjects::List { tenant, json } => list(&admin, tenant.as_deref(), *json, clock),
        OfProjects::Create(new) => create(&admin, new, clock),
        OfProjects::One(action) => action.run(&admin, clock),
    }
}

fn list(admin: &Admin, tenant: Option<&str>, as_json: bool, clock: Clock) -> Result<(), Failure> {
    let tenant = tenant.map(|it| nodes::id_of(admin, it, &OfAll));
    let tenant = tenant.transpose()?;
    let query = tenant.as_deref().map(|tenant| ("tenant", tenant));
    let projects = admin.list("/projects", query.as_slice())?;
    let names = Names::unless(as_json, admin)?;
    let shown = nodes::list(
        projects,
        as_json,
        [&["TENANT"], &[]],
        |project| [vec![names.of(project, "tenant")], vec![]],
        clock,
    );
    admin::print(&shown)
}

fn create(admin: &Admin, new: &New, clock: Clock) -> Result<(), Failure> {
    let mut body = new.settings.members(clock).map_err(Failure::Usage)?;
    let tenant = nodes::parent(admin, &new.tenant, &OfAll)?;
    body.insert("name".to_owned(), new.name.clone().into());
    body.insert("tenant".to_owned(), tenant.into());
    let project = admin.post("/projects", &body.into())?;
    let (id, name) = (text(&project, "id"), clean(&new.name));
    eprintln!("project {name} ({id}) is made; next: `bailian keys create NAME --project {id}`");
    admin::print(&format!("{id}\n"))
}
