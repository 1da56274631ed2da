//! One tenant's share of one class: its line, and the tag that decides when it is its turn.

use std::collections::BTreeMap;

use super::{SCALE, WaiterId};
use crate::time::{Nanos, from_f64};

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) tag: u64,
    pub(super) weight: u32,
    line: BTreeMap<i64, WaiterId>,
    work: f64,
}

impl Flow {
    pub(super) fn new(weight: u32) -> Self {
        Self {
            tag: 0,
            weight,
            line: BTreeMap::new(),
            work: 0.0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.line.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    pub(super) fn work(&self) -> f64 {
        self.work
    }

    pub(super) fn front(&self) -> Option<WaiterId> {
        self.line.values().next().copied()
    }

    /// A place at the front or at the end of the line.
    pub(super) fn place(&self, front: bool) -> i64 {
        if front {
            self.line.keys().next().map_or(0, |first| first - 1)
        } else {
            self.line.keys().next_back().map_or(0, |last| last + 1)
        }
    }

    pub(super) fn push(&mut self, place: i64, id: WaiterId, work: Nanos) {
        self.line.insert(place, id);
        self.work += work as f64;
    }

    pub(super) fn remove(&mut self, place: i64, work: Nanos) {
        self.line.remove(&place);
        self.work = if self.line.is_empty() {
            0.0
        } else {
            (self.work - work as f64).max(0.0)
        };
    }

    /// By how much the tag moves for so much work.
    pub(super) fn advance(&self, work: Nanos) -> u64 {
        work.saturating_mul(SCALE) / u64::from(self.weight)
    }

    /// The tag after all that waits has gone.
    pub(super) fn last_tag(&self) -> u64 {
        self.tag.saturating_add(self.advance(from_f64(self.work)))
    }

    /// Work that was more than thought, or less; never less than it takes to be even.
    pub(super) fn correct(&mut self, work: f64, even: u64) {
        let change = self.advance(from_f64(work.abs()));
        self.tag = if work >= 0.0 {
            self.tag.saturating_add(change)
        } else {
            self.tag.saturating_sub(change).max(even.min(self.tag))
        };
    }
}
