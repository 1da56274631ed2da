//! What is kept of one request. No prompt, no answer and no key is among it.

use minicbor::{Decode, Encode, Encoder};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::text::{Currency, Text};

/// The outcomes that the ledger itself gives; every other is the caller's word.
pub mod outcome {
    /// Begun by a process that lives, or whose death has not been noticed yet.
    pub const RUNNING: &str = "running";
    /// Begun by a process that died before it could say how the request ended.
    pub const UNKNOWN: &str = "unknown";
    /// Given up without a word; the amounts are the estimate.
    pub const ABANDONED: &str = "abandoned";
}

/// The most of any one count. A count above it is no true one, and would spoil every sum.
pub const MOST_UNITS: u64 = 1_000_000_000_000;

/// The attempts that a record lists; `attempts` counts all of them.
pub const MOST_ATTEMPTS: usize = 8;

/// What is known when a request begins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Encode, Decode)]
#[cbor(map)]
#[serde(default)]
#[non_exhaustive]
pub struct Begin<'a> {
    /// The request's id: a version 7 UUID, unique for ever.
    #[cbor(n(0), with = "crate::cbor::id", default)]
    pub id: Uuid,
    /// When it began, in milliseconds since the Unix epoch, by the caller's clock.
    #[cbor(n(1), default)]
    pub started_unix_ms: u64,
    /// Whose request it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(2)]
    pub tenant: Option<Text<'a>>,
    /// The tenant's project.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(3)]
    pub project: Option<Text<'a>>,
    /// The id or name of the virtual key, never the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(4)]
    pub key_id: Option<Text<'a>>,
    /// What the path serves, such as `chat` or `embeddings`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(5)]
    pub surface: Option<Text<'a>>,
    /// The protocol the client speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(6)]
    pub dialect: Option<Text<'a>>,
    /// The model as the client named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(7)]
    pub model: Option<Text<'a>>,
    /// What it may come to. It stands in for the truth while that is unknown.
    #[serde(skip_serializing_if = "Estimate::is_empty")]
    #[cbor(n(8), skip_if = "Estimate::is_empty")]
    pub estimate: Estimate,
}

/// What a request may come to, guessed before it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(map)]
#[serde(default)]
#[non_exhaustive]
pub struct Estimate {
    /// Input tokens.
    #[serde(skip_serializing_if = "is_zero")]
    #[cbor(n(0), skip_if = "is_zero")]
    pub input_tokens: u64,
    /// Output tokens.
    #[serde(skip_serializing_if = "is_zero")]
    #[cbor(n(1), skip_if = "is_zero")]
    pub output_tokens: u64,
    /// What they cost; `None` when there is no price.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cbor(n(2), with = "crate::cbor::money", skip_if = "Option::is_none")]
    pub cost: Option<Decimal>,
    /// In which currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(3)]
    pub currency: Option<Currency>,
}

/// Tokens by kind. `cached` and `cache_created` are parts of `input`, `reasoning` is of `output`,
/// as the service reports them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(map)]
#[serde(default)]
#[non_exhaustive]
pub struct Tokens {
    /// All input tokens.
    #[serde(skip_serializing_if = "is_zero")]
    #[cbor(n(0), skip_if = "is_zero")]
    pub input: u64,
    /// Of these, read from a cache.
    #[serde(skip_serializing_if = "is_zero")]
    #[cbor(n(1), skip_if = "is_zero")]
    pub cached: u64,
    /// Of these, written to a cache.
    #[serde(skip_serializing_if = "is_zero")]
    #[cbor(n(2), skip_if = "is_zero")]
    pub cache_created: u64,
    /// All output tokens.
    #[serde(skip_serializing_if = "is_zero")]
    #[cbor(n(3), skip_if = "is_zero")]
    pub output: u64,
    /// Of these, spent on reasoning.
    #[serde(skip_serializing_if = "is_zero")]
    #[cbor(n(4), skip_if = "is_zero")]
    pub reasoning: u64,
}

