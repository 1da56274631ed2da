//! What holds from the start to the end of a process, whatever the file says in between.

use secrecy::ExposeSecret as _;

use crate::config::{Config, DataConfig};

/// Puts back what cannot be changed while the gateway runs, and names what was changed of it.
pub(super) fn keep(running: &Config, new: &mut Config) -> Vec<&'static str> {
    let compared = [
        ("listen", running.listen == new.listen),
        ("admin_listen", running.admin_listen == new.admin_listen),
        ("threads", running.threads == new.threads),
        ("tls", running.tls == new.tls),
        ("hand_over", running.hand_over == new.hand_over),
        ("reload", running.reload == new.reload),
        ("redis", running.redis == new.redis),
        ("prices.rates", running.prices.rates == new.prices.rates),
        ("telemetry", running.telemetry == new.telemetry),
        ("data", is_same_data(running, new)),
    ];
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
    let changed = compared.into_iter().filter(|(_, is_same)| !is_same);
    changed.map(|(place, _)| place).collect()
}

fn is_same_data(running: &Config, new: &Config) -> bool {
    let place = |config: &Config| {
        config.data.as_ref().map(|data| {
            let database = data.database.as_ref();
            let database = database.map(|address| address.expose_secret().to_owned());
            (data.folder.clone(), data.keep_days, database)
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
