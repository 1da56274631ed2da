//! `bailian serve`: the gateway.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use bailian_gateway::config::{DataConfig, ReloadMode};
use bailian_gateway::{BuildError, Config, ConfigFile, Server, ServerError};
use secrecy::{ExposeSecret as _, SecretString};

use crate::data;
use crate::failure::Failure;
use crate::listen;
#[cfg(unix)]
use crate::service_manager;
use crate::settings::Settings;
use crate::shutdown::{HangUps, Signals};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The configuration file, in TOML. Without one, DASHSCOPE_API_KEY and DASHSCOPE_BASE_URL name
    /// the account and BAILIAN_API_KEY the one virtual key; `.env` is read, too. Variables such as
    /// BAILIAN__LIMITS__MAX_BODY_BYTES go before both.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen, above the configuration; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// A socket at which a successor can take over, above the configuration's `hand_over`.
    #[cfg(unix)]
    #[arg(long, value_name = "SOCKET")]
    hand_over: Option<PathBuf>,
    /// Takes over from the gateway that runs, if one does: it hands its listeners over and ends
    /// when its streams have ended. Needs `hand_over`.
    #[cfg(unix)]
    #[arg(long)]
    take_over: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = runtime()?;
    // From here on signals are noticed, also those that come while the configuration is read.
    let entered = runtime.enter();
    let signals = Signals::listen().map_err(Failure::run)?;
    let hang_ups = HangUps::listen().map_err(Failure::run)?;
    let Configuration {
        config,
        made_key,
        file,
    } = configuration(arguments)?;
    drop(entered);
    runtime.block_on(async {
        let why_not = match (&file, config.reload) {
            (None, _) => Some("as there is no configuration file; the environment takes a restart"),
            (Some(_), ReloadMode::Off) => Some("as the configuration's `reload` is off"),
            _ => None,
        };
        if let Some(why) = why_not {
            tokio::spawn(hang_ups.explain(why));
        }
        let mut server = arguments.server_or_without_data(config)?;
        if let Some(file) = file {
            server = server.follow(file);
        }
        if let Some(key) = server.gateway().take_first_key() {
            println!(
                "api key, made at this first start and shown this once: {}",
                key.expose_secret()
            );
        }
        if let Some(key) = made_key {
            // The one moment at which the key can be learned.
            println!(
                "api key, made for this run as BAILIAN_API_KEY is not set: {}",
                key.expose_secret()
            );
        }
        if server.is_encrypted() {
            listen::announce_encrypted(server.local_addr());
        } else {
            listen::announce(server.local_addr());
        }
        #[cfg(unix)]
        let server = server.when_serving(service_manager::notify);
        match signals.serve(|stop| server.run(stop)).await {
            Some(outcome) => outcome.map_err(failure),
            None => Ok(()),
        }
    })
}

impl Arguments {
    /// The server. One that nobody told where to keep its records does without, if it has to.
    fn server_or_without_data(&self, mut config: Config) -> Result<Server, Failure> {
        #[cfg(unix)]
        if self.take_over && config.hand_over.is_none() {
            let problem = "--take-over needs the socket of the gateway that runs: `hand_over` of \
                           the configuration, or --hand-over SOCKET";
            return Err(Failure::Usage(anyhow::anyhow!(problem)));
        }
        if self.config.is_some() || config.data.is_none() {
            return self.server(config).map_err(failure);
        }
        match self.server(config.clone()) {
            Err(ServerError::Build(BuildError::Data(error))) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "nothing is recorded: no ledger and no keys but the one; set BAILIAN_DATA to a \
                     folder, or to `off`"
                );
                config.data = None;
                self.server(config).map_err(failure)
            }
            other => other.map_err(failure),
        }
    }

    /// The server, with its address bound or taken over.
    #[cfg(unix)]
    fn server(&self, config: Config) -> Result<Server, ServerError> {
        if self.take_over {
            Server::take_over(config)
        } else {
            Server::bind(config)
        }
    }

    #[cfg(not(unix))]
    #[expect(clippy::unused_self, reason = "used on other systems")]
    fn server(&self, config: Config) -> Result<Server, ServerError> {
        Server::bind(config)
    }
}

/// Where the gateway's settings come from.
struct Configuration {
    config: Config,
    /// The virtual key, if one was made.
    made_key: Option<SecretString>,
    /// What is read again while the gateway runs.
    file: Option<ConfigFile>,
}

/// What the command line puts above the file.
#[derive(Clone)]
struct Above {
    listen: Option<SocketAddr>,
    hand_over: Option<PathBuf>,
}

impl Above {
    fn put(&self, config: &mut Config) {
        if let Some(address) = self.listen {
            config.listen = address;
        }
        if let Some(path) = &self.hand_over {
            config.hand_over = Some(path.clone());
        }
    }
}

fn configuration(arguments: &Arguments) -> Result<Configuration, Failure> {
    let settings = Settings::read()?;
    let above = Above {
        listen: arguments.listen,
        #[cfg(unix)]
        hand_over: arguments.hand_over.clone(),
        #[cfg(not(unix))]
        hand_over: None,
    };
    let Some(path) = &arguments.config else {
        let mut made = None;
        let made_key = || made.insert(make_key()).clone();
        let mut config = Config::from_environment(&settings, made_key).map_err(Failure::usage)?;
        if config.data.is_none() {
            config.data = data::folder(&settings).map(DataConfig::in_folder);
        }
        above.put(&mut config);
        return Ok(Configuration {
            config,
            made_key: made,
            file: None,
        });
    };
    let load = {
        let path = path.clone();
        move || {
            let mut config = Config::load(&path, &settings)?;
            above.put(&mut config);
            Ok(config)
        }
    };
    let file = ConfigFile::new(path, load.clone());
    Ok(Configuration {
        config: load().map_err(Failure::usage)?,
        made_key: None,
        file: Some(file),
    })
}

/// A virtual key that cannot be guessed: 122 random bits.
pub(crate) fn make_key() -> SecretString {
    format!("bl-{}", uuid::Uuid::new_v4().simple()).into()
}

/// The runtime that waits for signals; the gateway has runtimes of its own.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .map_err(Failure::Run)
}

/// An account or a certificate that cannot be used is a matter of the configuration; all else is
/// not.
pub(crate) fn failure(error: ServerError) -> Failure {
    match error {
        ServerError::Build(_) | ServerError::Tls(_) => Failure::usage(error),
        _ => Failure::run(error),
    }
}