/// One try of a request on one target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(map)]
#[serde(default)]
#[non_exhaustive]
pub struct Attempt<'a> {
    /// The account it went to.
    #[cbor(n(0), default)]
    pub account: Text<'a>,
    /// The model's name there.
    #[cbor(n(1), default)]
    pub model: Text<'a>,
    /// How it ended, in the caller's words.
    #[cbor(n(2), default)]
    pub outcome: Text<'a>,
    /// The HTTP status; `None` when there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(3)]
    pub status: Option<u16>,
}

/// What is known when a request has ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Encode, Decode)]
#[cbor(map)]
#[serde(default)]
#[non_exhaustive]
pub struct Settlement<'a> {
    /// The account that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(0)]
    pub account: Option<Text<'a>>,
    /// The account's region.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(1)]
    pub region: Option<Text<'a>>,
    /// The model's name there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(2)]
    pub upstream_model: Option<Text<'a>>,
    /// How often the request was sent.
    #[serde(skip_serializing_if = "is_zero_u32")]
    #[cbor(n(3), skip_if = "is_zero_u32")]
    pub attempts: u32,
    /// The first [`MOST_ATTEMPTS`] of these.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "first_few")]
    #[cbor(n(4), encode_with = "encode_first_few", skip_if = "Vec::is_empty")]
    pub attempt_list: Vec<Attempt<'a>>,
    /// Tokens by kind.
    #[cbor(n(5), default)]
    pub tokens: Tokens,
    /// Images made.
    #[serde(skip_serializing_if = "is_zero")]
    #[cbor(n(6), skip_if = "is_zero")]
    pub images: u64,
    /// Audio or video, in milliseconds.
    #[serde(skip_serializing_if = "is_zero")]
    #[cbor(n(7), skip_if = "is_zero")]
    pub media_ms: u64,
    /// Characters spoken.
    #[serde(skip_serializing_if = "is_zero")]
    #[cbor(n(8), skip_if = "is_zero")]
    pub characters: u64,
    /// What it cost, exactly; `None` when there is no price.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cbor(n(9), with = "crate::cbor::money", skip_if = "Option::is_none")]
    pub cost: Option<Decimal>,
    /// In which currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(10)]
    pub currency: Option<Currency>,
    /// The version of the prices that gave the cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(11)]
    pub price_version: Option<Text<'a>>,
    /// Why there is no cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(12)]
    pub unpriced: Option<Text<'a>>,
    /// How long it waited for leave to be sent, in milliseconds, by a clock that is never set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(13)]
    pub queued_ms: Option<u64>,
    /// When the first token went to the client, in milliseconds since it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(14)]
    pub first_token_ms: Option<u64>,
    /// How long it took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(15)]
    pub total_ms: Option<u64>,
    /// The status the client got.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(16)]
    pub http_status: Option<u16>,
    /// How it ended, in the caller's words; [`outcome`] has the ledger's own.
    #[cbor(n(17), default)]
    pub outcome: Text<'a>,
    /// The error's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(18)]
    pub error_code: Option<Text<'a>>,
    /// Upstream's id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(19)]
    pub upstream_request_id: Option<Text<'a>>,
    /// Whether the answer was a stream.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[cbor(n(20), skip_if = "std::ops::Not::not")]
    pub stream: bool,
    /// Whether the amounts, or a part of them, are guessed: upstream did not say them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[cbor(n(21), skip_if = "std::ops::Not::not")]
    pub estimated: bool,
}

/// One request as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// Who asked for what.
    #[serde(flatten)]
    pub begin: Begin<'static>,
    /// How it ended. While nobody knows, the amounts are the estimate.
    #[serde(flatten)]
    pub end: Settlement<'static>,
    /// The run of the gateway that took the request.
    pub process: Uuid,
    /// Whether the end is known. It is then never changed again.
    pub settled: bool,
}

impl Begin<'_> {
    /// A request with nothing but its id and its beginning.
    pub fn new(id: Uuid, started_unix_ms: u64) -> Self {
        Self {
            id,
            started_unix_ms,
            ..Self::default()
        }
    }
}

