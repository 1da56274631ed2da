//! Whose the things are that the service keeps: responses, conversations, sessions of applications.
//!
//! The service knows the account only. What a tenant made is therefore remembered with its tenant
//! and its account, in the store of keys, which replicas share; in memory alone where the gateway
//! keeps nothing.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use bailian_tenants::store::{Store, StoreError};
use bailian_tenants::{MAX_OBJECT_ID, Object, ObjectKind};
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::clock::Clock;

/// So many are known without asking the store, or at all where there is none.
const MOST_KNOWN: usize = 20_000;
/// So many wait for a store that does not answer; what is more is lost, and then nobody's.
const MOST_UNWRITTEN: usize = 10_000;

/// Nobody can say whose a thing is.
#[derive(Debug, thiserror::Error)]
#[error("the store of keys does not answer")]
pub(crate) struct Unanswered;

/// What is remembered, for all runtimes.
pub(crate) struct Objects {
    store: Option<Arc<dyn Store>>,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    unwritten: Arc<Mutex<Vec<Object>>>,
}

#[derive(Default)]
struct Known {
    by_kind: HashMap<ObjectKind, HashMap<Box<str>, Object>>,
    /// In order of arrival; some may have been forgotten since.
    order: VecDeque<(ObjectKind, Box<str>)>,
}

impl Known {
    fn get(&self, kind: ObjectKind, id: &str) -> Option<&Object> {
        self.by_kind.get(&kind)?.get(id)
    }

    fn put(&mut self, object: Object) {
        let (kind, id) = (object.kind, Box::<str>::from(object.id.as_str()));
        let of_kind = self.by_kind.entry(kind).or_default();
        if of_kind.insert(id.clone(), object).is_none() {
            self.order.push_back((kind, id));
        }
        while self.order.len() > MOST_KNOWN {
            if let Some((kind, id)) = self.order.pop_front() {
                self.remove(kind, &id);
            }
        }
    }

    fn remove(&mut self, kind: ObjectKind, id: &str) {
        if let Some(of_kind) = self.by_kind.get_mut(&kind) {
            of_kind.remove(id);
        }
    }
}

