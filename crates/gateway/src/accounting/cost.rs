//! What usage costs: from the words of answers to those of the price book.

use std::time::{Duration, SystemTime};

use bailian_prices::{InputSplit, Options, PriceBook, PriceError, Request, Usage as Priced};
use bailian_wire::chat::Usage;
use rust_decimal::Decimal;

/// Where and when something was used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) model: &'a str,
    /// `None` where nothing is paid: a server of one's own.
    pub(super) region: Option<&'a str>,
    pub(super) unix_ms: u64,
    pub(super) promotions: bool,
}

/// An exact amount, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Price {
    Paid {
        total: Decimal,
        currency: &'static str,
    },
    Unpriced(String),
}

impl Place<'_> {
    fn request(&self, usage: Priced) -> Option<Request> {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(self.unix_ms);
        let options = Options::new().apply_promo(self.promotions);
        Some(Request::new(self.model, self.region?, at, usage).options(options))
    }

    fn of(result: Result<bailian_prices::Cost, PriceError>) -> Price {
        match result {
            Ok(cost) => Price::Paid {
                total: cost.total,
                currency: cost.currency.code(),
            },
            Err(error) => Price::Unpriced(error.to_string()),
        }
    }

    /// What is free because it runs on a server of one's own.
    fn free() -> Price {
        Price::Paid {
            total: Decimal::ZERO,
            currency: "CNY",
        }
    }

    /// The most that a request can cost.
    pub(super) fn estimate(&self, book: &PriceBook, input: u64, output: u64) -> Price {
        match self.request(Priced::tokens(input, output)) {
            Some(request) => Self::of(book.estimate(&request)),
            None => Self::free(),
        }
    }

    /// What a request cost.
    pub(super) fn cost(&self, book: &PriceBook, usage: &Usage) -> Price {
        match self.request(priced(usage)) {
            Some(request) => Self::of(book.cost(&request)),
            None => Self::free(),
        }
    }
}

/// The report of an answer in the price book's words.
fn priced(usage: &Usage) -> Priced {
    let mut priced = Priced::tokens(usage.input_tokens, usage.output_tokens);
    let cached = usage.cached_tokens.unwrap_or(0);
    priced.cache_creation_tokens = usage.cache_creation_tokens.unwrap_or(0);
    // A request uses the explicit cache or the implicit one, never both (compat.md §2.9).
    let is_explicit = usage.cache_type.as_deref() == Some("ephemeral")
        || (usage.cache_type.is_none() && priced.cache_creation_tokens > 0);
    if is_explicit {
        priced.explicit_cached_tokens = cached;
    } else {
        priced.implicit_cached_tokens = cached;
    }
    priced.reasoning_tokens = usage.reasoning_tokens.unwrap_or(0);
    let media = (
        usage.input_image_tokens.unwrap_or(0),
        usage.input_video_tokens.unwrap_or(0),
        usage.input_audio_tokens.unwrap_or(0),
    );
    if media != (0, 0, 0) || usage.input_text_tokens.is_some() {
        priced.input_split = Some(InputSplit::new(media.0, media.1, media.2));
    }
    priced.output_audio_tokens = usage.output_audio_tokens;
    if let Some(seconds) = usage.raw.get("seconds").and_then(serde_json::Value::as_u64) {
        priced.input_seconds = Decimal::from(seconds);
    }
    if let Some(searches) = usage.searches.filter(|searches| *searches > 0) {
        priced.tool_calls.insert("web_search".to_owned(), searches);
    }
    priced
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLACE: Place<'_> = Place {
        model: "qwen-plus",
        region: Some("cn-beijing"),
        unix_ms: 1_795_000_000_000,
        promotions: false,
    };

    #[test]
    fn an_answer_costs_what_the_list_says() {
        let usage = Usage::from_value(json!({ "prompt_tokens": 10_000, "completion_tokens": 1_000,
            "total_tokens": 11_000, "prompt_tokens_details": { "cached_tokens": 4_000 } }));
        let Price::Paid { total, currency } = PLACE.cost(PriceBook::embedded(), &usage) else {
            panic!("a price was expected");
        };
        // 6,000 × 0.8 + 4,000 × 0.8 × 0.2 + 1,000 × 2, by the million
        assert_eq!((total.to_string().as_str(), currency), ("0.00744", "CNY"));
    }

    #[test]
    fn what_has_no_price_says_so_and_ones_own_server_is_free() {
        let usage = Usage::from_value(json!({ "prompt_tokens": 1, "completion_tokens": 1 }));
        let unknown = Place {
            model: "no-such-model",
            ..PLACE
        };
        assert!(matches!(
            unknown.cost(PriceBook::embedded(), &usage),
            Price::Unpriced(_)
        ));
        let own = Place {
            region: None,
            ..PLACE
        };
        let Price::Paid { total, .. } = own.cost(PriceBook::embedded(), &usage) else {
            panic!("free was expected");
        };
        assert!(total.is_zero());
    }
}
