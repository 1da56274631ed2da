//! The simulator: a faithful, deterministic, offline DashScope.
//!
//! It answers every surface that the gateway serves (native, OpenAI-compatible, Anthropic's) with
//! the framing, the checks, the error texts and the oddities of the service. What is said depends
//! on the request and a seed only; the context cache makes usage depend on what was sent before.
//! How fast it answers and what goes wrong is set by configuration, by request header or by
//! `PUT /__sim/config`. What it served stands in a journal, as the truth for tests.
//!
//! ```
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let simulator = bailian_sim::Simulator::default().spawn().await?;
//! assert!(simulator.base_url().starts_with("http://127.0.0.1:"));
//! assert!(simulator.journal().is_empty());
//! # Ok::<(), std::io::Error>(())
//! # })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Keys
//!
//! Every key that begins with `sk-` is good, unless the configuration lists keys; these begin
//! otherwise: `sk-limited-` is always throttled, `sk-arrears-` is in arrears, `sk-denied-` lacks
//! permission, `sk-expired-` is unknown.
//!
//! # Request headers
//!
//! | header | meaning |
//! |---|---|
//! | `x-sim-answer` | the exact answer text (UTF-8, or percent-encoded) |
//! | `x-sim-tokens` | the exact number of answer tokens |
//! | `x-sim-ttft-ms` | time to the first token |
//! | `x-sim-tps` | tokens per second; 0 means as fast as possible |
//! | `x-sim-chunk-tokens` | tokens per frame |
//! | `x-sim-fault` | faults, as [`faults::Fault`] writes them: `cut-after-bytes=100, delay-ms=50` |

mod answer;
mod base64;
mod body;
mod cache;
mod call;
mod checks;
pub mod config;
pub mod faults;
mod frames;
pub mod journal;
mod keys;
mod limits;
mod media;
mod rejection;
mod routes;
mod schedule;
mod server;
mod similarity;
mod simulator;
mod stored;
pub mod throttle;
mod tokens;

pub use self::config::SimConfig;
pub use self::journal::{JournalEntry, Verdict};
pub use self::server::serve;
pub use self::simulator::{RunningSimulator, Simulator};
