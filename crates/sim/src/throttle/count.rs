//! What one account uses of one model, and what it may: pure, every call takes the time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::burst::{Burst, BurstRule};
use super::window::{Measure, Window, WindowReport, WindowRule};

/// A limit that a request can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Check {
    /// A rate that rises too quickly.
    Burst,
    /// Requests in a period.
    Requests,
    /// Tokens in a period.
    Tokens,
    /// Requests that run at the same time.
    Concurrency,
}

impl Check {
    /// The order in which limits are looked at; which one the service has is not known.
    pub const ORDER: [Self; 4] = [Self::Burst, Self::Requests, Self::Tokens, Self::Concurrency];

    /// The service's native code for it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Burst => "Throttling.BurstRate",
            Self::Requests => "Throttling.RateQuota",
            Self::Tokens => "Throttling.AllocationQuota",
            Self::Concurrency => "Throttling.Concurrency",
        }
    }
}

/// All limits of one count.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rule {
    /// Requests and tokens.
    pub windows: Vec<WindowRule>,
    /// When a rise is sudden; `None` for never.
    pub burst: Option<BurstRule>,
    /// Requests that may run at the same time.
    pub concurrency: Option<u64>,
    /// Charge input and the most output when a request begins, and refuse what does not fit.
    pub reserve_tokens: bool,
    /// Tokens that may be used beyond the limits, all in all, while the service has room.
    pub spare_tokens: u64,
    /// Which limit is looked at first.
    pub order: Vec<Check>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ask {
    /// Input tokens.
    pub input_tokens: u64,
    /// The most output that the request allows.
    pub max_output_tokens: u64,
}

/// A limit that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Which one.
    pub check: Check,
    /// Its period, for those that have one.
    pub period: Option<Duration>,
}

/// An admitted request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    at: Duration,
    /// Charged for output that did not come yet.
    reserved: u64,
}

/// The counts of one account and model.
#[derive(Clone, Debug)]
pub struct Count {
    rule: Rule,
    windows: Vec<Window>,
    burst: Burst,
    running: u64,
    most_running: u64,
    spare: u64,
    admitted: u64,
    refused: [u64; Check::ORDER.len()],
}

/// What became of a count's limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CountReport {
    /// Requests that were let in.
    pub admitted: u64,
    /// Requests that met a limit, by the limit.
    pub refused: std::collections::BTreeMap<String, u64>,
    /// Requests that run.
    pub running: u64,
    /// The most that ever ran.
    pub most_running: u64,
    /// How many may run.
    pub concurrency: Option<u64>,
    /// Requests and tokens.
    pub windows: Vec<WindowReport>,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            windows: Vec::new(),
            burst: None,
            concurrency: None,
            reserve_tokens: false,
            spare_tokens: 0,
            order: Check::ORDER.to_vec(),
        }
    }
}

impl Ask {
    /// A request of so many input tokens that may answer with so many.
    pub fn new(input_tokens: u64, max_output_tokens: u64) -> Self {
        Self {
            input_tokens,
            max_output_tokens,
        }
    }
}

