//! Who asks when for how much.

use std::time::Duration;

use bailian_quota::Class;

/// The load of all tenants together.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Load {
    /// How many tenants there are.
    pub tenants: usize,
    /// How many priority classes they are of, from one to three.
    pub classes: usize,
    /// Requests per second of all of them, as a mean over the day.
    pub rate: f64,
    /// Whether the day has a night and two peaks.
    pub diurnal: bool,
    /// Whether tenants are of very different size and come in bursts.
    pub bursty: bool,
    /// Medians of input and output tokens; both have heavy tails.
    pub input: f64,
    /// See `input`.
    pub output: f64,
    /// Spread of both: the standard deviation of their logarithms.
    pub spread: f64,
    /// How long a request would wait.
    pub patience: Duration,
}

/// One tenant.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) name: std::sync::Arc<str>,
    pub(crate) class: Class,
    /// Its part of the load.
    share: f64,
    /// A burst lasts until then, or silence does.
    switch_at: f64,
    active: bool,
}

/// Half of the time a bursty tenant is silent, and then asks for twice as much.
const BURST_SECONDS: f64 = 40.0;

impl Default for Load {
    fn default() -> Self {
        Self {
            tenants: 50,
            classes: 3,
            rate: 20.0,
            diurnal: false,
            bursty: false,
            input: 400.0,
            output: 200.0,
            spread: 0.8,
            patience: Duration::from_secs(30),
        }
    }
}

impl Load {
    pub(crate) fn make_tenants(&self, rng: &mut fastrand::Rng) -> Vec<Tenant> {
        let size = |rank: usize| {
            if self.bursty {
                1.0 / (rank as f64 + 10.0)
            } else {
                1.0
            }
        };
        let total: f64 = (0..self.tenants).map(size).sum();
        (0..self.tenants)
            .map(|rank| Tenant {
                name: format!("tenant-{rank}").into(),
                class: Class::ALL[rank % self.classes.clamp(1, Class::ALL.len())],
                share: size(rank) / total,
                switch_at: rng.f64() * BURST_SECONDS,
                active: rng.bool(),
            })
            .collect()
    }

    /// When a tenant asks next after `now`, in seconds.
    pub(crate) fn next_after(&self, tenant: &mut Tenant, now: f64, rng: &mut fastrand::Rng) -> f64 {
        let mut at = now;
        loop {
            let mut rate = self.rate * tenant.share * self.day_factor(at);
            if self.bursty {
                if at >= tenant.switch_at {
                    tenant.active = !tenant.active;
                    // Bursts and silences have a heavy tail.
                    let length = BURST_SECONDS * (1.0 - rng.f64()).powf(-0.7).min(50.0);
                    tenant.switch_at = at + length;
                }
                if !tenant.active {
                    at = tenant.switch_at;
                    continue;
                }
                rate *= 2.0;
            }
            return at - (1.0 - rng.f64()).ln() / rate.max(1e-9);
        }
    }

    /// From 0.3 at night to 1.7 at the peaks.
    fn day_factor(&self, seconds: f64) -> f64 {
        if !self.diurnal {
            return 1.0;
        }
        let hour = (seconds / 3600.0) % 24.0;
        let peak = |at: f64, width: f64| {
            let distance = (hour - at).abs().min(24.0 - (hour - at).abs());
            (-(distance / width).powi(2)).exp()
        };
        0.3 + 1.4 * (peak(10.5, 3.0) + peak(20.0, 3.0)).min(1.0)
    }

    /// Input and output tokens of a request.
    pub(crate) fn lengths(&self, rng: &mut fastrand::Rng) -> (u64, u64) {
        let mut draw =
            |median: f64| whole(median * (self.spread * normal(rng)).exp()).clamp(1, 60_000);
        (draw(self.input), draw(self.output))
    }
}

/// From the standard normal distribution.
pub(crate) fn normal(rng: &mut fastrand::Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "lengths and times, never negative and bounded"
)]
pub(crate) fn whole(value: f64) -> u64 {
    value as u64
}
