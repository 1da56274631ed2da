//! Which models have labels of their own.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::KINDS;
use crate::usage::TokenCounts;

/// The most models with a label of their own, whatever catalogue and routes hold.
const MOST_MODELS: usize = 1_000;

/// What every other model is called.
const OTHER: &str = "other";

type Count = Counter<u64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ModelLabels {
    model: String,
    kind: &'static str,
}

/// Tokens by model. Callers write what they like into `model`: only names that the operator or the
/// catalogue knows become labels.
pub(super) struct ModelTokens {
    known: HashMap<Box<str>, OnceLock<[Count; KINDS.len()]>>,
    others: OnceLock<[Count; KINDS.len()]>,
    family: Family<ModelLabels, Count>,
}

impl ModelTokens {
    /// For these names; the first ones count where there are too many.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut known: HashMap<Box<str>, _> = HashMap::new();
        for name in names {
            if known.len() >= MOST_MODELS {
                break;
            }
            known.entry(name.into()).or_default();
        }
        Self {
            known,
            others: OnceLock::new(),
            family: Family::default(),
        }
    }

    pub(super) fn family(&self) -> Family<ModelLabels, Count> {
        self.family.clone()
    }

    /// The name as a label, which is one of few.
    pub(super) fn label(&self, model: &str) -> &str {
        self.known
            .get_key_value(model)
            .map_or(OTHER, |(name, _)| name)
    }

    pub(super) fn count(&self, model: &str, usage: TokenCounts) {
        let (label, handles) = self
            .known
            .get_key_value(model)
            .map_or((OTHER, &self.others), |(name, handles)| (&**name, handles));
        // A series begins with the first tokens, so that models nobody asks for cost nothing.
        let counts = handles.get_or_init(|| {
            KINDS.map(|kind| {
                self.family.get_or_create_owned(&ModelLabels {
                    model: label.to_owned(),
                    kind,
                })
            })
        });
        for (count, tokens) in counts.iter().zip(super::by_kind(usage)) {
            count.inc_by(tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode_registry;
    use prometheus_client::registry::Registry;

    use super::*;

    /// How many series there are once each of these models was asked.
    fn series<'a>(known: impl Iterator<Item = &'a str>, asked: &[String]) -> usize {
        let tokens = ModelTokens::new(known);
        let mut registry = Registry::default();
        registry.register("tokens", "Tokens", tokens.family());
        for model in asked {
            tokens.count(model, TokenCounts::default());
        }
        let mut text = String::new();
        encode_registry(&mut text, &registry).unwrap();
        text.lines().filter(|line| line.contains("model=")).count()
    }

    #[test]
    fn made_up_names_make_no_series_however_many_they_are() {
        let mut asked: Vec<String> = (0..10_000).map(|n| format!("made-up-{n}")).collect();
        asked.push("qwen-plus".to_owned());
        let known = ["qwen-plus", "qwen-max", "qwen-plus"];
        assert_eq!(series(known.into_iter(), &asked), 2 * KINDS.len());
    }

    #[test]
    fn labels_have_a_bound_whatever_is_known() {
        let known: Vec<String> = (0..10_000).map(|n| format!("route-{n}")).collect();
        let most = (MOST_MODELS + 1) * KINDS.len();
        assert_eq!(series(known.iter().map(String::as_str), &known), most);
        let names = ["a\"b\n"];
        let tokens = ModelTokens::new(names.into_iter());
        assert_eq!(tokens.label("a\"b\n"), "a\"b\n");
        assert_eq!(tokens.label("a\r\n"), OTHER);
    }
}
