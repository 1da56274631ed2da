//! Who may call, what it costs and who pays: the directory of keys, budgets, prices and the ledger,
//! as a request meets them.

mod charge;
mod cost;
mod fixed;
mod health;
mod keeper;
mod sendings;
mod steady;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bailian_ledger::{Filter, Ledger, Postgres, Reader, Settings as LedgerSettings, Sqlite};
use bailian_prices::PriceBook;
use bailian_tenants::budget::share::redis::{
    BudgetSharing, ShareConfig, ShareError, SharedBudgets,
};
use bailian_tenants::budget::{Budgets, Spent};
use bailian_tenants::key::Pepper;
use bailian_tenants::model::Row;
use bailian_tenants::settings::Settings as TenantSettings;
use bailian_tenants::store::{PostgresStore, SqliteStore, Store};
use bailian_tenants::{Admin, Caller, Currency, KeyId, Live, Money, NodeId, Now, Rates};
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::sync::CancellationToken;

pub(crate) use self::charge::{Asked, Charge, Done, is_limited};
use self::health::StoreHealth;
use self::keeper::Keeper;
pub(crate) use self::steady::SteadyClock;
use crate::clock::Clock;
use crate::config::{Config, DataConfig};
use crate::content::{ContentError, Contents};
use crate::record::RequestId;

/// How long a start waits for what earlier processes left to be in the store, so that budgets count
/// it. What takes longer is counted when it is there.
const CATCH_UP: Duration = Duration::from_millis(500);

/// How long the end of a process waits for the ledger's store.
const FINISH: Duration = Duration::from_secs(5);

