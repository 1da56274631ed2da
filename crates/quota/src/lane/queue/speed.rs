//! How much of the lane's work passes while a class's virtual time advances: what turns a place in
//! line into a wait, with everybody included who comes later and still goes first.

use std::collections::VecDeque;

use crate::time::{Nanos, SECOND};

/// Marks are set this far apart, and so many are kept.
const INTERVAL: Nanos = 2 * SECOND;
const MARKS: usize = 30;
/// A line that has moved for less is not judged.
const LEAST: Nanos = 4 * SECOND;

#[derive(Debug, Default)]
pub(super) struct Speed {
    work: f64,
    tag: Option<u64>,
    marks: VecDeque<Mark>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Nanos,
    work: f64,
    tag: u64,
}

impl Speed {
    /// The lane did some work; `tag` is the class's virtual time when it was for this class.
    pub(super) fn served(&mut self, work: Nanos, tag: Option<u64>, now: Nanos) {
        self.work += work as f64;
        self.tag = tag.or(self.tag);
        let Some(tag) = self.tag else { return };
        let due = self
            .marks
            .back()
            .is_none_or(|mark| mark.at.saturating_add(INTERVAL) <= now);
        if due {
            if self.marks.len() >= MARKS {
                self.marks.pop_front();
            }
            self.marks.push_back(Mark {
                at: now,
                work: self.work,
                tag,
            });
        }
    }

    /// The lane's work per unit of tag, when the line has moved long enough to tell.
    pub(super) fn work_per_tag(&self) -> Option<f64> {
        let (first, last) = (self.marks.front()?, self.marks.back()?);
        let advanced = last.tag.saturating_sub(first.tag);
        if last.at.saturating_sub(first.at) < LEAST || advanced == 0 {
            return None;
        }
        Some((last.work - first.work) / advanced as f64)
    }
}
