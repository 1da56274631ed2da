//! Why there is no price.

use thiserror::Error;

use crate::{Currency, Unit};

/// Why a request could not be priced. There is no price of zero for want of a better one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PriceError {
    /// The book has no price.
    #[error("`{model}` in {region} has no price: {reason}")]
    Unpriced {
        /// As asked for.
        model: String,
        /// As asked for.
        region: String,
        /// What is missing.
        reason: Unpriced,
    },
    /// The price depends on circumstances that the request does not tell.
    #[error("the price of {entry} depends on what the request does not say: {}", keys.join(", "))]
    MissingContext {
        /// The entry of the book.
        entry: String,
        /// Members of [`Context`](crate::Context).
        keys: Vec<&'static str>,
    },
    /// The entry has no price for the circumstances that the request tells.
    #[error("{entry} has no price for {}", said.join(", "))]
    NoTier {
        /// The entry of the book.
        entry: String,
        /// What the request says, where the prices differ.
        said: Vec<String>,
    },
    /// The entry has prices, but none for something that was used.
    #[error("{entry} has no price for {item}")]
    NoItem {
        /// The entry of the book.
        entry: String,
        /// What was used.
        item: &'static str,
    },
    /// The usage has nothing of what the entry's unit counts.
    #[error("{entry} is priced {unit}, and the usage counts nothing of that")]
    NoQuantity {
        /// The entry of the book.
        entry: String,
        /// The unit of the price.
        unit: Unit,
    },
    /// The parts of the usage are more than their whole, or negative.
    #[error("the usage contradicts itself: {what}")]
    Inconsistent {
        /// Which parts.
        what: &'static str,
    },
    /// A built-in tool that the book does not know.
    #[error("the tool `{tool}` has no price")]
    UnknownTool {
        /// Its name.
        tool: String,
    },
    /// A tool's price is in another currency than the model's.
    #[error("the tool `{tool}` is priced in {listed} only")]
    ToolCurrency {
        /// Its name.
        tool: String,
        /// The currency that the book knows.
        listed: Currency,
    },
    /// The amount has more than 28 digits.
    #[error("the cost by {entry} has more digits than a decimal holds")]
    TooLarge {
        /// The entry of the book.
        entry: String,
    },
}

/// What the book is missing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unpriced {
    /// The model is not in the book.
    #[error("the model is not in the price book")]
    Model,
    /// The model is, elsewhere.
    #[error("the model is priced in other regions only")]
    Region,
    /// The model is in that region, in another deployment scope.
    #[error("there is no price for that deployment scope")]
    Scope,
    /// There is a price in another currency only.
    #[error("there is no price in {0}")]
    Currency(Currency),
    /// The model is listed without a price: on trial only, or retired.
    #[error("it is listed without a price ({0})")]
    NotSold(String),
    /// The data does not tell what its figure stands for.
    #[error("what its figure stands for is not known ({0})")]
    Unclear(String),
}

/// A price file that cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// It is not of the form of a price file.
    #[error("not a price file: {0}")]
    Json(#[from] serde_json::Error),
    /// A part of it makes no sense.
    #[error("{place}: {problem}")]
    Entry {
        /// Where.
        place: String,
        /// What is wrong.
        problem: String,
    },
}

/// A price override that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("price override {place} (`{model}`): {problem}")]
#[non_exhaustive]
pub struct OverrideError {
    /// Its place in the list and, where it can be told, the member: `[2].tiers[0].items.input`.
    pub place: String,
    /// Its model.
    pub model: String,
    /// What is wrong, and what to write instead.
    pub problem: String,
}
