//! Waiting for a permit.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::{Lane, Permit};
use crate::demand::{Demand, Refused};
use crate::lane::{Grant, WaiterId};

/// What a waiting request is told.
pub(super) enum Turn {
    Granted(Grant),
    Refused(Refused),
}

/// Where it is told.
pub(super) struct Place {
    told: Mutex<Told>,
}

enum Told {
    Nothing(Option<Waker>),
    Turn(Turn),
    /// The turn was taken, or whoever waited has left.
    Over,
}

impl Place {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            told: Mutex::new(Told::Nothing(None)),
        })
    }

    /// Tells whoever waits. Gives the turn back if nobody does any more.
    pub(super) fn fill(&self, turn: Turn) -> Option<Turn> {
        let mut told = self.told.lock();
        let waker = match &mut *told {
            Told::Nothing(waker) => waker.take(),
            Told::Turn(_) | Told::Over => return Some(turn),
        };
        *told = Told::Turn(turn);
        drop(told);
        if let Some(waker) = waker {
            waker.wake();
        }
        None
    }

    /// Whoever waited leaves; returns a turn that came in the same moment.
    fn leave(&self) -> Option<Turn> {
        match std::mem::replace(&mut *self.told.lock(), Told::Over) {
            Told::Turn(turn) => Some(turn),
            Told::Nothing(_) | Told::Over => None,
        }
    }

    fn take(&self) -> Option<Turn> {
        let mut told = self.told.lock();
        match std::mem::replace(&mut *told, Told::Over) {
            Told::Turn(turn) => Some(turn),
            other => {
                *told = other;
                None
            }
        }
    }

    fn poll(&self, context: &Context<'_>) -> Option<Turn> {
        let mut told = self.told.lock();
        if let Told::Nothing(waker) = &mut *told {
            match waker {
                Some(waker) => waker.clone_from(context.waker()),
                None => *waker = Some(context.waker().clone()),
            }
            return None;
        }
        drop(told);
        self.take()
    }
}

/// The future of [`Lane::acquire`]: a place in line, given up when it is dropped.
#[must_use = "a place in line is given up when it is dropped"]
pub struct Wait {
    state: State,
}

enum State {
    Ready(Option<Result<Permit, Refused>>),
    Queued(Queued),
}

struct Queued {
    lane: Lane,
    id: WaiterId,
    place: Arc<Place>,
    demand: Demand,
    done: bool,
}

impl Wait {
    pub(super) fn ready(result: Result<Permit, Refused>) -> Self {
        Self {
            state: State::Ready(Some(result)),
        }
    }

    pub(super) fn queued(lane: Lane, id: WaiterId, place: Arc<Place>, demand: Demand) -> Self {
        Self {
            state: State::Queued(Queued {
                lane,
                id,
                place,
                demand,
                done: false,
            }),
        }
    }

    /// Whether the request has to wait.
    pub fn is_queued(&self) -> bool {
        matches!(self.state, State::Queued(_))
    }
}

impl Future for Wait {
    type Output = Result<Permit, Refused>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            State::Ready(result) => Poll::Ready(result.take().unwrap_or(Err(Refused::Closed))),
            State::Queued(queued) => match queued.place.poll(context) {
                None if queued.done => Poll::Ready(Err(Refused::Closed)),
                None => Poll::Pending,
                Some(turn) => {
                    queued.done = true;
                    Poll::Ready(match turn {
                        Turn::Granted(grant) => {
                            Ok(Permit::new(queued.lane.clone(), grant, &queued.demand))
                        }
                        Turn::Refused(refused) => Err(refused),
                    })
                }
            },
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let State::Ready(result) = &mut self.state
            && let Some(Ok(permit)) = result.take()
        {
            permit.give_back();
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut core = self.lane.shared.core.lock();
        core.cancel(self.id);
        if let Some(Turn::Granted(grant)) = self.place.leave() {
            core.give_back(&grant, self.lane.now());
        }
        self.lane.run(core);
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("queued", &self.is_queued())
            .finish_non_exhaustive()
    }
}
