//! The price book: listed prices, the operator's own, and what each id is priced as.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};
use std::sync::{Arc, LazyLock};

use sha2::{Digest, Sha256};

use crate::cost::Cost;
use crate::error::{DataError, OverrideError, PriceError};
use crate::listing::{Entry, Listing};
use crate::overrides::{PriceOverride, Stated};
use crate::request::Request;
use crate::terms::Terms;
use crate::{bill, estimate};

static EMBEDDED: LazyLock<PriceBook> = LazyLock::new(|| {
    // A book that could not be read would price nothing, and a test reads it.
    PriceBook::parse(include_str!("../data/prices.json")).unwrap_or_default()
});

/// Prices with a version. Cheap to clone, never changed: another price is another book, and pricing
/// an old request again is a call of it.
///
/// ```
/// use std::time::SystemTime;
/// use bailian_prices::{PriceBook, Request, Usage};
///
/// let usage = Usage::tokens(1_000, 200);
/// let request = Request::new("qwen3-max", "cn-beijing", SystemTime::now(), usage);
/// let cost = PriceBook::embedded().cost(&request)?;
/// assert_eq!(cost.total.to_string(), "0.0045");
/// # Ok::<(), bailian_prices::PriceError>(())
/// ```
#[derive(Clone, Default)]
pub struct PriceBook {
    pub(crate) listing: Arc<Listing>,
    pub(crate) overrides: Arc<HashMap<String, Vec<Stated>>>,
    pub(crate) aliases: Arc<BTreeMap<String, String>>,
    listed_version: String,
    version: String,
}

impl fmt::Debug for PriceBook {
    // A thousand entries help nobody in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PriceBook")
            .field("version", &self.version)
            .field("entries", &self.listing.entries.len())
            .field("overrides", &self.overrides.values().flatten().count())
            .finish_non_exhaustive()
    }
}

impl PriceBook {
    /// The price list of this version, read at first use.
    pub fn embedded() -> &'static Self {
        &EMBEDDED
    }

    /// Reads a price file, such as a newer one.
    ///
    /// # Errors
    /// If it is not of that form, or a figure, a condition or an item in it is not understood.
    pub fn parse(json: &str) -> Result<Self, DataError> {
        let listing = Listing::parse(json)?;
        let version = format!("{}+{}", listing.compiled, short_hash(json.as_bytes()));
        Ok(Self {
            listing: Arc::new(listing),
            listed_version: version.clone(),
            version,
            ..Self::default()
        })
    }

    /// The book with these overrides instead of those it had.
    ///
    /// # Errors
    /// If an override makes no sense, or two begin at the same moment for the same thing.
    pub fn with_overrides(
        &self,
        overrides: impl IntoIterator<Item = PriceOverride>,
    ) -> Result<Self, OverrideError> {
        let mut by_model: HashMap<String, Vec<Stated>> = HashMap::new();
        for (place, terms) in overrides.into_iter().enumerate() {
            let stated = Stated::read(terms, place)?;
            let same_model = by_model.entry(stated.terms.model.clone()).or_default();
            if same_model.iter().any(|other| other.id() == stated.id()) {
                return Err(OverrideError {
                    place: format!("[{place}].effective_from"),
                    problem: "another override of the same begins at that moment".to_owned(),
                    model: stated.terms.model,
                });
            }
            same_model.push(stated);
        }
        let mut book = self.clone();
        book.overrides = Arc::new(by_model);
        Ok(book.versioned())
    }

    /// The book with these other names of models instead of those it had: name → id. A name is
    /// looked up only when there is no price under it.
    pub fn with_aliases(&self, aliases: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut book = self.clone();
        book.aliases = Arc::new(aliases.into_iter().collect());
        book.versioned()
    }

    /// `2026-11-23+1a2b3c4d`: when the list was compiled and a hash of its content; with overrides
    /// or aliases, a hash of these behind a `/`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The listed entries, in the list's order. Third parties' duplicates are not among them.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.listing.entries.iter()
    }

    /// What a request costs.
    ///
    /// # Errors
    /// If the book has no price for it, if the price depends on something that the request does not
    /// tell, or if the usage contradicts itself. Nothing is priced at zero for want of a price.
    pub fn cost(&self, request: &Request) -> Result<Cost, PriceError> {
        bill::cost(self, request)
    }

    /// The most that a request can cost if it uses no more than `request.usage`: what to reserve
    /// before it is sent. `input_tokens` is an upper estimate, `output_tokens` the most that the
    /// model may write, thinking included.
    ///
    /// Nothing is expected to be found in a cache; input may be written to it up to
    /// `cache_creation_tokens`. What the request does not tell (thinking, the kind of input and
    /// output, the resolution, the deployment scope, …) is taken at its dearest, promotions and
    /// prices outside busy hours not at all.
    ///
    /// # Errors
    /// As [`cost`](Self::cost), but for circumstances that are not told.
    pub fn estimate(&self, request: &Request) -> Result<Cost, PriceError> {
        estimate::estimate(self, request)
    }

    /// What a request may be priced by, the likeliest first; never empty.
    pub(crate) fn terms(&self, request: &Request) -> Result<Vec<Terms<'_>>, PriceError> {
        Terms::find(self, request)
    }

    fn versioned(mut self) -> Self {
        if self.overrides.is_empty() && self.aliases.is_empty() {
            self.version.clone_from(&self.listed_version);
            return self;
        }
        let mut hash = Sha256::new();
        let mut stated: Vec<&Stated> = self.overrides.values().flatten().collect();
        stated.sort_by_key(|stated| stated.id());
        for stated in stated {
            hash.update(format!("{:?}\n", stated.terms));
        }
        for (name, id) in self.aliases.iter() {
            hash.update(format!("{name:?}={id:?}\n"));
        }
        self.version = format!("{}/{}", self.listed_version, hex(&hash.finalize()));
        self
    }
}

fn short_hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The first four bytes: enough to tell books apart, short enough for a log.
fn hex(digest: &[u8]) -> String {
    digest.iter().take(4).fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