impl Objects {
    pub(crate) fn new(store: Option<Arc<dyn Store>>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            known: Mutex::default(),
            unwritten: Arc::default(),
        }
    }

    fn now(&self) -> Timestamp {
        let millis = i64::try_from(self.clock.unix_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Remembers that a tenant made or used something. When this ends all replicas know it, if the
    /// store answers; if not, this one does, and it is written with what comes next.
    pub(crate) async fn keep(&self, kind: ObjectKind, id: &str, owner: &str, account: &str) {
        if id.is_empty() || id.len() > MAX_OBJECT_ID {
            tracing::warn!(
                kind = kind.as_str(),
                "an id of the service is too long to be remembered; nobody can use it"
            );
            return;
        }
        let now = self.now();
        let object = Object::new(kind, id, owner, account, now);
        {
            let mut known = self.known.lock();
            let found = known.get(kind, id).filter(|found| found.until > now);
            if let Some(found) = found {
                // Another one's stays that one's; and what lasts is not written at each use.
                let lasts = found.until.duration_since(now).as_secs() * 2;
                let is_fresh = lasts > i64::try_from(kind.life().as_secs()).unwrap_or(i64::MAX);
                if found.owner != owner || is_fresh {
                    return;
                }
            }
            known.put(object.clone());
        }
        let Some(store) = self.store.clone() else {
            return;
        };
        let unwritten = Arc::clone(&self.unwritten);
        let write = move || {
            let mut due = std::mem::take(&mut *unwritten.lock());
            due.push(object);
            write(&*store, due, now, &unwritten);
        };
        // Goes on when the client leaves.
        if let Err(error) = tokio::task::spawn_blocking(write).await {
            tracing::error!(%error, "whose a thing of the service is could not be written down");
        }
    }

    /// Which account holds a thing of this tenant. `None` for what does not exist, and for what is
    /// another tenant's.
    pub(crate) async fn account_of(
        &self,
        kind: ObjectKind,
        id: &str,
        owner: &str,
    ) -> Result<Option<String>, Unanswered> {
        if id.is_empty() || id.len() > MAX_OBJECT_ID {
            return Ok(None);
        }
        let now = self.now();
        let known = self.known.lock().get(kind, id).cloned();
        let found = match (known.filter(|known| known.until > now), self.store.clone()) {
            (Some(known), _) => Some(known),
            (None, None) => None,
            (None, Some(store)) => {
                let id = id.to_owned();
                let look = move || store.object(kind, &id, now);
                let found = tokio::task::spawn_blocking(look).await;
                let found = found.map_err(|_| Unanswered)?.map_err(|error| {
                    tracing::warn!(%error, "the store of keys does not answer");
                    Unanswered
                })?;
                if let Some(found) = &found {
                    self.known.lock().put(found.clone());
                }
                found
            }
        };
        let Some(found) = found.filter(|found| found.owner == owner) else {
            return Ok(None);
        };
        let account = found.account;
        // What is used lives on.
        self.keep(kind, id, owner, &account).await;
        Ok(Some(account))
    }

    /// Forgets what its tenant deleted.
    pub(crate) async fn forget(&self, kind: ObjectKind, id: &str) {
        self.known.lock().remove(kind, id);
        let Some(store) = self.store.clone() else {
            return;
        };
        let id = id.to_owned();
        let deleted = tokio::task::spawn_blocking(move || store.delete_object(kind, &id)).await;
        if let Ok(Err(error)) = deleted {
            // It is remembered until its end, as its owner's.
            tracing::warn!(%error, "what was deleted could not be forgotten");
        }
    }
}

/// Writes what is due; what could not be written waits.
fn write(store: &dyn Store, due: Vec<Object>, now: Timestamp, unwritten: &Mutex<Vec<Object>>) {
    let mut failed: Option<StoreError> = None;
    let mut left = Vec::new();
    for object in due {
        if failed.is_none() {
            match store.put_object(&object, now) {
                Ok(()) => continue,
                Err(error) => failed = Some(error),
            }
        }
        left.push(object);
    }
    let Some(error) = failed else { return };
    let mut unwritten = unwritten.lock();
    let room = MOST_UNWRITTEN.saturating_sub(unwritten.len());
    let lost = left.len().saturating_sub(room);
    left.truncate(room);
    unwritten.append(&mut left);
    tracing::warn!(
        %error,
        waiting = unwritten.len(),
        lost,
        "whose a thing of the service is could not be written down yet"
    );
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn objects() -> Objects {
        Objects::new(None, Arc::new(SystemClock))
    }

    #[tokio::test]
    async fn a_thing_is_its_makers_and_nobody_elses() {
        let objects = objects();
        objects
            .keep(ObjectKind::Response, "resp_1", "a", "main")
            .await;
        // Somebody who could make the service say the id would still not get it.
        objects
            .keep(ObjectKind::Response, "resp_1", "b", "other")
            .await;
        let account = |kind, id: &'static str, owner: &'static str| {
            let objects = &objects;
            async move { objects.account_of(kind, id, owner).await.unwrap() }
        };
        let kind = ObjectKind::Response;
        assert_eq!(account(kind, "resp_1", "a").await.as_deref(), Some("main"));
        assert_eq!(account(kind, "resp_1", "b").await, None);
        assert_eq!(account(kind, "resp_2", "a").await, None);
        assert_eq!(account(ObjectKind::Conversation, "resp_1", "a").await, None);
        assert_eq!(account(kind, "", "a").await, None);
        objects.forget(kind, "resp_1").await;
        assert_eq!(account(kind, "resp_1", "a").await, None);
    }

    #[tokio::test]
    async fn without_a_store_the_oldest_give_way() {
        let objects = objects();
        for number in 0..=MOST_KNOWN {
            let id = number.to_string();
            objects.keep(ObjectKind::Response, &id, "a", "main").await;
        }
        let kind = ObjectKind::Response;
        assert_eq!(objects.account_of(kind, "0", "a").await.unwrap(), None);
        assert!(objects.account_of(kind, "1", "a").await.unwrap().is_some());
    }
}
