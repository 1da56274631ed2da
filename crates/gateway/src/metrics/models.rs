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
