//! Prices as they are listed: units, conditions and items.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::conditions::Conditions;

/// What a price is paid in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum Currency {
    /// Renminbi, 人民币.
    #[serde(rename = "CNY")]
    Cny,
    /// US dollars.
    #[serde(rename = "USD")]
    Usd,
}

impl Currency {
    /// Its ISO 4217 code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Cny => "CNY",
            Self::Usd => "USD",
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What a price is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum Unit {
    /// A million tokens.
    #[serde(rename = "per_1m_tokens")]
    MillionTokens,
    /// A second of sound or video.
    #[serde(rename = "per_second")]
    Second,
    /// A picture.
    #[serde(rename = "per_image")]
    Image,
    /// Ten thousand characters.
    #[serde(rename = "per_10k_characters")]
    TenThousandCharacters,
    /// A voice that is made.
    #[serde(rename = "per_voice")]
    Voice,
    /// A call.
    #[serde(rename = "per_call")]
    Call,
}

impl Unit {
    /// How many of what is counted the price is for.
    pub fn size(self) -> u32 {
        match self {
            Self::MillionTokens => 1_000_000,
            Self::TenThousandCharacters => 10_000,
            Self::Second | Self::Image | Self::Voice | Self::Call => 1,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MillionTokens => "per million tokens",
            Self::Second => "per second",
            Self::Image => "per image",
            Self::TenThousandCharacters => "per 10,000 characters",
            Self::Voice => "per voice",
            Self::Call => "per call",
        })
    }
}

/// Kinds of input, as bits, so that one price can be for several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Media(u8);

impl Media {
    pub(crate) const TEXT: Self = Self(1);
    pub(crate) const IMAGE: Self = Self(2);
    pub(crate) const VIDEO: Self = Self(4);
    pub(crate) const AUDIO: Self = Self(8);
    /// A price for all input alike.
    pub(crate) const ALL: Self = Self(15);

    fn parse(names: &str) -> Option<Self> {
        names.split('_').try_fold(Self(0), |media, name| {
            Some(Self(
                media.0
                    | match name {
                        "text" => Self::TEXT,
                        "image" => Self::IMAGE,
                        "video" => Self::VIDEO,
                        "audio" => Self::AUDIO,
                        _ => return None,
                    }
                    .0,
            ))
        })
    }

    pub(crate) fn includes(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What a figure of a tier is the price of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    Input(Media),
    CachedImplicit,
    CachedExplicit,
    CacheWrite,
    Output,
    OutputThinking,
    OutputNonThinking,
    OutputText,
    OutputTextAfterText,
    OutputTextAfterMedia,
    OutputAudio,
    /// Input and output seconds together.
    InputOutput,
    /// The only price.
    Price,
}

impl Item {
    pub(crate) fn parse(key: &str) -> Option<Self> {
        Some(match key {
            "input" => Self::Input(Media::ALL),
            "input_output" => Self::InputOutput,
            "cached_input_implicit" => Self::CachedImplicit,
            "cached_input_explicit" => Self::CachedExplicit,
            "cache_write" => Self::CacheWrite,
            "output" => Self::Output,
            "output_thinking" => Self::OutputThinking,
            "output_non_thinking" => Self::OutputNonThinking,
            "output_text" => Self::OutputText,
            "output_text_when_text_only_input" => Self::OutputTextAfterText,
            "output_text_when_multimodal_input" => Self::OutputTextAfterMedia,
            "output_audio" => Self::OutputAudio,
            "price" => Self::Price,
            _ => Self::Input(Media::parse(key.strip_prefix("input_")?)?),
        })
    }
}

/// The figures of a tier in one currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Items(pub(crate) Vec<(Item, Decimal)>);

impl Items {
    pub(crate) fn get(&self, item: Item) -> Option<Decimal> {
        self.0
            .iter()
            .find_map(|(of, price)| (*of == item).then_some(*price))
    }

    /// The price of one kind of input. Video is frames: where only one of both is listed, a
    /// picture's price is the video's.
    pub(crate) fn input(&self, media: Media) -> Option<Decimal> {
        let of = |media: Media| {
            self.0.iter().find_map(|(item, price)| match item {
                Item::Input(of) if of.includes(media) => Some(*price),
                _ => None,
            })
        };
        of(media).or_else(|| match media {
            Media::VIDEO => of(Media::IMAGE),
            Media::IMAGE => of(Media::VIDEO),
            _ => None,
        })
    }

    /// Whether everything that is listed costs nothing.
    pub(crate) fn are_free(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|(_, price)| price.is_zero())
    }
}

/// The prices under certain conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tier {
    pub(crate) when: Conditions,
    /// In the entry's own currency.
    pub(crate) items: Items,
    /// In US dollars, where the own currency is another.
    pub(crate) usd: Option<Items>,
    pub(crate) off_peak: Option<Items>,
}

/// What the cache costs, beside the plain input price. What is left out follows the general rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CacheTerms {
    /// A hit of the implicit cache costs the input price times this.
    #[serde(
        with = "crate::decimal::exact_option",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::decimal::Exact>))]
    pub implicit_hit_multiplier: Option<Decimal>,
    /// A hit of the explicit cache costs the input price times this.
    #[serde(
        with = "crate::decimal::exact_option",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::decimal::Exact>))]
    pub explicit_hit_multiplier: Option<Decimal>,
    /// What is written to the explicit cache costs the input price times this.
    #[serde(
        with = "crate::decimal::exact_option",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::decimal::Exact>))]
    pub explicit_write_multiplier: Option<Decimal>,
    /// The price of a hit of the implicit cache, in the price's currency; goes before the multiplier.
    #[serde(
        with = "crate::decimal::exact_option",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::decimal::Exact>))]
    pub implicit_hit_price: Option<Decimal>,
    /// The price of a hit of the explicit cache; goes before the multiplier.
    #[serde(
        with = "crate::decimal::exact_option",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::decimal::Exact>))]
    pub explicit_hit_price: Option<Decimal>,
    /// The price of what is written to the explicit cache; goes before the multiplier.
    #[serde(
        with = "crate::decimal::exact_option",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::decimal::Exact>))]
    pub explicit_write_price: Option<Decimal>,
}
