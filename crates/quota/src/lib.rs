//! Who may send what, when: the pacing rules of the `bailian` client and gateway as a pure core.
//!
//! The rules are pure: every call takes `now` as an argument and answers "yes" or "not before this
//! instant", so they can be tested exactly and driven by any runtime. [`Pacer`] is the driver
//! inside one process.
//!
//! * [`LaneCore`] decides for one lane what may be sent, and who is next in its line.
//! * [`RetryBudget`] keeps an outage from multiplying traffic: retries cost, successes and time refill.
//! * [`RequestLimiter`] hands out send times under a limit of requests per minute and per day,
//!   in the order in which they were asked for.
#![deny(missing_docs, rustdoc::broken_intra_doc_links, rustdoc::bare_urls)]

mod budget;
mod class;
mod clock;
mod demand;
mod lane;
mod limit;
mod limiter;
mod pacer;
pub mod share;
mod time;
mod window;

pub use budget::{BudgetExhausted, RetryBudget, RetryBudgetLimits, RetryCost};
pub use class::Class;
pub use clock::{Clock, SystemClock};
pub use demand::{Demand, Refused, Usage};
pub use lane::{
    Admission, Event, Grant, LaneConfig, LaneCore, LaneSnapshot, LimitSnapshot, RampProfile, Stop,
    TenantSnapshot, Throttle, WaiterId,
};
pub use limit::{Layer, Limit, LimitError, Measure, Source};
pub use limiter::{NotUntil, RequestLimiter, RequestLimits, Slot};
pub use pacer::{Lane, Pacer, Permit, Wait};
pub use window::SlidingWindow;
