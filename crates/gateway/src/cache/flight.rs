//! Equal requests at the same time: one is sent, the others wait for its answer.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::entry::Entry;
use super::key::Key;

/// The requests under way, by what they ask.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<Under>);

#[derive(Debug, Default)]
struct Under {
    way: HashMap<Key, Flight>,
    count: u64,
}

/// A request under way, and those that wait for its answer.
#[derive(Debug)]
struct Flight {
    number: u64,
    waiting: VecDeque<oneshot::Sender<Landing>>,
}

/// What a waiting request hears.
#[derive(Debug)]
pub(crate) enum Landing {
    /// The answer, and whether it was kept already.
    Answer {
        /// It.
        entry: Arc<Entry>,
        /// Whether it was found, not made.
        was_kept: bool,
    },
    /// Whoever was to bring the answer left: this request brings it now.
    Lead(Lead),
    /// There is no answer that fits others: each has to ask by itself.
    Alone,
}

/// The place of a request among equal ones.
pub(crate) enum Place {
    /// It is the one that is sent.
    Lead(Lead),
    /// It waits.
    Follow(oneshot::Receiver<Landing>),
    /// As many wait as may.
    Full,
}

/// The duty to bring an answer. Dropping it without one hands it on to the next in line.
#[derive(Debug)]
pub(crate) struct Lead {
    flights: Arc<Flights>,
    key: Key,
    /// The flight that is led; `None` once it has ended, and for a request that leads none.
    number: Option<u64>,
}

impl Flights {
    /// Takes a place among equal requests, of which at most `most` wait.
    pub(crate) fn join(self: &Arc<Self>, key: Key, most: usize) -> Place {
        let mut under = self.0.lock();
        let Some(flight) = under.way.get_mut(&key) else {
            under.count += 1;
            let number = under.count;
            let waiting = VecDeque::new();
            under.way.insert(key, Flight { number, waiting });
            return Place::Lead(self.lead(key, Some(number)));
        };
        if flight.waiting.len() >= most {
            flight.waiting.retain(|sender| !sender.is_closed());
            if flight.waiting.len() >= most {
                return Place::Full;
            }
        }
        let (sender, receiver) = oneshot::channel();
        flight.waiting.push_back(sender);
        Place::Follow(receiver)
    }

    /// For a request that nobody waits for. If it is the first to have an answer, those who wait for
    /// another's get it, too.
    pub(crate) fn alone(self: &Arc<Self>, key: Key) -> Lead {
        self.lead(key, None)
    }

    fn lead(self: &Arc<Self>, key: Key, number: Option<u64>) -> Lead {
        let flights = Arc::clone(self);
        Lead {
            flights,
            key,
            number,
        }
    }

    /// Ends a flight: the one of that number, or whichever there is.
    fn end(&self, key: &Key, number: Option<u64>) -> VecDeque<oneshot::Sender<Landing>> {
        let mut under = self.0.lock();
        let is_it = |flight: &Flight| number.is_none_or(|number| flight.number == number);
        if !under.way.get(key).is_some_and(is_it) {
            return VecDeque::new();
        }
        let flight = under.way.remove(key);
        flight.map(|flight| flight.waiting).unwrap_or_default()
    }

    /// The next that waits; the flight ends where there is none.
    fn next(&self, key: &Key, number: u64) -> Option<oneshot::Sender<Landing>> {
        let mut under = self.0.lock();
        let flight = under.way.get_mut(key)?;
        if flight.number != number {
            return None;
        }
        let next = flight.waiting.pop_front();
        if next.is_none() {
            under.way.remove(key);
        }
        next
    }
}

impl Lead {
    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// Gives the answer to all that wait.
    pub(crate) fn land(mut self, entry: &Arc<Entry>, was_kept: bool) {
        self.number = None;
        for waiting in self.flights.end(&self.key, None) {
            let entry = Arc::clone(entry);
            // Who has left needs none.
            drop(waiting.send(Landing::Answer { entry, was_kept }));
        }
    }

