//! What a request costs, line by line.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};

use crate::moment::Moment;
use crate::tier::Currency;

/// What a request costs, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Cost {
    /// The sum of the lines, exactly.
    #[serde(with = "crate::decimal::exact")]
    pub total: Decimal,
    /// Of the total and of every line.
    pub currency: Currency,
    /// What the total is made of.
    pub lines: Vec<CostLine>,
    /// The entry of the price book that was used, such as
    /// `qwen-plus@cn-beijing/china-mainland/CNY`.
    pub entry: String,
    /// The version of the price book.
    pub version: String,
    /// What one should know about this price.
    pub notes: Vec<Note>,
}

impl Cost {
    /// Whether a figure that it rests on was not confirmed, was computed, or follows a general rule.
    pub fn is_unverified(&self) -> bool {
        self.notes.iter().any(|note| {
            matches!(
                note,
                Note::Unverified
                    | Note::DollarsDerived
                    | Note::CacheAssumed
                    | Note::CacheUnverified
                    | Note::ToolUnverified { .. }
            )
        })
    }
}

/// One line of a [`Cost`]: `amount` = `quantity` / `per` × `unit_price` × `multiplier`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CostLine {
    /// What was used.
    pub kind: LineKind,
    /// How much of it.
    #[serde(with = "crate::decimal::exact")]
    pub quantity: Decimal,
    /// The unit price is for so many: 1,000,000 tokens, 1,000 calls, …
    pub per: u32,
    /// As listed.
    #[serde(with = "crate::decimal::exact")]
    pub unit_price: Decimal,
    /// Cache, batch, promotion and contract discounts, multiplied.
    #[serde(with = "crate::decimal::exact")]
    pub multiplier: Decimal,
    /// In the currency of the cost, not rounded.
    #[serde(with = "crate::decimal::exact")]
    pub amount: Decimal,
}

/// What a line is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LineKind {
    /// Input, of any kind, in tokens.
    Input,
    /// Text among the input, in tokens.
    InputText,
    /// Pictures among the input, in tokens.
    InputImage,
    /// Video among the input, in tokens.
    InputVideo,
    /// Sound among the input, in tokens.
    InputAudio,
    /// Input found in the implicit cache, in tokens.
    CachedImplicit,
    /// Input found in the explicit cache, in tokens.
    CachedExplicit,
    /// Input written to the explicit cache, in tokens.
    CacheCreation,
    /// Output, in tokens.
    Output,
    /// Output of a request that thought, at a price of its own, in tokens.
    OutputThinking,
    /// Text among the output, in tokens.
    OutputText,
    /// Sound among the output, in tokens.
    OutputAudio,
    /// Sound or video sent, in seconds.
    InputSeconds,
    /// Sound or video produced, in seconds.
    OutputSeconds,
    /// What was sent and what was produced, in seconds.
    Seconds,
    /// Pictures sent.
    InputImages,
    /// Pictures produced.
    Images,
    /// Characters of text.
    Characters,
    /// Calls.
    Calls,
    /// Voices that were made.
    Voices,
    /// Cloned voices that were used for the first time.
    FirstUsedVoices,
    /// Calls of a built-in tool.
    Tool(String),
}

impl fmt::Display for LineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input => "input",
            Self::InputText => "input_text",
            Self::InputImage => "input_image",
            Self::InputVideo => "input_video",
            Self::InputAudio => "input_audio",
            Self::CachedImplicit => "cached_implicit",
            Self::CachedExplicit => "cached_explicit",
            Self::CacheCreation => "cache_creation",
            Self::Output => "output",
            Self::OutputThinking => "output_thinking",
            Self::OutputText => "output_text",
            Self::OutputAudio => "output_audio",
            Self::InputSeconds => "input_seconds",
            Self::OutputSeconds => "output_seconds",
            Self::Seconds => "seconds",
            Self::InputImages => "input_images",
            Self::Images => "images",
            Self::Characters => "characters",
            Self::Calls => "calls",
            Self::Voices => "voices",
            Self::FirstUsedVoices => "first_used_voices",
            Self::Tool(name) => return write!(f, "tool:{name}"),
        })
    }
}

