//! What the service keeps for its callers: responses, conversations, sessions of applications.
//!
//! Each kind is bounded; the oldest goes first.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde_json::Value;

use crate::frames::item_id;

/// How many of a kind are kept.
const MOST: usize = 1_000;
/// How many items a conversation keeps.
pub(crate) const MOST_ITEMS: usize = 2_000;
/// How long a response is kept (compat.md §5.1), and a session without use (apps-files-misc.md
/// §1.1).
const RESPONSE_LIFE: Duration = Duration::from_hours(7 * 24);
const SESSION_LIFE: Duration = Duration::from_hours(1);

/// One kept thing of an account.
#[derive(Clone, Debug)]
struct Kept<T> {
    account: String,
    id: String,
    used: Instant,
    value: T,
}

/// Things of one kind.
#[derive(Debug)]
pub(crate) struct Shelf<T>(Mutex<VecDeque<Kept<T>>>, Duration);

impl<T: Clone> Shelf<T> {
    fn living(life: Duration) -> Self {
        Self(Mutex::default(), life)
    }

    /// Keeps a thing, in the place of an older one of the same name.
    pub(crate) fn put(&self, account: &str, id: &str, value: T) {
        let mut kept = self.0.lock();
        kept.retain(|other| other.account != account || other.id != id);
        if kept.len() >= MOST {
            kept.pop_front();
        }
        kept.push_back(Kept {
            account: account.to_owned(),
            id: id.to_owned(),
            used: Instant::now(),
            value,
        });
    }

    pub(crate) fn get(&self, account: &str, id: &str) -> Option<T> {
        let kept = self.0.lock();
        let found = kept
            .iter()
            .find(|kept| kept.account == account && kept.id == id)?;
        (found.used.elapsed() < self.1).then(|| found.value.clone())
    }

    pub(crate) fn remove(&self, account: &str, id: &str) -> Option<T> {
        let value = self.get(account, id);
        let mut kept = self.0.lock();
        kept.retain(|other| other.account != account || other.id != id);
        value
    }
}

/// A response and what led to it.
#[derive(Clone, Debug)]
pub(crate) struct StoredResponse {
    pub(crate) object: Value,
    /// The input of this response alone.
    pub(crate) input: Vec<Value>,
    /// All turns up to it, its answer with them, as chat messages.
    pub(crate) messages: Vec<Value>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Conversation {
    pub(crate) object: Value,
    pub(crate) items: Vec<Value>,
}

/// Everything that is kept.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) responses: Shelf<StoredResponse>,
    pub(crate) conversations: Shelf<Conversation>,
    /// Turns of a session, as chat messages.
    pub(crate) sessions: Shelf<Vec<Value>>,
}

impl Default for Stored {
    fn default() -> Self {
        Self {
            responses: Shelf::living(RESPONSE_LIFE),
            conversations: Shelf::living(Duration::MAX),
            sessions: Shelf::living(SESSION_LIFE),
        }
    }
}

/// Milliseconds, as lists of items have them; the response object has seconds (compat.md §5.4).
pub(crate) fn now_millis() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Items, each with an id and the time.
pub(crate) fn with_ids(mut items: Vec<Value>, seed: &str) -> Vec<Value> {
    let seed = format!("{seed} input");
    let now = now_millis();
    for (place, item) in items.iter_mut().enumerate() {
        if let Some(members) = item.as_object_mut() {
            members.entry("created_at").or_insert_with(|| now.into());
            let id = members.entry("id").or_insert(Value::Null);
            if !id.is_string() {
                *id = item_id(&seed, place).into();
            }
        }
    }
    items
}
