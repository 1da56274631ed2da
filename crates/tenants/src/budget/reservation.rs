//! What is held for one request until it ends.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::book::{Book, Taken};
use super::{Shared, Spent};

/// What a request may cost, held in all its limits and budgets until it ends.
///
/// [`settle`](Self::settle) replaces it by what the request cost. Dropping it settles with what was
/// [observed](Self::observe) last, and gives everything back, the place in the minute included, when
/// nothing was: then no request was sent. Either happens in the call, not later.
#[must_use = "dropping a reservation gives it back"]
pub struct Reservation {
    shared: Arc<Shared>,
    book: Arc<Mutex<Book>>,
    /// `None` once it is settled.
    taken: Option<Taken>,
    observed: Option<Spent>,
}

impl Reservation {
    pub(super) fn new(shared: Arc<Shared>, book: Arc<Mutex<Book>>, taken: Taken) -> Self {
        Self {
            shared,
            book,
            taken: Some(taken),
            observed: None,
        }
    }

    /// Notes what the request has cost so far, in case that it is cancelled. To be called with
    /// nothing when it is sent, so that it counts as a request from then on.
    pub fn observe(&mut self, so_far: Spent) {
        self.observed = Some(so_far);
    }

    /// Takes back what was observed: nothing was sent after all. Dropped now, it gives everything
    /// back.
    pub fn forget(&mut self) {
        self.observed = None;
    }

    /// Replaces what was reserved by what the request cost, more or less, in the periods in which it
    /// was reserved.
    pub fn settle(mut self, spent: &Spent, now: Instant) {
        if let Some(taken) = self.taken.take() {
            let mut book = self.book.lock();
            book.settle(&taken, Some(spent), Some(now), &self.shared);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(taken) = self.taken.take() {
            let mut book = self.book.lock();
            book.settle(&taken, self.observed.as_ref(), None, &self.shared);
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").finish_non_exhaustive()
    }
}
