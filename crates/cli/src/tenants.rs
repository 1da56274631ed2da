//! `bailian tenants`: who pays.

use anyhow::anyhow;
use serde_json::{Value, json};

use crate::admin::{self, Access, Admin, clean, is_id, text};
use crate::failure::Failure;
use crate::usage::table::{self, Side};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Lists tenants.
    List {
        /// Prints one JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Makes a tenant with one project, so that keys can be made for it; prints the tenant's id.
    Create {
        /// The tenant's name.
        name: String,
        /// The project's name.
        #[arg(long, default_value = "default")]
        project: String,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let admin = Admin::open(&arguments.access)?;
    match &arguments.action {
        Action::List { json } => list(&admin, *json),
        Action::Create { name, project } => create(&admin, name, project),
    }
}

fn list(admin: &Admin, as_json: bool) -> Result<(), Failure> {
    let tenants = admin.list("/tenants", &[])?;
    if as_json {
        return admin::print(&format!("{:#}\n", Value::from(tenants)));
    }
    let projects = admin.list("/projects", &[])?;
    let rows: Vec<Vec<String>> = tenants
        .iter()
        .map(|tenant| {
            let of_it = projects.iter().filter(|it| it["tenant"] == tenant["id"]);
            let of_it: Vec<String> = of_it.map(|project| text(project, "name")).collect();
            let fixed = if tenant["fixed"] == true {
                " (configuration)"
            } else {
                ""
            };
            vec![
                text(tenant, "id"),
                text(tenant, "name"),
                format!("{}{fixed}", text(tenant, "status")),
                text(tenant, "created_at").chars().take(10).collect(),
                of_it.join(", "),
            ]
        })
        .collect();
    let heads = ["ID", "NAME", "STATUS", "CREATED", "PROJECTS"];
    let heads = heads.map(|head| (head.to_owned(), Side::Left));
    admin::print(&table::aligned(&heads, &rows))
}

fn create(admin: &Admin, name: &str, project: &str) -> Result<(), Failure> {
    let tenant = admin.post("/tenants", &json!({ "name": name }))?;
    let id = text(&tenant, "id");
    let (shown, shown_project) = (clean(name), clean(project));
    eprintln!("tenant {shown} ({id}) is made");
    admin::print(&format!("{id}\n"))?;
    admin.post("/projects", &json!({ "name": project, "tenant": id }))?;
    eprintln!(
        "its project is {shown_project}; next: `bailian keys create NAME --tenant {id} --project \
         {shown_project}`"
    );
    Ok(())
}

/// The id of the tenant with an id or a name.
pub(crate) fn id_of(admin: &Admin, tenant: &str) -> Result<String, Failure> {
    if is_id(tenant, "t_") {
        return Ok(tenant.to_owned());
    }
    let named = admin.list("/tenants", &[("name", tenant)])?;
    let id = named.first().map(|tenant| text(tenant, "id"));
    id.ok_or_else(|| {
        Failure::run(anyhow!(
            "there is no tenant {}; `bailian tenants list` shows all, `bailian tenants create` \
             makes one",
            clean(tenant)
        ))
    })
}
