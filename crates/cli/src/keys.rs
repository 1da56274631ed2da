//! `bailian keys`: the gateway's virtual keys. A new secret is all that goes to standard output.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::admin::{Admin, clean, is_id, text};
use crate::failure::Failure;
use crate::moments::Clock;
use crate::nodes::{self, Action, InProject, InTenant, Listing, Names, OfAll, Settings, Which};

pub(crate) type Arguments = nodes::Arguments<OfKeys>;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum OfKeys {
    /// Lists keys, without what opens them.
    List(Listing<InProject>),
    /// Makes a key and prints it, this once.
    Create(Box<New>),
    #[command(flatten)]
    One(Action<InProject>),
    /// Gives a key a new secret and prints it, this once.
    Rotate {
        #[command(flatten)]
        which: Which<InProject>,
        /// How long the old secrets open beside the new one; 0s ends them at once, as it should be
        /// when one has leaked. At most 90d.
        #[arg(long, default_value = "24h")]
        overlap: String,
    },
    /// Ends a key for ever.
    Revoke {
        #[command(flatten)]
        which: Which<InProject>,
        /// Ends its open streams at once, too.
        #[arg(long)]
        cut_streams: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct New {
    /// The key's name.
    name: String,
    /// The tenant, by its name or id.
    #[arg(long, default_value = "default")]
    tenant: String,
    /// The tenant's project, by its name or id.
    #[arg(long, default_value = "default")]
    project: String,
    #[command(flatten)]
    settings: Settings,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (admin, clock) = (arguments.admin()?, arguments.clock);
    match &arguments.action {
        OfKeys::List(listing) => list(&admin, listing, clock),
        OfKeys::Create(new) => create(&admin, new, clock),
        OfKeys::One(action) => action.run(&admin, clock),
        OfKeys::Rotate { which, overlap } => {
            let key = which.find(&admin)?;
            let body = json!({ "overlap": overlap, "revision": key["revision"] });
            let path = format!("/keys/{}/rotate", text(&key, "id"));
            let rotated = admin.post(&path, &body)?;
            told(&rotated, "has a new secret")?;
            eprintln!("how long the old ones open, too: {}", clean(overlap));
            Ok(())
        }
        OfKeys::Revoke { which, cut_streams } => {
            let key = which.find(&admin)?;
            let (id, name) = (text(&key, "id"), text(&key, "name"));
            let body = json!({ "cut_streams": cut_streams });
            admin.post(&format!("/keys/{id}/revoke"), &body)?;
            eprintln!("key {name} ({id}) is revoked");
            Ok(())
        }
    }
}

fn list(admin: &Admin, listing: &Listing<InProject>, clock: Clock) -> Result<(), Failure> {
    let heads: [&[&str]; 2] = [&["TENANT", "PROJECT"], &["SECRETS"]];
    listing.run(admin, clock, heads, || {
        let names = Names::read(admin)?;
        Ok(move |key: &Value| {
            let credentials = key["credentials"].as_array().into_iter().flatten();
            let public = credentials.filter_map(|it| it["public_id"].as_str().map(clean));
            let public: Vec<String> = public.collect();
            let place = vec![names.of(key, "tenant"), names.of(key, "project")];
            [place, vec![public.join(" ")]]
        })
    })
}

fn create(admin: &Admin, new: &New, clock: Clock) -> Result<(), Failure> {
    let mut body = new.settings.of_new(&new.name, clock)?;
    let tenant = if is_id(&new.project, "p_") {
        None
    } else {
        Some(nodes::parent(admin, &new.tenant, &OfAll)?)
    };
    let scope = InTenant { tenant };
    let project = nodes::parent(admin, &new.project, &scope)?;
    body.insert("project".to_owned(), project.into());
    let made = admin.post("/keys", &body.into())?;
    told(&made, "is made")
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
