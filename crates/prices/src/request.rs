//! What is to be priced.

use std::time::SystemTime;

use crate::tier::Currency;
use crate::usage::{Context, Usage};

/// A request to be priced.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// The model that answered, in the platform's spelling.
    pub model: String,
    /// Where, such as `cn-beijing`.
    pub region: String,
    /// The deployment scope (`global`, `eu`, …) where a region has several.
    pub scope: Option<String>,
    /// When the request was made. Prices are those that were true then.
    pub at: SystemTime,
    /// What was used.
    pub usage: Usage,
    /// How it was made.
    pub context: Context,
    /// How it is to be priced.
    pub options: Options,
}

impl Request {
    /// A request of `model` in `region`, made `at` that time.
    pub fn new(
        model: impl Into<String>,
        region: impl Into<String>,
        at: SystemTime,
        usage: Usage,
    ) -> Self {
        Self {
            model: model.into(),
            region: region.into(),
            scope: None,
            at,
            usage,
            context: Context::default(),
            options: Options::default(),
        }
    }

    /// Names the deployment scope.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Whether it ran in thinking mode.
    pub fn thinking(mut self, thinking: bool) -> Self {
        self.context.thinking = Some(thinking);
        self
    }

    /// Whether it came through the Batch API.
    pub fn batch(mut self, batch: bool) -> Self {
        self.context.batch = batch;
        self
    }

    /// How it was made.
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// How it is to be priced.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }
}

/// How a request is to be priced. The default: list prices, in the list's own currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The currency of the price. `None`: that of an override, else the list's own.
    pub currency: Option<Currency>,
    /// Applies the discounts that the price page showed, from the day on which they were seen.
    /// Their end is not known.
    pub apply_promo: bool,
    /// Takes prices outside busy hours where there are any. Which hours these are is not known, so
    /// that the caller must say it.
    pub off_peak: bool,
}

impl Options {
    /// List prices.
    pub fn new() -> Self {
        Self::default()
    }

    /// Prices in that currency, or none.
    pub fn currency(mut self, currency: Currency) -> Self {
        self.currency = Some(currency);
        self
    }

    /// See [`apply_promo`](Self::apply_promo).
    pub fn apply_promo(mut self, apply: bool) -> Self {
        self.apply_promo = apply;
        self
    }

    /// See [`off_peak`](Self::off_peak).
    pub fn off_peak(mut self, off_peak: bool) -> Self {
        self.off_peak = off_peak;
        self
    }
}
