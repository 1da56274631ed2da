//! Who may call the gateway, how much, and for how much money.
//!
//! Tenants have projects, projects have virtual keys; limits and budgets may stand at every level.
//! Everything here takes the time as an argument.
//!
//! * [`Directory`] knows who is behind a key; [`Live`] keeps it up with a store, behind an atomic
//!   pointer.
//! * [`Caller`] says what a caller may use.
//! * [`budget::Budgets`] reserves what a request may cost at all levels, and settles what it did.
//! * [`Admin`] changes tenants, projects and keys in a [`store::Store`], which also has the audit log.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use bailian_tenants::budget::{Budgets, Estimate, Spent};
//! use bailian_tenants::key::Pepper;
//! use bailian_tenants::store::SqliteStore;
//! use bailian_tenants::{Admin, Currency, Live, Money, Now, Rates};
//! use secrecy::ExposeSecret;
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let pepper = Pepper::load_or_create(&folder.join("pepper"))?;
//! let rates = Rates::only(Currency::CNY);
//! let store = SqliteStore::open(&folder.join("tenants.db"), &pepper, rates.clone())?;
//! let admin = Admin::new(Arc::new(store), pepper.clone(), rates.clone());
//!
//! let now = Now { wall: "2026-11-27T04:00:00Z".parse()?, monotonic: Instant::now() };
//! let key = admin.first_start(now.wall)?.ok_or("not the first start")?;
//!
//! let live = Live::load(admin.store().clone(), pepper, Vec::new())?;
//! let budgets = Budgets::new(rates.clone());
//! for due in budgets.due(&live.current(), now) {
//!     let from_the_ledger = Spent::default();
//!     budgets.restore(&due, &from_the_ledger, now);
//! }
//!
//! let presented = key.expose_secret().as_bytes();
//! let caller = live.current().authenticate(presented, now.wall, "127.0.0.1".parse()?)?;
//! caller.may_use("qwen-plus", "chat.openai")?;
//! let cost = rates.cost([Money::from_decimal_up("0.0125".parse()?, Currency::CNY)?])?;
//! let most = Spent { cost, tokens: 2_000 };
//! let mut held = budgets.reserve(&caller, &Estimate::of_request(most), now)?;
//! held.observe(Spent::default()); // the request is sent
//! held.settle(&Spent { tokens: 700, ..Spent::default() }, now.monotonic);
//! # Ok(())
//! # }
//! ```
//!
//! Features: `sqlite` (default) is the store in a file, `postgres` the one in a database.
//! `postgres-tests` are tests that start a PostgreSQL server of their own.
#![deny(missing_docs, rustdoc::broken_intra_doc_links, rustdoc::bare_urls)]

mod admin;
pub mod budget;
mod directory;
mod id;
pub mod key;
mod live;
pub mod model;
mod money;
mod object;
mod pattern;
mod period;
pub mod settings;
pub mod store;

pub use admin::{Admin, AdminError, MAX_CREDENTIALS, MAX_OVERLAP};
pub use directory::{Caller, DenialReason, Denied, Directory, Node, NotAllowed};
pub use id::{InvalidId, KeyId, Level, NodeId, ProjectId, RandomError, TenantId};
pub use live::{Live, Refreshed};
pub use money::{
    Cost, Currency, InvalidAmount, InvalidCurrency, InvalidRate, MissingRate, Money, Rates,
};
pub use object::{MAX_OBJECT_ID, Object, ObjectKind};
pub use pattern::Pattern;
pub use period::{InvalidOffset, Now, Period, UtcOffset};