impl Serialize for LineKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What one should know about a price. Its text is for people; it may change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// No official page confirms the figures: they come from model cards, from one old copy or from
    /// a third party.
    Unverified,
    /// The dollar figures were computed from those in renminbi.
    DollarsDerived,
    /// The model has no price of its own; another id's was used.
    PricedAs {
        /// The id in the book.
        model: String,
    },
    /// The region has several deployment scopes and none was named.
    ScopeAssumed {
        /// The scope whose price was used.
        scope: String,
        /// The others.
        others: Vec<String>,
    },
    /// The request was made before the oldest price that is known.
    BeforeObserved {
        /// The day of the price that was used.
        observed: Moment,
    },
    /// An older price was used, which was true then.
    Superseded {
        /// The newer one begins here.
        until: Moment,
    },
    /// A price of the operator was used.
    Override {
        /// Since when it is true.
        from: Moment,
        /// What the operator says about it.
        note: Option<String>,
    },
    /// The page showed a discount; it was not asked for.
    PromotionNotApplied {
        /// Prices times this.
        multiplier: Decimal,
    },
    /// A discount of the page was applied. Whether it still held is not known.
    PromotionApplied {
        /// Prices times this.
        multiplier: Decimal,
    },
    /// The entry says nothing of the cache; the general rule was used.
    CacheAssumed,
    /// What the entry says of the cache was not confirmed.
    CacheUnverified,
    /// Which kind of input was cached is not told; text was assumed, then pictures, video, sound.
    CachedMediaAssumed,
    /// A batch request of a model for which no discount is listed.
    BatchWithoutDiscount,
    /// Batch requests have no cache discount.
    BatchWithoutCache,
    /// The input is longer than the last tier; the last tier was used.
    BeyondLastTier,
    /// What the input is made of was not told; text was assumed.
    TextAssumed,
    /// Text that comes with sound is not charged.
    TextBesideAudioFree,
    /// The model has one price of output only, for the other mode of thinking.
    OtherThinkingMode,
    /// The price outside busy hours was asked for and used.
    OffPeak,
    /// The price outside busy hours was asked for; there is none.
    OffPeakNotListed,
    /// The price of a tool was not confirmed.
    ToolUnverified {
        /// Its name.
        tool: String,
    },
    /// What the price list says beside the figures.
    Listed(String),
    /// An upper bound, not a bill.
    UpperBound,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Unverified => "the figures were not confirmed by an official page",
            Self::DollarsDerived => "the dollar figures were computed from renminbi",
            Self::PricedAs { model } => return write!(f, "priced as `{model}`"),
            Self::ScopeAssumed { scope, others } => {
                let others = others.join(", ");
                return write!(f, "scope `{scope}` was assumed; there is also {others}");
            }
            Self::BeforeObserved { observed } => {
                return write!(f, "the oldest known price is of {observed}");
            }
            Self::Superseded { until } => return write!(f, "an older price, true until {until}"),
            Self::Override { from, note: None } => {
                return write!(f, "a price of the operator, from {from}");
            }
            Self::Override {
                from,
                note: Some(note),
            } => {
                return write!(f, "a price of the operator, from {from}: {note}");
            }
            Self::PromotionNotApplied { multiplier } => {
                return write!(f, "a promotion of ×{multiplier} was seen and not applied");
            }
            Self::PromotionApplied { multiplier } => {
                return write!(f, "a promotion of ×{multiplier} was applied");
            }
            Self::CacheAssumed => "cached input by the general rule; the entry says nothing of it",
            Self::CacheUnverified => "the cache's terms were not confirmed",
            Self::CachedMediaAssumed => "cached input was taken to be text first",
            Self::BatchWithoutDiscount => "no batch discount is listed for this model",
            Self::BatchWithoutCache => "batch requests have no cache discount",
            Self::BeyondLastTier => "longer than the last tier, which was used",
            Self::TextAssumed => "what the input is made of was not told; text was assumed",
            Self::TextBesideAudioFree => "text that comes with sound is not charged",
            Self::OtherThinkingMode => "the only price of output is for the other thinking mode",
            Self::OffPeak => "at the price outside busy hours",
            Self::OffPeakNotListed => "no price outside busy hours is listed",
            Self::ToolUnverified { tool } => {
                return write!(f, "the price of `{tool}` was not confirmed");
            }
            Self::Listed(note) => note,
            Self::UpperBound => "an upper bound, not a bill",
        };
        f.write_str(text)
    }
}

impl Serialize for Note {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
