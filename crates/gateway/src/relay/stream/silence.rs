//! Notices that an answer stands still. A timer per period, not per frame: it only looks whether
//! anything came since it looked last.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

pub(super) struct Silence {
    sleep: Option<Pin<Box<Sleep>>>,
    limit: Duration,
    period: Duration,
    /// How long nothing has come, in whole periods.
    silent: Duration,
    touched: bool,
}

/// What a silence calls for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The client should hear that the connection lives.
    KeepAlive,
    /// It has lasted longer than is allowed.
    TooLong(Duration),
}

impl Silence {
    pub(super) fn new(limit: Duration, keep_alive: Duration) -> Self {
        Self {
            sleep: None,
            limit,
            period: keep_alive.min(limit),
            silent: Duration::ZERO,
            touched: false,
        }
    }

    /// Something came.
    pub(super) fn touch(&mut self) {
        self.touched = true;
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        let period = self.period;
        let sleep = self.sleep.get_or_insert_with(|| {
            self.touched = false;
            Box::pin(tokio::time::sleep(period))
        });
        while sleep.as_mut().poll(cx).is_ready() {
            sleep.as_mut().reset(Instant::now() + period);
            if std::mem::take(&mut self.touched) {
                self.silent = Duration::ZERO;
                continue;
            }
            self.silent += period;
            return Poll::Ready(if self.silent >= self.limit {
                Heard::TooLong(self.limit)
            } else {
                Heard::KeepAlive
            });
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_long_silence_is_first_bridged_and_then_ended() {
        let mut silence = Silence::new(Duration::from_secs(30), Duration::from_secs(10));
        assert_eq!(poll_fn(|cx| silence.poll(cx)).await, Heard::KeepAlive);
        assert_eq!(poll_fn(|cx| silence.poll(cx)).await, Heard::KeepAlive);
        silence.touch();
        for _ in 0..2 {
            assert_eq!(poll_fn(|cx| silence.poll(cx)).await, Heard::KeepAlive);
        }
        let end = poll_fn(|cx| silence.poll(cx)).await;
        assert_eq!(end, Heard::TooLong(Duration::from_secs(30)));
    }
}
