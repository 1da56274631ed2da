//! Answers that are kept in this process.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::entry::Entry;
use super::key::Key;

/// Answers within a bound; those that were not used for longest give way.
#[derive(Debug)]
pub(super) struct Memory {
    max_bytes: usize,
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    by_key: HashMap<Key, Kept>,
    /// By when they were used last.
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    entry: Arc<Entry>,
    bytes: usize,
    until: Instant,
    used: u64,
}

impl Shelf {
    fn remove(&mut self, key: &Key) {
        if let Some(kept) = self.by_key.remove(key) {
            self.by_use.remove(&kept.used);
            self.bytes -= kept.bytes;
        }
    }
}

impl Memory {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            shelf: Mutex::default(),
        }
    }

    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<Arc<Entry>> {
        let mut locked = self.shelf.lock();
        let all = &mut *locked;
        let kept = all.by_key.get_mut(key)?;
        if kept.until <= now {
            all.remove(key);
            return None;
        }
        all.uses += 1;
        all.by_use.remove(&kept.used);
        all.by_use.insert(all.uses, *key);
        kept.used = all.uses;
        Some(Arc::clone(&kept.entry))
    }

    pub(super) fn put(&self, key: Key, entry: Arc<Entry>, ttl: Duration, now: Instant) {
        let bytes = entry.bytes();
        let Some(until) = now.checked_add(ttl) else {
            return;
        };
        if bytes > self.max_bytes {
            return;
        }
        let mut locked = self.shelf.lock();
        let all = &mut *locked;
        all.remove(&key);
        while all.bytes + bytes > self.max_bytes {
            let Some((_, oldest)) = all.by_use.pop_first() else {
                break;
            };
            if let Some(kept) = all.by_key.remove(&oldest) {
                all.bytes -= kept.bytes;
            }
        }
        all.uses += 1;
        all.bytes += bytes;
        all.by_use.insert(all.uses, key);
        let kept = Kept {
            entry,
            bytes,
            until,
            used: all.uses,
        };
        all.by_key.insert(key, kept);
    }

    /// How many there are, and what they come to in bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        let kept = self.shelf.lock();
        (kept.by_key.len(), kept.bytes)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    fn entry(length: usize) -> Arc<Entry> {
        Arc::new(Entry {
            headers: HeaderMap::new(),
            body: Bytes::from(vec![b'x'; length]),
            ends: None,
            usage: None,
            made: 0,
        })
    }

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn what_was_not_used_for_longest_gives_way() {
        let now = Instant::now();
        let one = entry(100);
        let memory = Memory::new(3 * one.bytes());
        for number in 1..=3 {
            memory.put(Key::numbered(number), entry(100), HOUR, now);
        }
        assert!(memory.get(&Key::numbered(1), now).is_some());
        memory.put(Key::numbered(4), entry(100), HOUR, now);
        let kept = [1, 2, 3, 4].map(|number| memory.get(&Key::numbered(number), now).is_some());
        assert_eq!(kept, [true, false, true, true]);
        assert_eq!(memory.size(), (3, 3 * one.bytes()));
        // One that is larger pushes out as many as it needs.
        memory.put(Key::numbered(5), entry(100 + one.bytes()), HOUR, now);
        assert_eq!(memory.size(), (2, 3 * one.bytes()));
    }

    #[test]
    fn what_has_no_place_pushes_nothing_out() {
        let now = Instant::now();
        let memory = Memory::new(2 * entry(100).bytes());
        memory.put(Key::numbered(1), entry(100), HOUR, now);
        memory.put(Key::numbered(2), entry(10_000), HOUR, now);
        assert!(memory.get(&Key::numbered(1), now).is_some());
        assert!(memory.get(&Key::numbered(2), now).is_none());
    }

    #[test]
    fn an_answer_ends_with_its_time_and_makes_room() {
        let now = Instant::now();
        let memory = Memory::new(1_000_000);
        memory.put(Key::numbered(1), entry(1), HOUR, now);
        let last = Duration::from_hours(1) - Duration::from_nanos(1);
        assert!(memory.get(&Key::numbered(1), now + last).is_some());
        assert!(memory.get(&Key::numbered(1), now + HOUR).is_none());
        assert_eq!(memory.size(), (0, 0));
    }

    #[test]
    fn an_answer_in_the_place_of_another_counts_once() {
        let now = Instant::now();
        let memory = Memory::new(1_000_000);
        memory.put(Key::numbered(1), entry(500), HOUR, now);
        memory.put(Key::numbered(1), entry(10), HOUR, now);
        assert_eq!(memory.size(), (1, entry(10).bytes()));
    }
}
