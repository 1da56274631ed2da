//! The configuration file, looked at again and again.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::{Config, ConfigError, ReloadMode};
use crate::gateway::Gateway;

/// Time between two looks at the file.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// A file that changes again within this time is still being written.
const SETTLE: Duration = Duration::from_millis(200);

type Load = Arc<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// A configuration file that is read again while the gateway runs.
pub struct ConfigFile {
    path: PathBuf,
    load: Load,
    every: Duration,
    /// As the file was when this was made.
    seen: Stamp,
    /// SIGHUP since then.
    hang_ups: Option<HangUps>,
}

impl ConfigFile {
    /// The file, and how to make a configuration of what is in it now: with the environment, and with
    /// what the command line puts above the file. To be made before the configuration of the start
    /// is read, and inside the runtime, so that no change and no SIGHUP is missed.
    pub fn new(
        path: impl Into<PathBuf>,
        load: impl Fn() -> Result<Config, ConfigError> + Send + Sync + 'static,
    ) -> Self {
        let path = path.into();
        Self {
            seen: stamp_of(&path),
            path,
            load: Arc::new(load),
            every: LOOK_INTERVAL,
            hang_ups: tokio::runtime::Handle::try_current()
                .is_ok()
                .then(HangUps::listen),
        }
    }

    /// Sets the time between two looks at the file, in place of two seconds.
    #[must_use]
    pub fn look_every(mut self, interval: Duration) -> Self {
        self.every = interval;
        self
    }
}

impl fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What tells that a file changed: when it was written, and its length.
type Stamp = Option<(Option<SystemTime>, u64)>;

fn stamp_of(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok(), metadata.len()))
}

/// Asks the system, on a thread that may wait for it.
async fn stamp(path: &Path) -> Stamp {
    let path = path.to_owned();
    let asked = tokio::task::spawn_blocking(move || stamp_of(&path));
    asked.await.ok().flatten()
}

/// Reads the file again whenever it is time to, for as long as it is driven.
pub(crate) async fn follow(gateway: Gateway, mut file: ConfigFile, mode: ReloadMode) {
    let mut hang_ups = file.hang_ups.take().unwrap_or_else(HangUps::listen);
    let mut seen = file.seen;
    loop {
        let look = async {
            match mode {
                ReloadMode::Watch => tokio::time::sleep(file.every).await,
                ReloadMode::Signal | ReloadMode::Off => std::future::pending().await,
            }
        };
        tokio::select! {
            () = hang_ups.next() => {
                tracing::info!(file = %file.path.display(), "SIGHUP: loading the configuration again");
                seen = stamp(&file.path).await;
            }
            () = look => {
                let now = stamp(&file.path).await;
                // A file that is gone may be on its way back.
                if now == seen || now.is_none() {
                    continue;
                }
                seen = settled(&file, now).await;
            }
        }
        let (gateway, load) = (gateway.clone(), Arc::clone(&file.load));
        let reloading = tokio::task::spawn_blocking(move || match load() {
            // What came of it was logged and counted.
            Ok(config) => drop(gateway.reload(config)),
            Err(error) => gateway.refuse_config(&error),
        });
        if let Err(error) = reloading.await {
            tracing::error!(%error, "the configuration could not be loaded again");
        }
    }
}

/// Waits until the file is no longer being written.
async fn settled(file: &ConfigFile, mut now: Stamp) -> Stamp {
    loop {
        tokio::time::sleep(SETTLE.min(file.every)).await;
        let again = stamp(&file.path).await;
        if again == now {
            return now;
        }
        now = again;
    }
}

/// SIGHUP, where there is such a thing; noticed from the moment this is made.
pub(crate) struct HangUps {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl HangUps {
    #[cfg(unix)]
    pub(crate) fn listen() -> Self {
        let kind = tokio::signal::unix::SignalKind::hangup();
        let signal = tokio::signal::unix::signal(kind);
        let signal = signal.inspect_err(
            |error| tracing::error!(%error, "SIGHUP will not load the configuration again"),
        );
        Self {
            signal: signal.ok(),
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn listen() -> Self {
        Self {}
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}
