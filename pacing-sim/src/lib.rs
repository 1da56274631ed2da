//! Pacing on a virtual clock: replicas of the gateway's lanes in front of the simulator's limits.
//!
//! Both are the real ones: [`bailian_quota::LaneCore`] with its ledger of shares decides what is sent,
//! and [`bailian_sim::throttle::Count`], written apart from it, decides what is refused. Only tenants,
//! network and answers are made up here, from a seed.

#![expect(clippy::print_stdout, reason = "the report is what the program is for")]

mod fleet;
mod outcome;
mod plot;
mod traffic;

pub use fleet::{Incident, Scenario, run};
pub use outcome::{ClassOutcome, Outcome};
pub use plot::draw;
pub use traffic::Load;