    /// Tells all that wait that they have to ask by themselves.
    pub(crate) fn fail(mut self) {
        let Some(number) = self.number.take() else {
            return;
        };
        for waiting in self.flights.end(&self.key, Some(number)) {
            drop(waiting.send(Landing::Alone));
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let Some(number) = self.number.take() else {
            return;
        };
        // No lock is held while a lead is given away: whoever leaves in that moment drops it, which
        // comes here again.
        while let Some(next) = self.flights.next(&self.key, number) {
            let lead = self.flights.lead(self.key, Some(number));
            match next.send(Landing::Lead(lead)) {
                Ok(()) => return,
                Err(Landing::Lead(mut lead)) => lead.number = None,
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(flights: &Arc<Flights>) -> Lead {
        match flights.join(Key::numbered(1), 10) {
            Place::Lead(lead) => lead,
            _ => panic!("somebody else leads"),
        }
    }

    fn follow(flights: &Arc<Flights>) -> oneshot::Receiver<Landing> {
        match flights.join(Key::numbered(1), 10) {
            Place::Follow(receiver) => receiver,
            _ => panic!("nobody leads, or too many wait"),
        }
    }

    fn entry() -> Arc<Entry> {
        Arc::new(Entry {
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::new(),
            ends: None,
            usage: None,
            made: 0,
        })
    }

    #[test]
    fn all_that_wait_get_the_answer_and_the_next_begins_anew() {
        let flights = Arc::default();
        let leading = lead(&flights);
        let mut waiting = [follow(&flights), follow(&flights)];
        leading.land(&entry(), false);
        for receiver in &mut waiting {
            assert!(matches!(
                receiver.try_recv(),
                Ok(Landing::Answer {
                    was_kept: false,
                    ..
                })
            ));
        }
        lead(&flights).fail();
    }

    #[test]
    fn the_next_that_still_waits_leads_when_the_first_leaves() {
        let flights = Arc::default();
        let leading = lead(&flights);
        let (left, mut second, mut third) = (follow(&flights), follow(&flights), follow(&flights));
        drop(left);
        drop(leading);
        let Ok(Landing::Lead(leading)) = second.try_recv() else {
            panic!("the second does not lead");
        };
        assert!(third.try_recv().is_err());
        // One that leaves with the lead in its hands passes it on.
        drop(leading);
        let Ok(Landing::Lead(leading)) = third.try_recv() else {
            panic!("the third does not lead");
        };
        drop(leading);
        assert!(flights.0.lock().way.is_empty());
    }

    #[test]
    fn a_lead_that_was_handed_to_one_who_left_goes_on() {
        let flights = Arc::default();
        let leading = lead(&flights);
        let second = follow(&flights);
        let mut third = follow(&flights);
        drop(leading);
        // It was sent to the second, who leaves before it looks.
        drop(second);
        assert!(matches!(third.try_recv(), Ok(Landing::Lead(_))));
    }

    #[test]
    fn who_asks_alone_and_is_first_answers_all_that_wait() {
        let flights: Arc<Flights> = Arc::default();
        let slow = lead(&flights);
        let mut waiting = follow(&flights);
        flights.alone(Key::numbered(1)).land(&entry(), false);
        assert!(matches!(waiting.try_recv(), Ok(Landing::Answer { .. })));
        // The slow one has nothing to say to those who wait for the next.
        let _next = lead(&flights);
        let mut waiting = follow(&flights);
        slow.fail();
        assert!(waiting.try_recv().is_err());
        drop(flights.alone(Key::numbered(1)));
        assert!(waiting.try_recv().is_err());
    }

    #[test]
    fn no_more_wait_than_may() {
        let flights: Arc<Flights> = Arc::default();
        let leading = lead(&flights);
        let first = flights.join(Key::numbered(1), 1);
        assert!(matches!(first, Place::Follow(_)));
        assert!(matches!(flights.join(Key::numbered(1), 1), Place::Full));
        drop(first);
        assert!(matches!(
            flights.join(Key::numbered(1), 1),
            Place::Follow(_)
        ));
        leading.fail();
    }
}
