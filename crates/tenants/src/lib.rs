//! Who may call the gateway, how much, and for how much money.
#![deny(missing_docs, rustdoc::broken_intra_doc_links, rustdoc::bare_urls)]

mod admin;
pub mod budget;
mod directory;
mod id;
pub mod key;
mod live;
pub mod model;
mod money;
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
pub use pattern::Pattern;
pub use period::{InvalidOffset, Now, Period, UtcOffset};