/// Why keys, budgets or the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The folder cannot be made.
    #[error("the data folder {} cannot be made; set data.folder to one that can", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The secret that keys are digested with cannot be used.
    #[error(transparent)]
    Pepper(#[from] bailian_tenants::key::PepperError),
    /// The store of tenants and keys cannot be used.
    #[error("the store of keys cannot be used")]
    Store(#[from] bailian_tenants::store::StoreError),
    /// The first key cannot be made.
    #[error("the first key cannot be made")]
    FirstKey(#[from] bailian_tenants::AdminError),
    /// The ledger cannot be opened.
    #[error(transparent)]
    Ledger(#[from] bailian_ledger::OpenError),
    /// Limits and budgets cannot be shared with other replicas.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The database's address cannot be used.
    #[error("data.database cannot be used: {0}")]
    Database(String),
    /// What requests say cannot be kept for those who want it.
    #[error(transparent)]
    Content(Box<dyn std::error::Error + Send + Sync>),
    /// The thread beside the requests cannot be started.
    #[error("cannot start the thread that follows the store of keys")]
    Thread(#[source] std::io::Error),
}

impl From<ContentError> for DataError {
    fn from(error: ContentError) -> Self {
        Self::Content(Box::new(error))
    }
}

/// Shared by all runtimes of a gateway.
pub(crate) struct Accounting {
    pub(crate) prices: PriceBook,
    pub(crate) promotions: bool,
    pub(crate) rates: Rates,
    pub(crate) live: Arc<Live>,
    pub(crate) admin: Arc<Admin>,
    /// What stands in the configuration, and can be changed there only.
    pub(crate) fixed: Vec<Row>,
    pub(crate) budgets: Budgets,
    /// What divides them among replicas; `None` for a gateway alone.
    pub(crate) sharing: Option<Arc<BudgetSharing>>,
    pub(crate) ledger: Arc<Ledger>,
    /// What requests said, for tenants that want it kept.
    pub(crate) contents: Arc<Contents>,
    /// Whether the store of keys answers.
    pub(crate) store_health: StoreHealth,
    pepper: Pepper,
    /// By which what ends at a moment ends.
    pub(crate) clock: SteadyClock,
    /// What ends the open streams of a key.
    cuts: Arc<Mutex<HashMap<KeyId, CancellationToken>>>,
    /// The key that was made as there was none; shown once.
    first_key: Arc<Mutex<Option<SecretString>>>,
    /// Ends with the last of those that share it.
    keeper: Arc<Keeper>,
}

impl Accounting {
    /// Opens everything that is in the data folder, or makes it.
    pub(crate) fn open(
        config: &Config,
        data: &DataConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, DataError> {
        make_folder(&data.folder)?;
        let pepper = Pepper::load_or_create(&data.folder.join("pepper"))?;
        let rates = config.prices.rates.clone();
        let store = open_store(data, &pepper, &rates)?;
        let admin = Admin::new(Arc::clone(&store), pepper.clone(), rates.clone());
        let clock = SteadyClock::new(clock);
        let now = clock.now();
        let first_key = if config.keys.is_empty() {
            admin.first_start(now.wall)?
        } else {
            None
        };
        let fixed = fixed::rows(&pepper, &config.keys, &data.tenants);
        let live = Arc::new(Live::load(store, pepper.clone(), fixed.clone())?);
        let settings = LedgerSettings::new(data.folder.join("spool"));
        let ledger = match &data.database {
            Some(address) => {
                let store = Postgres::new(address.expose_secret())
                    .map_err(|error| DataError::Database(error.to_string()))?;
                Ledger::open(settings, store)?
            }
            None => Ledger::open(settings, Sqlite::new(data.folder.join("ledger.db")))?,
        };
        let shared = config.redis.as_ref().map(|redis| {
            let prefix = format!("{}tenants:", redis.common_prefix);
            let config = ShareConfig::new(redis.url(), prefix);
            (SharedBudgets::new(rates.clone()), config)
        });
        let budgets = match &shared {
            Some((shared, _)) => shared.budgets.clone(),
            None => Budgets::new(rates.clone()),
        };
        let cuts = Arc::new(Mutex::new(HashMap::<KeyId, CancellationToken>::new()));
        let store_health = StoreHealth::default();
        let contents = Contents::start(
            ledger.reader(),
            data.redact.clone(),
            Arc::clone(&live),
            clock.clone(),
        )?;
        let keeper = Keeper::start(keeper::Work {
            live: Arc::clone(&live),
            store: Arc::clone(admin.store()),
            budgets: budgets.clone(),
            rates: rates.clone(),
            reader: ledger.reader(),
            cuts: Arc::clone(&cuts),
            store_health: store_health.clone(),
            clock: clock.clone(),
            keep_days: data.keep_days,
        })
        .map_err(DataError::Thread)?;
        if !budgets.due(&live.current(), now).is_empty() {
            ledger.flush(CATCH_UP);
            restore(&budgets, &rates, &live, &mut ledger.reader(), now);
        }
        let sharing = match shared {
            Some((shared, config)) => {
                let clock = clock.clone();
                let sharing = shared.start(config?, Arc::new(move || clock.now()))?;
                Some(Arc::new(sharing))
            }
            None => None,
        };
        Ok(Arc::new(Self {
            sharing,
            prices: config.prices.book.clone(),
            promotions: config.prices.promotions,
            rates,
            live,
            admin: Arc::new(admin),
            fixed,
            budgets,
            ledger: Arc::new(ledger),
            contents,
            store_health,
            pepper,
            clock,
            cuts,
            first_key: Arc::new(Mutex::new(first_key.map(|key| key.expose_secret().into()))),
            keeper: Arc::new(keeper),
        }))
    }

    /// The same keys, budgets and ledger under a changed configuration: its prices, and the tenants
    /// and keys that stand in it. Currencies are worth what they were at the start.
    ///
    /// # Errors
    ///
    /// When the store of keys does not answer; then nothing has changed.
    pub(crate) fn configured(
        &self,
        config: &Config,
        tenants: &[TenantSettings],
    ) -> Result<Arc<Self>, DataError> {
        let fixed = fixed::rows(&self.pepper, &config.keys, tenants);
        self.live.set_fixed(fixed.clone())?;
        self.refresh();
        Ok(Arc::new(Self {
            prices: config.prices.book.clone(),
            promotions: config.prices.promotions,
            rates: self.rates.clone(),
            live: Arc::clone(&self.live),
            admin: Arc::clone(&self.admin),
            fixed,
            budgets: self.budgets.clone(),
            sharing: self.sharing.clone(),
            ledger: Arc::clone(&self.ledger),
            contents: Arc::clone(&self.contents),
            store_health: self.store_health.clone(),
            pepper: self.pepper.clone(),
            clock: self.clock.clone(),
            cuts: Arc::clone(&self.cuts),
            first_key: Arc::clone(&self.first_key),
            keeper: Arc::clone(&self.keeper),
        }))
    }

    /// Gives back what this replica holds of limits and budgets, and brings what has ended into the
    /// store. What it does not take is in the spool, for the next
    /// process.
    pub(crate) fn finish(&self) {
        if let Some(sharing) = &self.sharing {
            sharing.leave();
        }
        if !self.contents.flush(FINISH) {
            tracing::warn!("content of the last requests is not kept");
        }
        if !self.ledger.flush(FINISH) {
            tracing::warn!("the ledger's store is behind; the spool keeps the rest");
        }
    }

    /// The moment, on both clocks.
    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    /// Who is behind a key.
    pub(crate) fn authenticate(
        &self,
        presented: &[u8],
        address: IpAddr,
        request: RequestId,
    ) -> Option<Caller> {
        let directory = self.live.current();
        let result = directory.authenticate(presented, self.now().wall, address);
        result
            .inspect_err(|denied| {
                tracing::info!(
                    request_id = request.as_str(),
                    reason = denied.reason().as_str(),
                    key = denied.key().map(|key| key.to_string()),
                    "a key was refused"
                );
            })
            .ok()
    }

    /// What ends the open streams of a key, once it is revoked so.
    pub(crate) fn cut_of(&self, key: KeyId) -> CancellationToken {
        self.cuts.lock().entry(key).or_default().clone()
    }

    /// The key that was made at the first start; once.
    pub(crate) fn take_first_key(&self) -> Option<SecretString> {
        self.first_key.lock().take()
    }

    /// Takes over what the administration changed, at once.
    pub(crate) fn refresh(&self) {
        let now = self.now().monotonic;
        keeper::follow(&self.live, &self.cuts, &self.store_health, now);
    }
}

impl fmt::Debug for Accounting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounting")
            .field("live", &self.live)
            .field("budgets", &self.budgets)
            .field("ledger", &self.ledger)
            .finish_non_exhaustive()
    }
}

fn open_store(
    data: &DataConfig,
    pepper: &Pepper,
    rates: &Rates,
) -> Result<Arc<dyn Store>, DataError> {
    Ok(match &data.database {
        Some(address) => Arc::new(PostgresStore::open(
            address.expose_secret(),
            pepper,
            rates.clone(),
        )?),
        None => {
            let path = data.folder.join("tenants.db");
            Arc::new(SqliteStore::open(&path, pepper, rates.clone())?)
        }
    })
}

/// Makes the folder, for its owner alone.
fn make_folder(folder: &std::path::Path) -> Result<(), DataError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|source| DataError::Folder {
        folder: folder.to_owned(),
        source,
    })
}

/// Counts what was spent before this process began, as the ledger knows it.
fn restore(budgets: &Budgets, rates: &Rates, live: &Live, reader: &mut Reader, now: Now) {
    for due in budgets.due(&live.current(), now) {
        let mut filter = Filter::default();
        let millis = |at: jiff::Timestamp| u64::try_from(at.as_millisecond()).unwrap_or(0);
        filter.from_unix_ms = due.from.map(millis);
        filter.to_unix_ms = due.until.map(millis);
        match due.account.node {
            NodeId::Tenant(id) => filter.tenant = Some(id.to_string()),
            NodeId::Project(id) => filter.project = Some(id.to_string()),
            NodeId::Key(id) => filter.key_id = Some(id.to_string()),
        }
        let rows = match reader.usage(&filter, &[]) {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(%error, "what was spent before cannot be counted yet");
                return;
            }
        };
        let mut spent = Spent::default();
        let mut money = Vec::new();
        for row in rows {
            spent.tokens += row.tokens.input + row.tokens.output;
            for (currency, amount) in row.cost {
                let currency = currency.as_str().parse::<Currency>();
                money.extend(
                    currency
                        .ok()
                        .and_then(|currency| Money::from_decimal_up(amount, currency).ok()),
                );
            }
        }
        match rates.cost(money) {
            Ok(cost) => spent.cost = cost,
            Err(error) => tracing::warn!(%error, "what was spent before is counted in part only"),
        }
        budgets.restore(&due, &spent, now);
    }
}
