//! The client: a cheap handle on configuration, connection pool, retry budget and request limits.

mod builder;

use std::sync::Arc;

use bailian_quota::{RequestLimiter, RetryBudget};
use parking_lot::Mutex;

pub use builder::ClientBuilder;

use crate::chat::Chat;
use crate::config::Config;
#[cfg(feature = "transport-reqwest")]
use crate::error::Error;
use crate::options::RequestOptions;
use crate::pacing::Pacing;
use crate::region::Region;
use crate::transport::Transport;

/// A client of Model Studio.
///
/// Clones are cheap and share everything: connection pool, retry budget and request limits.
///
/// ```no_run
/// use bailian::{ChatRequest, Client, Message};
///
/// # async fn example() -> Result<(), bailian::Error> {
/// let client = Client::from_env()?;
/// let request = ChatRequest::new("qwen-plus", [Message::user("你好")]);
/// let answer = client.chat().create(&request).await?;
/// println!("{}", answer.text());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: Arc<RequestOptions>,
}

/// What all clones and derived clients have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) budget: RetryBudget,
    pub(crate) limiter: RequestLimiter,
    pub(crate) pacing: Pacing,
    /// The region whose published limits hold; `None` where the host is not the service's own.
    pub(crate) region: Option<Region>,
    pub(crate) random: Mutex<fastrand::Rng>,
}

// === impl Client ===

impl Client {
    /// A client configured by the environment and `~/.dashscope` (see [`config`](crate::config)).
    ///
    /// # Errors
    /// [`Error::Config`] with every problem found.
    #[cfg(feature = "transport-reqwest")]
    pub fn from_env() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// Like [`from_env`](Self::from_env), reading `.env` in the working directory too.
    ///
    /// # Errors
    /// [`Error::Config`] with every problem found.
    #[cfg(feature = "transport-reqwest")]
    pub fn from_env_with_dotenv() -> Result<Self, Error> {
        Self::builder().dotenv(true).build()
    }

    /// Begins a client with settings of its own.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A client with other defaults for its calls, sharing pool, retry budget and limits with this one.
    pub fn with_options(&self, options: &RequestOptions) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            options: Arc::new(options.over(&self.options)),
        }
    }

    /// The configuration that this client was built with.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// How this client's calls are paced.
    pub fn pacing(&self) -> &Pacing {
        &self.shared.pacing
    }

    /// Chat with text and vision models.
    pub fn chat(&self) -> Chat<'_> {
        Chat::new(self)
    }
}
