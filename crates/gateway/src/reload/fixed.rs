//! What holds from the start to the end of a process, whatever the file says in between.

use secrecy::ExposeSecret as _;

use crate::config::{Config, DataConfig};

/// These settings, by their place; what stands in them is meant, too.
const AT_NEXT_START: [&str; 10] = [
    "listen",
    "admin.listen",
    "threads",
    "tls",
    "hand_over",
    "reload",
    "redis",
    "prices.rates",
    "telemetry",
    "data",
];

/// Whether a change of a setting, such as `data.folder`, takes effect at the next start only.
pub(crate) fn is_fixed(path: &str) -> bool {
    AT_NEXT_START.iter().any(|place| {
        let rest = path.strip_prefix(place);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

fn is_same(place: &str, running: &Config, new: &Config) -> bool {
    match place {
        "listen" => running.listen == new.listen,
        "admin.listen" => running.admin_listen == new.admin_listen,
        "threads" => running.threads == new.threads,
        "tls" => running.tls == new.tls,
        "hand_over" => running.hand_over == new.hand_over,
        "reload" => running.reload == new.reload,
        "redis" => running.redis == new.redis,
        "prices.rates" => running.prices.rates == new.prices.rates,
        "telemetry" => running.telemetry == new.telemetry,
        _ => is_same_data(running, new),
    }
}

/// Puts back what cannot be changed while the gateway runs, and names what was changed of it.
pub(super) fn keep(running: &Config, new: &mut Config) -> Vec<&'static str> {
    let changed: Vec<&str> = AT_NEXT_START
        .into_iter()
        .filter(|place| !is_same(place, running, new))
        .collect();
    new.listen = running.listen;
    new.admin_listen = running.admin_listen;
    new.threads = running.threads;
    new.tls.clone_from(&running.tls);
    new.hand_over.clone_from(&running.hand_over);
    new.reload = running.reload;
    new.redis.clone_from(&running.redis);
    new.prices.rates = running.prices.rates.clone();
    new.telemetry.clone_from(&running.telemetry);
    // The tenants in it may change.
    let tenants = new.data.take().map(|data| data.tenants).unwrap_or_default();
    new.data = running
        .data
        .clone()
        .map(|data| DataConfig { tenants, ..data });
    changed
}

fn is_same_data(running: &Config, new: &Config) -> bool {
    let place = |config: &Config| {
        config.data.as_ref().map(|data| {
            let database = data.database.as_ref();
            let database = database.map(|address| address.expose_secret().to_owned());
            (
                data.folder.clone(),
                data.keep_days,
                data.redact.clone(),
                database,
            )
        })
    };
    place(running) == place(new)
}

/// Whether both configurations have an account of that name at the same address.
pub(super) fn is_same_place(running: &Config, new: &Config, account: &str) -> bool {
    let place = |config: &Config| {
        let mut accounts = config.accounts.iter();
        let found = accounts.find(|it| it.name == account)?;
        Some([
            found.native_root.clone(),
            found.openai_root.clone(),
            found.anthropic_root.clone(),
            found.rerank_root.clone(),
        ])
    };
    place(running).is_some() && place(running) == place(new)
}
