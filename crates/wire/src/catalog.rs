//! The model catalogue: which models there are and what each can do.
//!
//! Embedded from `data/models.json`, a compilation of public documents with a source and a date per
//! entry; read once, on first use. What the catalogue does not know (`null`) is `None`, never "no".
//!
//! ```
//! use bailian_wire::catalog::{Catalog, Thinking};
//!
//! let model = Catalog::embedded().model("qwen-plus").unwrap();
//! assert_eq!(model.context_window, Some(1_000_000));
//! assert_eq!(model.thinking, Thinking::Hybrid);
//! assert!(!model.thinks_by_default());
//! ```

mod limits;
mod model;

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::limits::{
    AsyncLimits, LimitKind, LimitTable, LimitWindow, Measure, ModelLimits, Pool, SpendTier,
    TokenBasis,
};
pub use self::model::{Features, Model, Region, Status, Thinking};

/// The largest request body that the service takes when media stand inline, in bytes
/// (`limits.json`, `request_body_limits`).
pub const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// The largest request body without inline media, in bytes.
pub const MAX_PLAIN_BODY_BYTES: usize = 16 * 1024 * 1024;

static EMBEDDED: LazyLock<Catalog> =
    LazyLock::new(|| Catalog::parse(include_str!("../data/models.json")));

/// All models that are known.
#[derive(Debug, Default)]
pub struct Catalog {
    models: Vec<Model>,
    /// By id and by alias.
    places: HashMap<String, usize>,
    skipped: usize,
}

#[derive(Default, Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    entries: Vec<&'a RawValue>,
}

impl Catalog {
    /// The catalogue of this version.
    pub fn embedded() -> &'static Self {
        &EMBEDDED
    }

    /// Reads a catalogue. An entry that cannot be read is left out and counted.
    pub fn parse(json: &str) -> Self {
        let file: File<'_> = serde_json::from_str(json).unwrap_or_default();
        let mut catalog = Self::default();
        for entry in file.entries {
            match serde_json::from_str::<Model>(entry.get()) {
                Ok(model) => catalog.add(model),
                Err(_) => catalog.skipped += 1,
            }
        }
        catalog
    }

    fn add(&mut self, model: Model) {
        let place = self.models.len();
        for alias in &model.aliases {
            self.places.entry(alias.clone()).or_insert(place);
        }
        self.places.insert(model.id.clone(), place);
        self.models.push(model);
    }

    /// The model of that id or alias. Ids keep their case (`MiniMax-M2.5`); another case finds
    /// them too.
    pub fn model(&self, id: &str) -> Option<&Model> {
        let exact = self
            .places
            .get(id)
            .and_then(|place| self.models.get(*place));
        exact.or_else(|| {
            self.models
                .iter()
                .find(|model| model.id.eq_ignore_ascii_case(id))
        })
    }

    /// The published limits of a model (id or alias) in a region; the tightest where several
    /// deployment scopes share the region. Always of the embedded [`LimitTable`].
    pub fn limits(&self, id: &str, region: &str) -> Option<&'static ModelLimits> {
        let table = LimitTable::embedded();
        let of_id = table.tightest(id, region);
        of_id.or_else(|| table.tightest(&self.model(id)?.id, region))
    }

    /// All models, in the catalogue's order.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.models.iter()
    }

    /// Entries that could not be read.
    pub fn skipped(&self) -> usize {
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_of_the_embedded_catalogue_is_read() {
        let catalog = Catalog::embedded();
        assert_eq!(catalog.skipped(), 0);
        assert!(catalog.models().count() > 600);
        for model in catalog.models() {
            assert_eq!(
                catalog.model(&model.id).map(|found| &found.id),
                Some(&model.id)
            );
        }
    }

    #[test]
    fn known_facts_are_found() {
        let catalog = Catalog::embedded();
        let qwq = catalog.model("qwq-plus").unwrap();
        assert!(qwq.is_stream_only() && qwq.thinks_by_default());
        let multimodal = catalog.model("qwen3.5-plus").unwrap();
        assert!(multimodal.uses_multimodal_path() && multimodal.thinks_by_default());
        assert!(!catalog.model("qwen-plus").unwrap().uses_multimodal_path());
        assert!(
            catalog
                .model("qwen-mt-plus")
                .unwrap()
                .streams_cumulatively()
        );
        assert!(
            !catalog
                .model("qwen-mt-flash")
                .unwrap()
                .streams_cumulatively()
        );
        assert_eq!(catalog.model("minimax-m2.5").unwrap().id, "MiniMax-M2.5");
        assert!(catalog.model("no-such-model").is_none());
    }

    #[test]
    fn a_strange_entry_is_left_out_and_the_rest_is_kept() {
        let catalog = Catalog::parse(
            r#"{"entries":[{"id":7},{"id":"a","thinking":"telepathic","future":[1]},{"id":"b"}]}"#,
        );
        assert_eq!(catalog.skipped(), 1);
        assert_eq!(catalog.model("a").unwrap().thinking, Thinking::Unknown);
        assert!(catalog.model("b").is_some());
    }
}
