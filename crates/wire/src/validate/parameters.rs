//! Parameters and their ranges.

use super::Findings;
use crate::catalog::{Model, Thinking};
use crate::chat::{ChatRequest, ResponseFormat};

pub(super) fn check_sampling(request: &ChatRequest, findings: &mut Findings) {
    if request
        .temperature
        .is_some_and(|t| !(0.0..2.0).contains(&t))
    {
        let problem = "Temperature should be in [0.0, 2.0)";
        findings.add("temperature", problem, "choose a value from 0 to below 2");
    }
    if request.top_p.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
        let problem = "Range of top_p should be (0.0, 1.0]";
        findings.add("top_p", problem, "choose a value above 0 up to 1");
    }
    if request
        .repetition_penalty
        .is_some_and(|p| p.is_nan() || p <= 0.0)
    {
        let problem = "Repetition_penalty should be greater than 0.0";
        findings.add("repetition_penalty", problem, "1.0 means no penalty");
    }
    if request
        .presence_penalty
        .is_some_and(|p| !(-2.0..=2.0).contains(&p))
    {
        let problem = "Presence_penalty should be in [-2.0, 2.0]";
        findings.add("presence_penalty", problem, "0 means no penalty");
    }
    if request
        .seed
        .is_some_and(|seed| i64::try_from(seed).is_err())
    {
        let problem = "Range of seed should be [0, 9223372036854775807]";
        findings.add("seed", problem, "choose a smaller number");
    }
    if request.n.is_some_and(|n| !(1..=4).contains(&n)) {
        findings.add("n", "Range of n should be [1, 4]", "ask for 1 to 4 answers");
    }
    if request.top_logprobs.is_some_and(|count| count > 5) {
        let problem = "Range of top_logprobs should be [0, 5]";
        findings.add("top_logprobs", problem, "ask for at most 5 alternatives");
    }
    if request.top_logprobs.is_some_and(|count| count > 0) && request.logprobs != Some(true) {
        findings.add(
            "top_logprobs",
            "needs logprobs",
            "set logprobs to true as well",
        );
    }
}

pub(super) fn check_lengths(request: &ChatRequest, model: &Model, findings: &mut Findings) {
    let max_output = model.max_output.max(model.max_output_thinking);
    let mut check = |name: &'static str, value: Option<u64>, max: Option<u64>| {
        let Some(value) = value else { return };
        if value == 0 || max.is_some_and(|max| value > max) {
            let upper = max.map_or_else(|| "the model's maximum".to_owned(), |max| max.to_string());
            let problem = format!("Range of {name} should be [1, {upper}]");
            findings.add(name, problem, "leave it out for the model's maximum");
        }
    };
    check("max_tokens", request.max_tokens, max_output);
    // This one counts the thinking too, whose own limit is not known of every model.
    let thinking = match model.thinking {
        Thinking::None => Some(0),
        _ => model.max_thinking,
    };
    let with_thinking = max_output
        .zip(thinking)
        .map(|(output, thinking)| output.saturating_add(thinking));
    check(
        "max_completion_tokens",
        request.max_completion_tokens,
        with_thinking,
    );
}

pub(super) fn check_thinking(
    request: &ChatRequest,
    model: &Model,
    stream: bool,
    findings: &mut Findings,
) {
    match (model.thinking, request.enable_thinking) {
        (Thinking::None, Some(true)) => {
            let problem = format!("The model {} does not support enable_thinking.", model.id);
            findings.add(
                "enable_thinking",
                problem,
                "leave it out, or choose a model that thinks",
            );
        }
        (Thinking::Only, Some(false)) => {
            let problem = "The value of the enable_thinking parameter is restricted to True.";
            findings.add(
                "enable_thinking",
                problem,
                "leave it out, or choose another model",
            );
        }
        _ => {}
    }
    if let Some(budget) = request.thinking_budget
        && (budget == 0 || model.max_thinking.is_some_and(|max| budget > max))
    {
        let max = model
            .max_thinking
            .map_or_else(|| "its maximum".to_owned(), |max| max.to_string());
        let problem = format!(
            "The thinking_budget parameter must be a positive integer and not greater than {max}"
        );
        findings.add(
            "thinking_budget",
            problem,
            "leave it out for the model's maximum",
        );
    }
    if request.thinking_budget.is_some()
        && request.reasoning_effort.is_some()
        && model.features.reasoning_effort_excludes_thinking_budget == Some(true)
    {
        let problem = "cannot be set together with reasoning_effort";
        findings.add("thinking_budget", problem, "set one of the two");
    }
    let thinks = request.enable_thinking.unwrap_or(model.thinks_by_default());
    if thinks && stream && request.incremental_output == Some(false) {
        let problem = "The incremental_output parameter must be \"true\" when enable_thinking is \
                       true";
        findings.add("incremental_output", problem, "leave it out");
    }
    if thinks && request.result_format.as_deref() == Some("text") {
        let problem =
            "The result_format parameter must be \"message\" when enable_thinking is true";
        findings.add("result_format", problem, "leave it out");
    }
}

pub(super) fn check_output(
    request: &ChatRequest,
    model: &Model,
    thinks: bool,
    findings: &mut Findings,
) {
    if request.enable_search == Some(true) && model.features.search == Some(false) {
        let problem = "This model does not support enable_search.";
        findings.add(
            "enable_search",
            problem,
            "leave it out, or choose another model",
        );
    }
    match &request.response_format {
        Some(ResponseFormat::JsonObject) => {
            if model.features.json_object == Some(false) {
                let problem = format!("{} does not answer in JSON", model.id);
                findings.add("response_format", problem, "choose another model");
            }
            let says_json = request
                .messages
                .iter()
                .any(|message| message.text().to_ascii_lowercase().contains("json"));
            if !says_json {
                let problem = "'messages' must contain the word 'json' in some form, to use \
                               'response_format' of type 'json_object'.";
                findings.add("response_format", problem, "ask for JSON in a message");
            }
        }
        Some(ResponseFormat::JsonSchema { .. }) if model.features.json_schema == Some(false) => {
            let problem = format!("{} does not answer in JSON of a schema", model.id);
            findings.add(
                "response_format",
                problem,
                "use json_object, or choose another model",
            );
        }
        _ => {}
    }
    let wants_json = matches!(
        request.response_format,
        Some(ResponseFormat::JsonObject | ResponseFormat::JsonSchema { .. })
    );
    if wants_json && thinks && model.features.json_only_without_thinking == Some(true) {
        let problem = "Json mode response is not supported when enable_thinking is true";
        findings.add("response_format", problem, "set enable_thinking to false");
    }
}
