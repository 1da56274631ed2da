//! What a request costs, to the last decimal.
//!
//! Data and functions: no I/O, no clock, no floating point. A [`PriceBook`] holds the published
//! prices of Alibaba Cloud Model Studio and the operator's own; [`PriceBook::cost`] makes a [`Cost`]
//! of a [`Request`], line by line, and says which entry of which version was used.
//! [`PriceBook::estimate`] says beforehand what it can cost at most.
//!
//! ```
//! use bailian_prices::{Currency, PriceBook, Request, Usage};
//!
//! // 通义千问 Plus, 北京: 0.8 元 in, 2 元 out per million tokens; a cached token costs a fifth.
//! let mut usage = Usage::tokens(10_000, 1_000);
//! usage.implicit_cached_tokens = 4_000;
//! let at = std::time::SystemTime::now();
//! let request = Request::new("qwen-plus", "cn-beijing", at, usage).thinking(false);
//! let cost = PriceBook::embedded().cost(&request)?;
//!
//! assert_eq!(cost.currency, Currency::Cny);
//! // 6,000 × 0.8 + 4,000 × 0.8 × 0.2 + 1,000 × 2, by the million
//! assert_eq!(cost.total.to_string(), "0.00744");
//! assert_eq!(cost.entry, "qwen-plus@cn-beijing/china-mainland/CNY");
//! # Ok::<(), bailian_prices::PriceError>(())
//! ```
//!
//! A model without a price is an error ([`PriceError::Unpriced`]), never a price of zero.

mod bill;
mod book;
mod conditions;
mod cost;
mod decimal;
mod error;
mod estimate;
mod listing;
mod moment;
mod overrides;
mod request;
mod terms;
mod tier;
mod tokens;
mod usage;

pub use rust_decimal::Decimal;

pub use self::book::PriceBook;
pub use self::conditions::Conditions;
pub use self::cost::{Cost, CostLine, LineKind, Note};
pub use self::error::{DataError, OverrideError, PriceError, Unpriced};
pub use self::listing::Entry;
pub use self::moment::{InvalidMoment, Moment};
pub use self::overrides::{OverrideTier, PriceOverride};
pub use self::request::{Options, Request};
pub use self::tier::{CacheTerms, Currency, Unit};
pub use self::usage::{Context, InputSplit, Usage};
