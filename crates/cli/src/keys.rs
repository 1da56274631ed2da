//! `bailian keys`: the gateway's virtual keys. A new secret is all that goes to standard output.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::{Context as _, anyhow};
use serde_json::{Map, Value, json};

use crate::admin::{self, Access, Admin, clean, is_id, text};
use crate::failure::Failure;
use crate::tenants;
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
    /// Lists keys, without what opens them.
    List {
        /// Lists those of this tenant, by its name or id.
        #[arg(long)]
        tenant: Option<String>,
        /// Prints one JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Makes a key and prints it, this once.
    Create(Box<New>),
    /// Gives a key a new secret and prints it, this once.
    Rotate {
        /// The key's id or name.
        key: String,
        /// How long the old secrets open beside the new one; 0s ends them at once, as it should be
        /// when one has leaked. At most 90d.
        #[arg(long, default_value = "24h")]
        overlap: String,
    },
    /// Ends a key for ever.
    Revoke {
        /// The key's id or name.
        key: String,
        /// Ends its open streams at once, too.
        #[arg(long)]
        cut_streams: bool,
    },
}

#[derive(Debug, clap::Args)]
struct New {
    /// The key's name.
    name: String,
    /// The tenant, by its name or id.
    #[arg(long, default_value = "default")]
    tenant: String,
    /// The tenant's project, by its name or id.
    #[arg(long, default_value = "default")]
    project: String,
    /// The models that it may use, with commas between, such as qwen-plus or qwen* [default: all].
    #[arg(long, value_delimiter = ',')]
    models: Vec<String>,
    /// The most requests a minute.
    #[arg(long)]
    rpm: Option<u64>,
    /// The most tokens a minute.
    #[arg(long)]
    tpm: Option<u64>,
    /// The most requests at once.
    #[arg(long)]
    concurrency: Option<u64>,
    /// When it ends, such as 2026-12-31T16:00:00Z [default: never].
    #[arg(long)]
    expires_at: Option<String>,
    /// Other settings of docs/keys.md as a JSON object, such as '{"budgets": […]}'.
    #[arg(long, value_name = "JSON")]
    settings: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let admin = Admin::open(&arguments.access)?;
    match &arguments.action {
        Action::List { tenant, json } => list(&admin, tenant.as_deref(), *json),
        Action::Create(new) => create(&admin, new),
        Action::Rotate { key, overlap } => {
            let key = find(&admin, key)?;
            let body = json!({ "overlap": overlap, "revision": key["revision"] });
            let path = format!("/keys/{}/rotate", text(&key, "id"));
            let rotated = admin.post(&path, &body)?;
            told(&rotated, "has a new secret")?;
            eprintln!("how long the old ones open, too: {}", clean(overlap));
            Ok(())
        }
        Action::Revoke { key, cut_streams } => {
            let key = find(&admin, key)?;
            let path = format!("/keys/{}/revoke", text(&key, "id"));
            admin.post(&path, &json!({ "cut_streams": cut_streams }))?;
            eprintln!(
                "key {} ({}) is revoked",
                text(&key, "name"),
                text(&key, "id")
            );
            Ok(())
        }
    }
}

fn list(admin: &Admin, tenant: Option<&str>, as_json: bool) -> Result<(), Failure> {
    let tenant = tenant
        .map(|tenant| tenants::id_of(admin, tenant))
        .transpose()?;
    let query = tenant.as_deref().map(|tenant| ("tenant", tenant));
    let keys = admin.list("/keys", query.as_slice())?;
    if as_json {
        return admin::print(&format!("{:#}\n", Value::from(keys)));
    }
    let mut names = BTreeMap::new();
    for path in ["/tenants", "/projects"] {
        for node in admin.list(path, &[])? {
            names.insert(text(&node, "id"), text(&node, "name"));
        }
    }
    let shown = |id: String| names.get(&id).cloned().unwrap_or(id);
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|key| {
            let credentials = key["credentials"].as_array().into_iter().flatten();
            let public: Vec<String> = credentials
                .filter_map(|it| it["public_id"].as_str().map(clean))
                .collect();
            let fixed = if key["fixed"] == true {
                " (configuration)"
            } else {
                ""
            };
            vec![
                text(key, "id"),
                text(key, "name"),
                shown(text(key, "tenant")),
                shown(text(key, "project")),
                format!("{}{fixed}", text(key, "status")),
                text(key, "created_at").chars().take(10).collect(),
                public.join(" "),
            ]
        })
        .collect();
    let heads = [
        "ID", "NAME", "TENANT", "PROJECT", "STATUS", "CREATED", "SECRETS",
    ];
    let heads = heads.map(|head| (head.to_owned(), Side::Left));
    admin::print(&table::aligned(&heads, &rows))
}

