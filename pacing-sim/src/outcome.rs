//! What came out, by the service's own count.

use std::time::Duration;

use bailian_quota::Class;
use bailian_sim::throttle::{CountReport, Measure, WindowReport};

use crate::fleet::Scenario;
use crate::traffic::Tenant;

/// Figures are kept for each of these.
pub(crate) const BUCKET: Duration = Duration::from_mins(1);
/// Forecasts of shorter waits are not judged: there the network is as long.
const LEAST_FORECAST: f64 = 2.0;

/// What came out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// Requests that were made.
    pub offered: u64,
    /// Requests that the service took.
    pub admitted: u64,
    /// Requests that the gateways refused before they were sent.
    pub refused: u64,
    /// Requests that the service refused.
    pub throttled: u64,
    /// By class.
    pub classes: Vec<ClassOutcome>,
    /// The service's limits.
    pub windows: Vec<WindowReport>,
    /// Per minute.
    pub minutes: Vec<Minute>,
    /// How far forecasts of waits were off, as parts of them, smallest first.
    pub forecast_errors: Vec<f64>,
    tenants: Vec<Share>,
}

/// What became of a class.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClassOutcome {
    /// Which one.
    pub class: Class,
    /// Seconds in line of requests that were sent, shortest first.
    pub waits: Vec<f32>,
}

/// One minute.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Minute {
    /// Requests that were made.
    pub offered: u64,
    /// Requests that the service took.
    pub admitted: u64,
    /// Requests that the gateways refused.
    pub refused: u64,
    /// Requests that the service refused.
    pub throttled: u64,
    /// Seconds in line, by class.
    pub waits: [Vec<f32>; 3],
}

/// What a tenant asked for and got.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    class: usize,
    offered: [f64; 2],
    got: [f64; 2],
}

/// Takes notes while a scenario runs.
pub(crate) struct Recorder {
    outcome: Outcome,
    /// What came before is not counted for fairness.
    warm_up: u64,
}

impl Recorder {
    pub(crate) fn new(scenario: &Scenario, tenants: &[Tenant]) -> Self {
        let classes = Class::ALL.into_iter().map(|class| ClassOutcome {
            class,
            waits: Vec::new(),
        });
        let shares = tenants.iter().map(|tenant| Share {
            class: place_of(tenant.class),
            ..Share::default()
        });
        Self {
            outcome: Outcome {
                offered: 0,
                admitted: 0,
                refused: 0,
                throttled: 0,
                classes: classes.collect(),
                windows: Vec::new(),
                minutes: Vec::new(),
                forecast_errors: Vec::new(),
                tenants: shares.collect(),
            },
            warm_up: scenario.duration.as_secs() / 10 * 1_000_000_000,
        }
    }

    fn minute(&mut self, now: u64) -> &mut Minute {
        let place = usize::try_from(u128::from(now) / BUCKET.as_nanos()).unwrap_or(0);
        let minutes = &mut self.outcome.minutes;
        if minutes.len() <= place {
            minutes.resize_with(place + 1, Minute::default);
        }
        &mut minutes[place]
    }

    pub(crate) fn offered(&mut self, tenant: usize, tokens: u64, now: u64) {
        self.outcome.offered += 1;
        self.minute(now).offered += 1;
        if now >= self.warm_up {
            let share = &mut self.outcome.tenants[tenant];
            share.offered[0] += 1.0;
            share.offered[1] += tokens as f64;
        }
    }

    pub(crate) fn refused(&mut self, now: u64) {
        self.outcome.refused += 1;
        self.minute(now).refused += 1;
    }

    pub(crate) fn sent(&mut self, tenant: usize, waited: Duration, forecast: Duration, now: u64) {
        let class = self.outcome.tenants[tenant].class;
        let (seconds, thought) = (waited.as_secs_f32(), forecast.as_secs_f64());
        self.outcome.classes[class].waits.push(seconds);
        self.minute(now).waits[class].push(seconds);
        if thought >= LEAST_FORECAST && now >= self.warm_up {
            let error = (thought - f64::from(seconds)).abs() / thought;
            self.outcome.forecast_errors.push(error);
        }
    }

    pub(crate) fn admitted(&mut self, tenant: usize, tokens: u64, now: u64) {
        self.outcome.admitted += 1;
        self.minute(now).admitted += 1;
        if now >= self.warm_up {
            let share = &mut self.outcome.tenants[tenant];
            share.got[0] += 1.0;
            share.got[1] += tokens as f64;
        }
    }

    pub(crate) fn throttled(&mut self, now: u64) {
        self.outcome.throttled += 1;
        self.minute(now).throttled += 1;
    }

    pub(crate) fn finish(self, report: CountReport) -> Outcome {
        let mut outcome = self.outcome;
        outcome.windows = report.windows;
        for class in &mut outcome.classes {
            class.waits.sort_by(f32::total_cmp);
        }
        outcome.forecast_errors.sort_by(f64::total_cmp);
        outcome
    }
}

