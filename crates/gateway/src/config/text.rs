//! Texts of the file that mean more than text: durations, secrets, and words of a short list.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// What follows a number: in the schema beside settings, read by the reference.
pub(super) const UNIT: &str = "x-unit";
/// Marks settings whose values are never shown.
pub(super) const SECRET: &str = "x-secret";

/// A duration as people write it, such as `30s`, `5m` or `1h 30m`.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct DurationText(String);

impl DurationText {
    /// The duration; `None` for a text that is none.
    pub(super) fn parse(&self) -> Option<Duration> {
        humantime::parse_duration(&self.0).ok()
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialSchema for DurationText {
    fn schema() -> RefOr<Schema> {
        text_with(UNIT, "duration")
    }
}

impl ToSchema for DurationText {}

/// A secret, or where it stands: `env:NAME`, `file:PATH` or `credential:NAME`.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct SecretText(String);

impl SecretText {
    /// The text as it stands in the file; it may be the secret itself.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(***)")
    }
}

impl PartialSchema for SecretText {
    fn schema() -> RefOr<Schema> {
        text_with(SECRET, true)
    }
}

impl ToSchema for SecretText {}

fn text_with(name: &str, value: impl Into<serde_json::Value>) -> RefOr<Schema> {
    let extensions = Extensions::builder().add(name, value.into()).build();
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.extensions(Some(extensions)).into()
}

/// Types that stand in the schema for a text that is one of a few words.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $words:expr;)+) => { $(
        $(#[$doc])*
        pub(super) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let words: Vec<&str> = $words.into_iter().collect();
                let text = ObjectBuilder::new().schema_type(Type::String);
                text.enum_values(Some(words)).into()
            }
        }

        impl ToSchema for $name {}
    )+ };
}

words! {
    /// When the file is read again.
    ReloadWord = ["watch", "signal", "off"];
    /// What is behind an account.
    KindWord = ["dashscope", "openai"];
    /// A dialect.
    DialectWord = bailian_wire::Dialect::ALL.map(bailian_wire::Dialect::as_str);
    /// A priority.
    PriorityWord = ["high", "normal", "low"];
    /// What becomes of what a translation cannot carry.
    UnsupportedWord = ["refuse", "drop"];
    /// Where answers are kept.
    StoreWord = ["memory", "redis"];
    /// Errors after which another target is tried.
    FallBackWord = super::routing::class_names();
}
