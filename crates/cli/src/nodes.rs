//! What tenants, projects and keys have in common: they are found, shown, changed and deleted alike.

mod change;
mod command;
mod scope;
mod shown;

use anyhow::anyhow;
use serde_json::Value;

use self::change::Change;
pub(crate) use self::change::Settings;
pub(crate) use self::command::{Arguments, Listing};
pub(crate) use self::scope::{InProject, InTenant, OfAll};
use self::scope::{Place, Scope};
pub(crate) use self::shown::{Names, differences};
use crate::admin::{self, Admin, clean, is_id, text};
use crate::failure::Failure;
use crate::moments::Clock;

/// What something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tenant,
    Project,
    Key,
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Project => "project",
            Self::Key => "key",
        }
    }

    /// Where the admin API has them; also the name of the command.
    fn path(self) -> &'static str {
        match self {
            Self::Tenant => "/tenants",
            Self::Project => "/projects",
            Self::Key => "/keys",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Tenant => "t_",
            Self::Project => "p_",
            Self::Key => "k_",
        }
    }
}

/// What can be done with one of any kind.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Action<S: Scope> {
    /// Shows one with all its settings; a key with how its limits and budgets stand, too.
    Show {
        #[command(flatten)]
        which: Which<S>,
        /// Prints the object of the admin API.
        #[arg(long)]
        json: bool,
    },
    /// Changes the settings that are named; the others stay as they are.
    Change(Box<Change<S>>),
    /// Deletes one with all that is below it. What it used stays in the ledger.
    Delete {
        #[command(flatten)]
        which: Which<S>,
        /// Ends open streams at once, too.
        #[arg(long)]
        cut_streams: bool,
        /// Says that it is meant; without it, what would be deleted is told and nothing is done.
        #[arg(long)]
        yes: bool,
    },
}

/// One of them.
#[derive(Debug, clap::Args)]
pub(crate) struct Which<S: Scope> {
    /// Its name or id.
    which: String,
    #[command(flatten)]
    scope: S,
}

impl<S: Scope> Which<S> {
    pub(crate) fn find(&self, admin: &Admin) -> Result<Value, Failure> {
        find(admin, &self.which, &self.scope)
    }
}

impl<S: Scope> Action<S> {
    pub(crate) fn run(&self, admin: &Admin, clock: Clock) -> Result<(), Failure> {
        match self {
            Self::Show { which, json } => {
                let node = which.find(admin)?;
                if *json {
                    return admin::print_json(&node);
                }
                admin::print(&shown::one(admin, S::KIND, &node, clock)?)
            }
            Self::Change(change) => change.run(admin, clock),
            Self::Delete {
                which,
                cut_streams,
                yes,
            } => delete(admin, S::KIND, &which.find(admin)?, *cut_streams, *yes),
        }
    }
}

/// The one with an id or a name.
pub(crate) fn find<S: Scope>(admin: &Admin, which: &str, scope: &S) -> Result<Value, Failure> {
    let kind = S::KIND;
    if is_id(which, kind.prefix()) {
        let node = admin.find(&format!("{}/{which}", kind.path()))?;
        return node.ok_or_else(|| none(kind, which));
    }
    let place = Place::find(admin, scope)?;
    let mut query = vec![("name", which)];
    query.extend(place.query());
    let mut found = admin.list(kind.path(), &query)?;
    // A revoked key is not meant where another has the same name.
    if found.len() > 1 && found.iter().any(|node| node["status"] != "revoked") {
        found.retain(|node| node["status"] != "revoked");
    }
    let (word, shown) = (kind.word(), clean(which));
    match found.len() {
        0 => {
            let inside = [("tenant", scope.tenant()), ("project", scope.project())];
            let inside: String = inside
                .iter()
                .filter_map(|(word, it)| it.map(|it| format!(" in the {word} {}", clean(it))))
                .collect();
            Err(none(kind, &format!("{shown}{inside}")))
        }
        1 => Ok(found.remove(0)),
        _ => {
            let names = Names::read(admin)?;
            let places: Vec<String> = found
                .iter()
                .map(|node| format!("\n  - {}  {}", text(node, "id"), names.place(node)))
                .collect();
            Err(Failure::run(anyhow!(
                "several {word}s have the name {shown}; give the id of one:{}",
                places.concat()
            )))
        }
    }
}

fn none(kind: Kind, what: &str) -> Failure {
    let word = kind.word();
    Failure::run(anyhow!(
        "there is no {word} {what}; `bailian {word}s list` shows all, `bailian {word}s create` \
         makes one"
    ))
}

/// Says that a question to the ledger has no answer, and which name in it nobody has.
pub(crate) fn nothing(admin: &Admin, query: &[(&str, &str)], what: &str) -> Result<(), Failure> {
    for kind in [Kind::Tenant, Kind::Project, Kind::Key] {
        let word = kind.word();
        let asked = query.iter().find(|(name, _)| *name == word);
        let Some((_, name)) = asked.filter(|(_, it)| !is_id(it, kind.prefix())) else {
            continue;
        };
        if admin.list(kind.path(), &[("name", name)])?.is_empty() {
            let name = clean(name);
            return Err(Failure::run(anyhow!(
                "there is no {word} {name}; `bailian {word}s list` shows all, and `bailian audit \
                 {name}` the id of one that was deleted, by which the ledger knows it"
            )));
        }
    }
    eprintln!("{what}; what began this second may be missing");
    Ok(())
}

/// The id of what something is to be made in.
pub(crate) fn parent<S: Scope>(admin: &Admin, which: &str, scope: &S) -> Result<String, Failure> {
    let (node, word) = (find(admin, which, scope)?, S::KIND.word());
    if node["fixed"] == true {
        return Err(Failure::run(anyhow!(
            "the {word} {} stands in the gateway's configuration, as does all that is in it; make a \
             tenant with `bailian tenants create NAME`, and name it with --tenant",
            text(&node, "name")
        )));
    }
    Ok(text(&node, "id"))
}

/// Its id; one that is given as an id is not asked for.
pub(crate) fn id_of<S: Scope>(admin: &Admin, which: &str, scope: &S) -> Result<String, Failure> {
    if is_id(which, S::KIND.prefix()) {
        return Ok(which.to_owned());
    }
    find(admin, which, scope).map(|node| text(&node, "id"))
}

fn delete(
    admin: &Admin,
    kind: Kind,
    node: &Value,
    cut_streams: bool,
    yes: bool,
) -> Result<(), Failure> {
    let (id, name, word) = (text(node, "id"), text(node, "name"), kind.word());
    let below = |what: Kind| -> Result<String, Failure> {
        let count = admin.list(what.path(), &[(word, id.as_str())])?.len();
        let s = if count == 1 { "" } else { "s" };
        Ok(format!("{count} {}{s}", what.word()))
    };
    let below = match kind {
        Kind::Tenant => format!(" with {} and {}", below(Kind::Project)?, below(Kind::Key)?),
        Kind::Project => format!(" with {}", below(Kind::Key)?),
        Kind::Key => String::new(),
    };
    if !yes {
        return Err(Failure::usage(anyhow!(
            "this deletes the {word} {name} ({id}){below} for ever; say it again with --yes"
        )));
    }
    let revision = node["revision"].to_string();
    let mut query = vec![("revision", revision.as_str())];
    query.extend(cut_streams.then_some(("cut_streams", "true")));
    admin.delete(&format!("{}/{id}", kind.path()), &query)?;
    eprintln!("{word} {name} ({id}){below} is deleted");
    Ok(())
}
