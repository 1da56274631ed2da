//! Checks a request against its model before it is sent.
//!
//! What the catalogue does not know is not checked: an unknown model passes, an unknown ability
//! passes. Sources: http-native.md §4.2 and §9, compat.md §2.

mod messages;
mod parameters;

use std::fmt;

use crate::catalog::Model;
use crate::chat::ChatRequest;

/// One thing that the service would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The parameter at fault.
    pub parameter: &'static str,
    /// What is wrong; the service's own words where it has some.
    pub problem: String,
    /// What to do instead.
    pub fix: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.parameter, self.problem, self.fix)
    }
}

/// Collects what is wrong.
#[derive(Debug, Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, parameter: &'static str, problem: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Violation {
            parameter,
            problem: problem.into(),
            fix: fix.into(),
        });
    }
}

/// Checks `request`; `stream` says how it will be sent.
///
/// # Errors
///
/// Everything that the service would refuse, not the first thing only.
pub fn validate_chat(
    request: &ChatRequest,
    model: &Model,
    stream: bool,
) -> Result<(), Vec<Violation>> {
    let mut findings = Findings::default();
    if model.is_retired() {
        let since = model.retired.as_deref().unwrap_or("an unknown day");
        findings.add(
            "model",
            format!("{} was taken away on {since}", model.id),
            "choose another model; `bailian models` lists them",
        );
    }
    let thinks = request.enable_thinking.unwrap_or(model.thinks_by_default());
    parameters::check_sampling(request, &mut findings);
    parameters::check_lengths(request, model, &mut findings);
    parameters::check_thinking(request, model, stream, &mut findings);
    parameters::check_output(request, model, thinks, &mut findings);
    messages::check_messages(request, thinks, &mut findings);
    messages::check_tools(request, model, thinks, &mut findings);
    if findings.0.is_empty() {
        Ok(())
    } else {
        Err(findings.0)
    }
}

#[cfg(test)]
mod tests;
