//! The gateway: one address for every application that calls Model Studio.
//!
//! Clients of the OpenAI-compatible and of the native protocol change their base URL and their key.
//! The gateway knows them by virtual keys, puts the account's key in place, and passes bytes on:
//! of a request it reads only what policy needs, a stream goes through frame by frame as it
//! arrives, with its usage read on the way. A client that leaves ends its upstream request at once.
//!
//! As a product it runs on one single-threaded runtime per core ([`Server`]). As a part of another
//! service its router is mounted like any other:
//!
//! ```
//! use bailian_gateway::{Config, Gateway};
//!
//! let config = Config::for_base_url(
//!     "http://127.0.0.1:9000",
//!     "sk-upstream".into(),
//!     "sk-of-our-app".into(),
//! )?;
//! let gateway = Gateway::builder(config).build()?;
//! let app: axum::Router = axum::Router::new().nest("/ai", gateway.router());
//! # drop(app);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod account;
mod accounting;
mod admin;
mod cache;
mod clock;
pub mod config;
mod content;
mod errors;
mod finish;
mod gateway;
mod keys;
mod metrics;
mod models;
mod objects;
mod pacing;
mod readiness;
mod record;
mod relay;
mod reload;
mod responses;
mod route;
mod router;
mod server;
mod state;
mod surface;
mod telemetry;
pub mod upstream;
mod usage;
mod worker;

pub use self::account::AccountError;
pub use self::accounting::DataError;
pub use self::clock::{Clock, SystemClock};
pub use self::config::{Config, ConfigError};
pub use self::gateway::{BuildError, Gateway, GatewayBuilder};
pub use self::keys::{KeyStore, StaticKeys, VirtualKey};
pub use self::reload::{ConfigFile, ReloadError, Reloaded};
pub use self::server::{Server, ServerError, TlsError};
pub use self::telemetry::TelemetryError;