impl Estimate {
    /// An estimate of tokens without a price.
    pub fn of_tokens(input_tokens: u64, output_tokens: u64) -> Self {
        Self {
            input_tokens,
            output_tokens,
            ..Self::default()
        }
    }

    /// The same with a price.
    pub fn with_cost(self, cost: Decimal, currency: Currency) -> Self {
        Self {
            cost: Some(cost),
            currency: Some(currency),
            ..self
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The estimate in the place of what is not known.
    pub(crate) fn as_settlement(self, outcome: &'static str) -> Settlement<'static> {
        Settlement {
            tokens: Tokens::new(self.input_tokens, self.output_tokens),
            cost: self.cost,
            currency: self.currency,
            outcome: outcome.into(),
            estimated: true,
            ..Settlement::default()
        }
    }
}

impl Tokens {
    /// Input and output, of which no part is known to be of a special kind.
    pub fn new(input: u64, output: u64) -> Self {
        Self {
            input,
            output,
            ..Self::default()
        }
    }
}

impl<'a> Attempt<'a> {
    /// One try.
    pub fn new(
        account: impl Into<Text<'a>>,
        model: impl Into<Text<'a>>,
        outcome: impl Into<Text<'a>>,
        status: Option<u16>,
    ) -> Self {
        Self {
            account: account.into(),
            model: model.into(),
            outcome: outcome.into(),
            status,
        }
    }
}

impl<'a> Settlement<'a> {
    /// An end of which only the outcome is known.
    pub fn new(outcome: impl Into<Text<'a>>) -> Self {
        Self {
            outcome: outcome.into(),
            ..Self::default()
        }
    }

    fn to_owned_text(&self) -> Settlement<'static> {
        let owned = |text: &Option<Text<'_>>| text.clone().map(Text::into_owned);
        Settlement {
            account: owned(&self.account),
            region: owned(&self.region),
            upstream_model: owned(&self.upstream_model),
            attempts: self.attempts,
            attempt_list: self
                .attempt_list
                .iter()
                .take(MOST_ATTEMPTS)
                .map(|attempt| Attempt {
                    account: attempt.account.clone().into_owned(),
                    model: attempt.model.clone().into_owned(),
                    outcome: attempt.outcome.clone().into_owned(),
                    status: attempt.status,
                })
                .collect(),
            tokens: self.tokens,
            images: self.images,
            media_ms: self.media_ms,
            characters: self.characters,
            cost: self.cost,
            currency: self.currency,
            price_version: owned(&self.price_version),
            unpriced: owned(&self.unpriced),
            queued_ms: self.queued_ms,
            first_token_ms: self.first_token_ms,
            total_ms: self.total_ms,
            http_status: self.http_status,
            outcome: self.outcome.clone().into_owned(),
            error_code: owned(&self.error_code),
            upstream_request_id: owned(&self.upstream_request_id),
            stream: self.stream,
            estimated: self.estimated,
        }
    }
}

impl Record {
    /// A request that nobody has settled.
    pub(crate) fn running(begin: Begin<'static>, process: Uuid) -> Self {
        Self {
            end: begin.estimate.as_settlement(outcome::RUNNING),
            begin,
            process,
            settled: false,
        }
    }

    /// A settled record of which only the end is known.
    pub(crate) fn settled_as(end: &Settlement<'_>) -> Self {
        Self {
            end: end.to_owned_text(),
            settled: true,
            ..Self::default()
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference to what it may skip"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference to what it may skip"
)]
fn is_zero_u32(count: &u32) -> bool {
    *count == 0
}

fn first_few<S: Serializer>(attempts: &[Attempt<'_>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(attempts.iter().take(MOST_ATTEMPTS))
}

#[expect(clippy::ptr_arg, reason = "minicbor passes the field's own type")]
fn encode_first_few<C, W: minicbor::encode::Write>(
    attempts: &Vec<Attempt<'_>>,
    encoder: &mut Encoder<W>,
    context: &mut C,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    attempts[..attempts.len().min(MOST_ATTEMPTS)].encode(encoder, context)
}
