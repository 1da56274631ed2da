//! Signals: ending on SIGTERM and Ctrl-C, and living on after SIGHUP.

use std::io;
use std::pin::Pin;

use tokio::sync::oneshot;

/// Becomes ready when the server has to begin its end.
pub(crate) type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// SIGTERM and Ctrl-C, noticed from the moment this is made.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes the signals over from the system. Make it before anybody is told that the server is
    /// there: without it a signal kills the process.
    #[cfg(unix)]
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Takes Ctrl-C over from the system.
    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "fails on other systems")]
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next signal.
    async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            // No signal will ever come.
            std::future::pending::<()>().await;
        }
    }

    /// Runs `server` until a signal comes, then lets it end what it has begun. A second signal
    /// ends that wait; `None` is returned then.
    pub(crate) async fn serve<F: Future>(
        mut self,
        server: impl FnOnce(Stop) -> F,
    ) -> Option<F::Output> {
        let (begin_end, end_begun) = oneshot::channel();
        let stop: Stop = Box::pin(async move {
            // A sender that is gone without a word means the end, too.
            let (Ok(()) | Err(_)) = end_begun.await;
        });
        let mut serving = std::pin::pin!(server(stop));
        tokio::select! {
            outcome = &mut serving => return Some(outcome),
            () = self.next() => drop(begin_end.send(())),
        }
        tokio::select! {
            outcome = &mut serving => Some(outcome),
            () = self.next() => None,
        }
    }
}

/// SIGHUP, noticed from the moment this is made: what it means for a gateway that has nothing to load
/// again. Without it the signal kills the process.
#[derive(Debug)]
pub(crate) struct HangUps {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

impl HangUps {
    /// Takes the signal over from the system.
    #[cfg(unix)]
    pub(crate) fn listen() -> io::Result<Self> {
        let kind = tokio::signal::unix::SignalKind::hangup();
        let signal = tokio::signal::unix::signal(kind)?;
        Ok(Self { signal })
    }

    /// There is no such signal.
    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "fails on other systems")]
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Says with each signal why nothing comes of it, for as long as it is driven.
    pub(crate) async fn explain(mut self, why: &'static str) {
        #[cfg(unix)]
        while self.signal.recv().await.is_some() {
            tracing::warn!("SIGHUP: nothing is loaded again, {why}");
        }
        #[cfg(not(unix))]
        {
            let _ = (&mut self, why);
        }
    }
}
