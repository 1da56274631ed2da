//! `[pacing]` and `[[accounts.limits]]` of the configuration file.

use std::time::Duration;

use bailian_quota::{LaneConfig, Limit, Measure};
use serde::Deserialize;

use super::{LaneRule, PacingConfig, Problem};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the names that the file has")]
pub(super) struct PacingFile {
    max_wait: Option<String>,
    max_waiting: Option<usize>,
    max_waiting_per_tenant: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LaneFile {
    model: String,
    #[serde(default)]
    requests: Vec<String>,
    #[serde(default)]
    tokens: Vec<String>,
    running: Option<u64>,
    ramp: Option<bool>,
    exact: Option<bool>,
    reserve_tokens: Option<bool>,
}

impl PacingFile {
    pub(super) fn resolve(&self, problems: &mut Vec<Problem>) -> PacingConfig {
        let default = PacingConfig::default();
        let max_wait = match &self.max_wait {
            None => default.max_wait,
            Some(text) => humantime::parse_duration(text).unwrap_or_else(|_| {
                let problem = format!("`{text}` is not a duration such as \"25s\"");
                problems.push(Problem::new("pacing.max_wait", problem));
                default.max_wait
            }),
        };
        PacingConfig {
            max_wait: max_wait.min(Duration::from_hours(1)),
            max_waiting: self.max_waiting.unwrap_or(default.max_waiting),
            max_waiting_per_tenant: self
                .max_waiting_per_tenant
                .unwrap_or(default.max_waiting_per_tenant),
        }
    }
}

/// Reads every entry and collects every problem.
pub(super) fn resolve_limits(entries: &[LaneFile], problems: &mut Vec<Problem>) -> Vec<LaneRule> {
    let mut rules = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let place = format!("accounts[0].limits[{index}]");
        let mut limits = Vec::new();
        for (measure, texts) in [
            (Measure::Requests, &entry.requests),
            (Measure::Tokens, &entry.tokens),
        ] {
            for text in texts {
                match Limit::parse(measure, text) {
                    Ok(limit) => limits.push(limit),
                    Err(error) => {
                        let place = format!("{place}.{}", measure.as_str());
                        problems.push(Problem::new(place, error.to_string()));
                    }
                }
            }
        }
        match entry.running {
            Some(0) => problems.push(Problem::new(
                format!("{place}.running"),
                "is 0, which admits nothing",
            )),
            Some(running) => limits.push(Limit::running(running)),
            None => {}
        }
        if entry.exact == Some(true) {
            limits = limits.into_iter().map(Limit::exactly).collect();
        }
        let mut lane = LaneConfig::new(limits);
        if entry.ramp == Some(false) {
            lane.ramp = None;
        }
        lane.reserve_tokens = entry.reserve_tokens.unwrap_or(false);
        rules.push(LaneRule {
            model: entry.model.clone(),
            lane,
        });
    }
    rules
}
