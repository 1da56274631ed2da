//! Who may call the gateway, how much, and for how much money.
#![deny(missing_docs, rustdoc::broken_intra_doc_links, rustdoc::bare_urls)]

mod id;
pub mod key;
pub mod model;
mod money;
mod pattern;
mod period;
pub mod settings;

pub use id::{InvalidId, KeyId, Level, NodeId, ProjectId, RandomError, TenantId};
pub use money::{
    Cost, Currency, InvalidAmount, InvalidCurrency, InvalidRate, MissingRate, Money, Rates,
};
pub use pattern::Pattern;
pub use period::{InvalidOffset, Now, Period, UtcOffset};
