//! How long a request would wait, and whether it may join the line.

use std::time::{Duration, Instant};

use super::LaneCore;
use super::bound::Need;
use crate::class::Class;
use crate::demand::{Demand, Refused};
use crate::limit::Measure;
use crate::time::{NEVER, Nanos, SECOND, from_f64};

/// A line that stands still for a reason without a date is looked at again after this.
const UNDATED: Nanos = 60 * SECOND;

impl<T> LaneCore<T> {
    /// How long a request like this one would wait now; zero when it could go at once.
    pub fn expected_wait(&mut self, demand: &Demand, now: Instant) -> Duration {
        let at = self.epoch.nanos(now);
        self.forecast(demand.class, &demand.tenant, at)
    }

    /// Refuses what finds no place in line, or would not wait as long as it takes.
    pub(super) fn check_room(
        &mut self,
        demand: &Demand,
        need: Need,
        at: Nanos,
    ) -> Result<(), Refused> {
        let retry_after = self.forecast(demand.class, &demand.tenant, at);
        if self.queue.len() >= self.config.max_waiting {
            self.counts.full += 1;
            return Err(Refused::LineFull { retry_after });
        }
        if self.queue.tenant_len(&demand.tenant) >= self.config.max_waiting_per_tenant {
            self.counts.full += 1;
            return Err(Refused::TenantLineFull { retry_after });
        }
        if demand
            .patience
            .is_some_and(|patience| patience < retry_after)
        {
            self.counts.too_late += 1;
            // Nobody may wait where everybody would wait too long: what was learned must not stay
            // for want of a line.
            self.rise(at, need);
            return Err(Refused::TooLate { retry_after });
        }
        Ok(())
    }

    /// How long until a request that joined now would go.
    pub(super) fn forecast(&mut self, class: Class, tenant: &str, at: Nanos) -> Duration {
        let work = self.queue.work_ahead(class, tenant);
        let totals = self.queue.totals();
        // The line's own mix tells how many requests and tokens that much work is.
        let part = if totals.work > 0.0 {
            work / totals.work
        } else {
            0.0
        };
        let requests = totals.waiting as f64 * part;
        let tokens = totals.tokens * part;
        let answer = self.expect.seconds();
        let answer = answer.map(|seconds| from_f64(seconds * SECOND as f64));
        let running = self.running.ready_after(at, requests, answer);
        let mut after = self.health.open_at(at).max(running);
        if let Some(ramp) = &self.ramp {
            after = after.max(ramp.ready_after(at, requests));
        }
        for bound in &mut self.bounds {
            let ahead = match bound.limit.measure {
                Measure::Tokens => tokens,
                _ => requests,
            };
            after = after.max(bound.ready_after(at, ahead));
        }
        Duration::from_nanos(if after == NEVER { UNDATED } else { after - at })
    }
}