impl Outcome {
    /// The part of a limit that was used between two moments, over the whole periods in between.
    pub fn used(&self, window: usize, from: Duration, to: Duration) -> f64 {
        let Some(window) = self.windows.get(window) else {
            return 0.0;
        };
        let period = window.rule.period.as_secs_f64();
        // The first whole period has the number 1.
        let first = (from.as_secs_f64() / period).ceil() + 1.0;
        let last = (to.as_secs_f64() / period).floor();
        let periods = window.periods.iter();
        let used: u64 = periods
            .filter(|(number, _)| (first..=last).contains(&(*number as f64)))
            .map(|(_, used)| used)
            .sum();
        used as f64 / (window.rule.amount as f64 * (last - first + 1.0).max(1.0))
    }

    /// The limit that was used the most.
    pub fn binding(&self, from: Duration, to: Duration) -> usize {
        let used = |window: &usize| self.used(*window, from, to);
        (0..self.windows.len())
            .max_by(|a, b| used(a).total_cmp(&used(b)))
            .unwrap_or(0)
    }

    /// By how much the fullest period of any window exceeded its limit.
    pub fn overshoot(&self) -> u64 {
        let over = |window: &WindowReport| window.peak.saturating_sub(window.rule.amount);
        let requests = self
            .windows
            .iter()
            .filter(|window| window.rule.measure == Measure::Requests);
        requests.map(over).max().unwrap_or(0)
    }

    /// Requests that the service refused after a moment.
    pub fn throttled_after(&self, from: Duration) -> u64 {
        let first = usize::try_from(from.as_secs() / BUCKET.as_secs()).unwrap_or(0);
        let minutes = self.minutes.iter().skip(first);
        minutes.map(|minute| minute.throttled).sum()
    }

    /// Jain's index inside a class, of what tenants got beside what max-min fairness gives them, in
    /// requests or in tokens. 1 is fair.
    pub fn fairness(&self, class: Class, measure: Measure) -> f64 {
        let unit = usize::from(measure == Measure::Tokens);
        let class = place_of(class);
        let own: Vec<(f64, f64)> = self
            .tenants
            .iter()
            .filter(|share| share.class == class && share.offered[unit] > 0.0)
            .map(|share| (share.offered[unit], share.got[unit]))
            .collect();
        let total: f64 = own.iter().map(|(_, got)| got).sum();
        let mut offered: Vec<f64> = own.iter().map(|(offered, _)| *offered).collect();
        offered.sort_by(f64::total_cmp);
        // The level up to which everybody gets what it asks for.
        let mut rest = total;
        let mut level = f64::INFINITY;
        for (place, asked) in offered.iter().enumerate() {
            let each = rest / (offered.len() - place) as f64;
            if *asked >= each {
                level = each;
                break;
            }
            rest -= asked;
        }
        let ratios: Vec<f64> = own
            .iter()
            .map(|(offered, got)| got / offered.min(level).max(1e-9))
            .collect();
        let sum: f64 = ratios.iter().sum();
        let squares: f64 = ratios.iter().map(|ratio| ratio * ratio).sum();
        if squares > 0.0 {
            sum * sum / (ratios.len() as f64 * squares)
        } else {
            1.0
        }
    }

    /// A part of the forecasts was off by no more than this part of themselves.
    pub fn forecast_error(&self, part: f64) -> f64 {
        at_part(&self.forecast_errors, part).unwrap_or(0.0)
    }

    /// Prints a table.
    pub fn print(&self, from: Duration, to: Duration) {
        println!(
            "offered {}, admitted {}, refused early {}, throttled {}",
            self.offered, self.admitted, self.refused, self.throttled
        );
        for (place, window) in self.windows.iter().enumerate() {
            let rule = window.rule;
            println!(
                "  {:?} {} per {} s: {:.1} % used, peak {}, met {} times",
                rule.measure,
                rule.amount,
                rule.period.as_secs_f64(),
                100.0 * self.used(place, from, to),
                window.peak,
                window.refused
            );
        }
        let binding = self.windows.get(self.binding(from, to));
        let measure = binding.map_or(Measure::Requests, |window| window.rule.measure);
        for class in &self.classes {
            println!(
                "  {:<6} {:>9} sent, waits p50 {:6.2} s, p99 {:6.2} s, most {:6.2} s, Jain {:.3}",
                class.class.as_str(),
                class.waits.len(),
                class.wait(0.5),
                class.wait(0.99),
                class.wait(1.0),
                self.fairness(class.class, measure)
            );
        }
        println!(
            "  forecasts of waits: half within {:.0} %, nine of ten within {:.0} %",
            100.0 * self.forecast_error(0.5),
            100.0 * self.forecast_error(0.9)
        );
    }
}

impl ClassOutcome {
    /// A part of the requests waited no longer than this, in seconds.
    pub fn wait(&self, part: f64) -> f32 {
        at_part(&self.waits, part).unwrap_or(0.0)
    }
}

impl Minute {
    /// As [`ClassOutcome::wait`], of one class in this minute.
    pub(crate) fn wait(&self, class: usize, part: f64) -> Option<f32> {
        let mut waits = self.waits[class].clone();
        waits.sort_by(f32::total_cmp);
        at_part(&waits, part)
    }
}

fn at_part<T: Copy>(sorted: &[T], part: f64) -> Option<T> {
    let last = sorted.len().checked_sub(1)?;
    let place = crate::traffic::whole((last as f64 * part).round());
    sorted.get(usize::try_from(place).unwrap_or(last)).copied()
}

fn place_of(class: Class) -> usize {
    Class::ALL
        .into_iter()
        .position(|known| known == class)
        .unwrap_or(0)
}