impl Count {
    /// A count in which nothing was used.
    pub fn new(rule: Rule) -> Self {
        Self {
            windows: rule.windows.iter().copied().map(Window::new).collect(),
            burst: Burst::default(),
            running: 0,
            most_running: 0,
            spare: rule.spare_tokens,
            admitted: 0,
            refused: [0; Check::ORDER.len()],
            rule,
        }
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// The first limit that it meets. A refused request counts nowhere.
    pub fn admit(&mut self, now: Duration, ask: Ask) -> Result<Ticket, Refusal> {
        self.look(now, ask)?;
        Ok(self.enter(now, ask))
    }

    /// Looks whether a request meets a limit.
    pub(super) fn look(&mut self, now: Duration, ask: Ask) -> Result<(), Refusal> {
        for place in 0..self.rule.order.len() {
            let check = self.rule.order[place];
            if let Err(period) = self.passes(check, now, ask) {
                let place = Check::ORDER.iter().position(|known| *known == check);
                if let Some(count) = place.and_then(|place| self.refused.get_mut(place)) {
                    *count += 1;
                }
                return Err(Refusal { check, period });
            }
        }
        Ok(())
    }

    fn passes(&mut self, check: Check, now: Duration, ask: Ask) -> Result<(), Option<Duration>> {
        match check {
            Check::Burst => {
                let Some(rule) = self.rule.burst else {
                    return Ok(());
                };
                // Below one per second nothing is sudden.
                let per_second = self.requests_per_second();
                let may_be = per_second.is_some_and(|rate| rate >= 1.0);
                let rate = per_second.unwrap_or(0.0);
                if may_be && self.burst.is_sudden(&rule, now, rate) {
                    return Err(None);
                }
                Ok(())
            }
            Check::Requests => self.fits(Measure::Requests, now, 1),
            Check::Tokens => {
                let tokens = if self.rule.reserve_tokens {
                    ask.input_tokens.saturating_add(ask.max_output_tokens)
                } else {
                    // One large request may overshoot: what it will cost is not known yet.
                    1
                };
                match self.fits(Measure::Tokens, now, tokens) {
                    Err(_) if self.spare > 0 => Ok(()),
                    fits => fits,
                }
            }
            Check::Concurrency => match self.rule.concurrency {
                Some(most) if self.running >= most => Err(None),
                _ => Ok(()),
            },
        }
    }

    fn fits(
        &mut self,
        measure: Measure,
        now: Duration,
        amount: u64,
    ) -> Result<(), Option<Duration>> {
        for window in &mut self.windows {
            let rule = *window.rule();
            if rule.measure == measure && window.used(now).saturating_add(amount) > rule.amount {
                window.refuse();
                return Err(Some(rule.period));
            }
        }
        Ok(())
    }

    fn requests_per_second(&self) -> Option<f64> {
        let requests = self
            .rule
            .windows
            .iter()
            .filter(|rule| rule.measure == Measure::Requests);
        requests
            .map(|rule| rule.amount as f64 / rule.period.as_secs_f64())
            .reduce(f64::min)
    }

    /// Counts a request that was looked at.
    pub(super) fn enter(&mut self, now: Duration, ask: Ask) -> Ticket {
        let reserved = if self.rule.reserve_tokens {
            ask.max_output_tokens
        } else {
            0
        };
        self.add(Measure::Requests, now, 1);
        self.add_tokens(now, ask.input_tokens.saturating_add(reserved));
        self.burst.add(now);
        self.running += 1;
        self.most_running = self.most_running.max(self.running);
        self.admitted += 1;
        Ticket { at: now, reserved }
    }

    /// Counts output where it is made.
    pub fn charge(&mut self, ticket: &mut Ticket, now: Duration, tokens: u64) {
        let covered = tokens.min(ticket.reserved);
        ticket.reserved -= covered;
        self.add_tokens(now, tokens - covered);
    }

    /// The request has ended. What was reserved and not used is given back.
    pub fn finish(&mut self, ticket: Ticket, now: Duration) {
        self.running = self.running.saturating_sub(1);
        if ticket.reserved > 0 {
            for window in &mut self.windows {
                if window.rule().measure == Measure::Tokens {
                    window.take_back(now, ticket.at, ticket.reserved);
                }
            }
        }
    }

    /// What became of it until `now`.
    pub fn report(&mut self, now: Duration) -> CountReport {
        let refused = Check::ORDER.iter().zip(self.refused);
        CountReport {
            admitted: self.admitted,
            refused: refused
                .filter(|(_, count)| *count > 0)
                .map(|(check, count)| (check.code().to_owned(), count))
                .collect(),
            running: self.running,
            most_running: self.most_running,
            concurrency: self.rule.concurrency,
            windows: self
                .windows
                .iter_mut()
                .map(|window| window.report(now))
                .collect(),
        }
    }

    fn add_tokens(&mut self, now: Duration, tokens: u64) {
        let over = self
            .windows
            .iter_mut()
            .filter(|window| window.rule().measure == Measure::Tokens)
            .map(|window| {
                window
                    .used(now)
                    .saturating_add(tokens)
                    .saturating_sub(window.rule().amount)
            })
            .max();
        self.spare = self.spare.saturating_sub(over.unwrap_or(0).min(tokens));
        self.add(Measure::Tokens, now, tokens);
    }

    fn add(&mut self, measure: Measure, now: Duration, amount: u64) {
        if amount == 0 {
            return;
        }
        for window in &mut self.windows {
            if window.rule().measure == measure {
                window.add(now, amount);
            }
        }
    }
}