fn create(admin: &Admin, new: &New) -> Result<(), Failure> {
    let mut body = settings(new).map_err(Failure::Usage)?;
    let project = if is_id(&new.project, "p_") {
        new.project.clone()
    } else {
        let tenant = tenants::id_of(admin, &new.tenant)?;
        let query = [("tenant", tenant.as_str()), ("name", new.project.as_str())];
        let projects = admin.list("/projects", &query)?;
        let project = projects.first().map(|project| text(project, "id"));
        project.ok_or_else(|| {
            Failure::run(anyhow!(
                "the tenant {} has no project {}; name another with --project",
                clean(&new.tenant),
                clean(&new.project)
            ))
        })?
    };
    body.insert("project".to_owned(), project.into());
    let made = admin.post("/keys", &Value::Object(body))?;
    told(&made, "is made")
}

fn settings(new: &New) -> anyhow::Result<Map<String, Value>> {
    let mut body: Map<String, Value> = match &new.settings {
        Some(text) => serde_json::from_str(text).context("--settings is not a JSON object")?,
        None => Map::new(),
    };
    body.insert("name".to_owned(), new.name.clone().into());
    if !new.models.is_empty() {
        body.insert("models".to_owned(), new.models.clone().into());
    }
    if let Some(end) = &new.expires_at {
        body.insert("expires_at".to_owned(), end.clone().into());
    }
    let limits = [
        ("rpm", new.rpm),
        ("tpm", new.tpm),
        ("concurrency", new.concurrency),
    ];
    for (name, limit) in limits {
        if let Some(limit) = limit {
            let all = body.entry("limits").or_insert_with(|| json!({}));
            let all = all
                .as_object_mut()
                .context("`limits` of --settings is no object")?;
            all.insert(name.to_owned(), limit.into());
        }
    }
    Ok(body)
}

/// Prints the secret of a key to standard output, and what happened to standard error.
fn told(key: &Value, what: &str) -> Result<(), Failure> {
    let (id, name) = (text(key, "id"), text(key, "name"));
    eprintln!("key {name} ({id}) {what}; nobody can read it again, keep it now:");
    let mut out = std::io::stdout().lock();
    let secret = key["key"].as_str().unwrap_or_default();
    // Not even a reader that went away is passed over: the secret would be lost without a word.
    writeln!(out, "{secret}")
        .and_then(|()| out.flush())
        .map_err(|error| {
            let lost =
                format!("cannot write the secret, which is lost; `bailian keys rotate {id}`");
            Failure::run(anyhow::Error::new(error).context(lost))
        })
}

/// The key with an id or a name.
fn find(admin: &Admin, key: &str) -> Result<Value, Failure> {
    if is_id(key, "k_") {
        return admin.get(&format!("/keys/{key}"), &[]);
    }
    let mut named = admin.list("/keys", &[("name", key)])?;
    // A revoked one is not meant where another has the same name.
    if named.len() > 1 {
        named.retain(|key| key["status"] != "revoked");
    }
    let ids: Vec<String> = named.iter().map(|key| text(key, "id")).collect();
    match (named.pop(), ids.len()) {
        (Some(key), 1) => Ok(key),
        (None, _) => Err(Failure::run(anyhow!(
            "there is no key {}; `bailian keys list` shows all",
            clean(key)
        ))),
        (Some(_), _) => Err(Failure::run(anyhow!(
            "several keys have the name {}; give the id, one of {}",
            clean(key),
            ids.join(", ")
        ))),
    }
}
