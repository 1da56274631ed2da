//! Asynchronous tasks: how many may be submitted in a period, and how many run at once.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::window::{Measure, Window, WindowRule};

/// What becomes of a task beyond those that may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OverLimit {
    /// It waits, as `PENDING`.
    #[default]
    Pending,
    /// It is refused.
    Reject,
}

/// The state of a submitted task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskStart {
    /// It runs.
    Running,
    /// It waits until another one ends.
    Pending,
}

/// A task or a question that met a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskRefused;

/// The tasks of one account and model; pure, every call takes the time.
#[derive(Clone, Debug)]
pub struct TaskCount {
    submits: Option<Window>,
    most_running: u64,
    over_limit: OverLimit,
    running: u64,
    pending: VecDeque<u64>,
    next: u64,
}

impl TaskCount {
    /// So many submissions in a period, and so many tasks at once.
    pub fn new(submits: Option<(u64, Duration)>, most_running: u64, over_limit: OverLimit) -> Self {
        let rule =
            submits.map(|(amount, period)| WindowRule::new(Measure::Requests, amount, period));
        Self {
            submits: rule.map(Window::new),
            most_running,
            over_limit,
            running: 0,
            pending: VecDeque::new(),
            next: 0,
        }
    }

    /// Submits a task; its number and whether it runs already.
    ///
    /// # Errors
    /// [`TaskRefused`] above the submit rate, or above the running tasks where those reject.
    pub fn submit(&mut self, now: Duration) -> Result<(u64, TaskStart), TaskRefused> {
        if let Some(window) = &mut self.submits
            && window.used(now) >= window.rule().amount
        {
            window.refuse();
            return Err(TaskRefused);
        }
        let is_full = self.running >= self.most_running;
        if is_full && self.over_limit == OverLimit::Reject {
            return Err(TaskRefused);
        }
        if let Some(window) = &mut self.submits {
            window.add(now, 1);
        }
        self.next += 1;
        if is_full {
            self.pending.push_back(self.next);
            return Ok((self.next, TaskStart::Pending));
        }
        self.running += 1;
        Ok((self.next, TaskStart::Running))
    }

    /// A running task has ended; the number of the one that runs in its place.
    pub fn finish(&mut self) -> Option<u64> {
        let next = self.pending.pop_front();
        if next.is_none() {
            self.running = self.running.saturating_sub(1);
        }
        next
    }

    /// Tasks that run.
    pub fn running(&self) -> u64 {
        self.running
    }
}

/// Questions after tasks: 20 per second and account.
#[derive(Clone, Debug)]
pub struct TaskQueries(Window);

impl Default for TaskQueries {
    fn default() -> Self {
        let rule = WindowRule::new(Measure::Requests, 20, Duration::from_secs(1));
        Self(Window::new(rule))
    }
}

impl TaskQueries {
    /// Asks once.
    ///
    /// # Errors
    /// [`TaskRefused`] above the rate.
    pub fn ask(&mut self, now: Duration) -> Result<(), TaskRefused> {
        if self.0.used(now) >= self.0.rule().amount {
            return Err(TaskRefused);
        }
        self.0.add(now, 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn tasks_beyond_those_that_run_wait_or_are_refused() {
        let mut waiting = TaskCount::new(None, 1, OverLimit::Pending);
        assert_eq!(waiting.submit(SECOND), Ok((1, TaskStart::Running)));
        assert_eq!(waiting.submit(SECOND), Ok((2, TaskStart::Pending)));
        assert_eq!(waiting.finish(), Some(2));
        assert_eq!((waiting.running(), waiting.finish()), (1, None));
        let mut strict = TaskCount::new(None, 1, OverLimit::Reject);
        strict.submit(SECOND).unwrap();
        assert_eq!(strict.submit(SECOND), Err(TaskRefused));
        strict.finish();
        assert!(strict.submit(SECOND).is_ok());
    }

    #[test]
    fn submissions_and_questions_have_rates() {
        let mut tasks = TaskCount::new(Some((2, SECOND)), 9, OverLimit::Pending);
        let half = SECOND / 2;
        assert!(tasks.submit(half).is_ok() && tasks.submit(half).is_ok());
        assert_eq!(tasks.submit(half), Err(TaskRefused));
        assert!(tasks.submit(SECOND).is_ok());
        let mut queries = TaskQueries::default();
        assert!((0..20).all(|_| queries.ask(half).is_ok()));
        assert_eq!(queries.ask(half), Err(TaskRefused));
        assert!(queries.ask(SECOND).is_ok());
    }
}
