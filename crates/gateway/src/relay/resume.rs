//! A stream that upstream breaks goes on: elsewhere from the beginning while its client has seen
//! nothing, else with another request that has the text so far (compat.md §2.10).

use std::pin::Pin;

use super::exchange::{Answered, Exchange};
use super::shape::SoFar;
use super::{Call, answer, headers};
use crate::errors::Refusal;
use crate::record::Record;
use crate::route::Plan;
use crate::worker::Worker;

/// How often one answer goes on. Each time its whole input is billed again.
const MOST_RESUMES: u8 = 3;

/// What is needed to ask once more.
pub(super) struct Resume {
    pub(super) worker: Worker,
    pub(super) call: Box<Call>,
    pub(super) plan: Plan,
    /// The target that broke off.
    pub(super) at: usize,
    left: u8,
}

/// The rest of an answer, or why there is none.
pub(super) type Resumed = (Box<Record>, Result<Answered, Refusal>);

/// A request under way for the rest of an answer.
pub(super) type Resuming = Pin<Box<dyn Future<Output = Resumed> + Send>>;

impl Resume {
    pub(super) fn new(worker: Worker, mut call: Box<Call>, plan: Plan, at: usize) -> Self {
        call.detach();
        Self {
            worker,
            call,
            plan,
            at,
            left: MOST_RESUMES,
        }
    }

    /// As another time for the same answer.
    pub(super) fn after(mut self, other: u8) -> Self {
        self.left = other;
        self
    }

    /// How often it may still go on.
    pub(super) fn left(&self) -> u8 {
        self.left
    }

    /// Whether there is another place to ask.
    pub(super) fn has_another_target(&self) -> bool {
        self.plan.targets.len() > 1
    }

    /// Asks for the rest: of the other targets first, of the one that broke off last.
    pub(super) fn resume(
        mut self: Box<Self>,
        record: Box<Record>,
        so_far: Option<SoFar>,
    ) -> Resuming {
        let next = (self.at + 1) % self.plan.targets.len().max(1);
        self.plan.targets.rotate_left(next);
        if so_far.is_none() {
            // The one that broke off before it said anything is not asked again.
            self.plan.targets.pop();
        }
        let left = self.left.saturating_sub(1);
        Box::pin(async move {
            let exchange = Exchange::of_rest(*self, record, so_far);
            let (record, result) = exchange.rest(left).await;
            match result {
                Err(refusal) => (record, Err(refusal)),
                Ok(answered) => settle(record, answered).await,
            }
        })
    }
}

/// The rest of a stream must be a stream.
async fn settle(record: Box<Record>, answered: Answered) -> Resumed {
    let head = &answered.answer;
    if head.status().is_success() && headers::is_event_stream(head.headers()) {
        return (record, Ok(answered));
    }
    let (_, error) = answer::look_at_error(answered.answer, record.idle_limit(), None).await;
    let refusal = record.refusal_of(&error);
    (record, Err(refusal))
}
