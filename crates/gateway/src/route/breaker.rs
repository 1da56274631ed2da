//! A circuit breaker: a target that fails again and again is left alone for a while.
//!
//! Only faults of the target count: a caller's own mistake, or a limit that it used up, says
//! nothing of the target's health.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Faults in a row that open it.
const FAULTS_TO_OPEN: u32 = 5;
/// How long it stays open first; each probe that fails doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A probe of which nothing is heard for so long does not keep others out.
const PROBE_LIMIT: Duration = Duration::from_secs(30);

/// Whether a target may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is healthy.
    Closed,
    /// It failed, and this request finds out whether it still does.
    Probe,
    /// It is left alone.
    Open,
}

/// The state of one target. Knows no clock: every call brings the time.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    faults: u32,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    until: Instant,
    pause: Duration,
    probe_since: Option<Instant>,
}

impl Open {
    fn keeps_out(self, now: Instant) -> bool {
        let is_probed = self
            .probe_since
            .is_some_and(|since| now.saturating_duration_since(since) < PROBE_LIMIT);
        now < self.until || is_probed
    }
}

impl Breaker {
    /// Asks for leave to try; a probe that is granted must be followed by what became of it.
    pub(crate) fn admit(&self, now: Instant) -> Admission {
        let mut state = self.state.lock();
        let Some(open) = &mut state.open else {
            return Admission::Closed;
        };
        if open.keeps_out(now) {
            return Admission::Open;
        }
        open.probe_since = Some(now);
        Admission::Probe
    }

    /// Whether others should be tried before it. Grants nothing.
    pub(crate) fn is_left_alone(&self, now: Instant) -> bool {
        self.state
            .lock()
            .open
            .is_some_and(|open| open.keeps_out(now))
    }

    /// The target answered, if only with a refusal.
    pub(crate) fn succeeded(&self) {
        let mut state = self.state.lock();
        if state.faults > 0 || state.open.is_some() {
            *state = State::default();
        }
    }

    /// The target failed. Says whether that opened the breaker.
    pub(crate) fn failed(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        state.faults = state.faults.saturating_add(1);
        let was_open = state.open;
        let pause = match was_open {
            Some(open) if open.probe_since.is_some() => (open.pause * 2).min(LONGEST_PAUSE),
            None if state.faults >= FAULTS_TO_OPEN => FIRST_PAUSE,
            // What was sent before it opened changes nothing any more.
            _ => return false,
        };
        state.open = Some(Open {
            until: now + pause,
            pause,
            probe_since: None,
        });
        was_open.is_none()
    }

    /// Whether it is open now, for those who look.
    pub(crate) fn is_open(&self) -> bool {
        self.state.lock().open.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(now: Instant) -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..FAULTS_TO_OPEN {
            assert_eq!(breaker.admit(now), Admission::Closed);
            breaker.failed(now);
        }
        breaker
    }

    #[test]
    fn faults_in_a_row_open_it_and_one_answer_between_does_not() {
        let now = Instant::now();
        let breaker = Breaker::default();
        for _ in 1..FAULTS_TO_OPEN {
            assert!(!breaker.failed(now));
        }
        breaker.succeeded();
        for _ in 1..FAULTS_TO_OPEN {
            assert!(!breaker.failed(now));
        }
        assert!(breaker.failed(now));
        assert_eq!(breaker.admit(now), Admission::Open);
    }

    #[test]
    fn one_probe_at_a_time_decides_whether_it_closes() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + FIRST_PAUSE;
        assert_eq!(breaker.admit(later), Admission::Probe);
        assert_eq!(breaker.admit(later), Admission::Open);
        breaker.succeeded();
        assert_eq!(breaker.admit(later), Admission::Closed);
        assert!(!breaker.is_open());
    }

    #[test]
    fn each_failed_probe_doubles_the_pause_up_to_a_minute() {
        let mut now = Instant::now();
        let breaker = opened(now);
        for pause in [5, 10, 20, 40, 60, 60] {
            assert_eq!(
                breaker.admit(now + Duration::from_millis(pause * 1000 - 1)),
                Admission::Open
            );
            now += Duration::from_secs(pause);
            assert_eq!(breaker.admit(now), Admission::Probe);
            breaker.failed(now);
        }
    }

    #[test]
    fn a_probe_that_nobody_hears_of_again_is_replaced() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + FIRST_PAUSE;
        assert_eq!(breaker.admit(later), Admission::Probe);
        assert_eq!(breaker.admit(later + PROBE_LIMIT), Admission::Probe);
    }
}
