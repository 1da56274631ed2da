use serde_json::json;

use super::*;
use crate::catalog::{Catalog, Thinking};
use crate::chat::{Message, ResponseFormat, ToolCall, ToolChoice, ToolDefinition};

fn request() -> ChatRequest {
    ChatRequest::new("qwen-plus", [Message::user("你好")])
}

fn violations(request: &ChatRequest, model: &str, stream: bool) -> Vec<&'static str> {
    let model = Catalog::embedded().model(model).unwrap();
    match validate_chat(request, model, stream) {
        Ok(()) => Vec::new(),
        Err(found) => found.iter().map(|violation| violation.parameter).collect(),
    }
}

fn tool(name: &str) -> Vec<ToolDefinition> {
    vec![ToolDefinition::function(name, "d", json!({}))]
}

#[test]
fn a_plain_request_passes() {
    assert!(violations(&request(), "qwen-plus", false).is_empty());
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let request = request()
        .temperature(2.0)
        .top_p(0.0)
        .n(5u64)
        .max_tokens(0u64);
    assert_eq!(
        violations(&request, "qwen-plus", false),
        ["temperature", "top_p", "n", "max_tokens"]
    );
}

#[test]
fn edges_of_ranges_are_inside_where_the_service_says_so() {
    let inside = request()
        .temperature(0.0)
        .top_p(1.0)
        .presence_penalty(-2.0)
        .max_tokens(32_768u64)
        .n(4u64)
        .logprobs(true)
        .top_logprobs(5u64)
        .thinking_budget(81_920u64);
    assert!(violations(&inside, "qwen-plus", false).is_empty());
    let outside = request()
        .max_tokens(32_769u64)
        .thinking_budget(81_921u64)
        .top_logprobs(1u64);
    assert_eq!(
        violations(&outside, "qwen-plus", false),
        ["top_logprobs", "max_tokens", "thinking_budget"]
    );
}

#[test]
fn thinking_follows_the_model() {
    assert_eq!(
        violations(&request().enable_thinking(true), "qwen-max", false),
        ["enable_thinking"]
    );
    assert_eq!(
        violations(&request().enable_thinking(false), "qwq-plus", true),
        ["enable_thinking"]
    );
    let cumulative = request().enable_thinking(true).incremental_output(false);
    assert_eq!(
        violations(&cumulative, "qwen-plus", true),
        ["incremental_output"]
    );
}

#[test]
fn lengths_that_the_catalogue_does_not_know_are_not_checked() {
    let catalog = Catalog::embedded();
    for model in catalog
        .models()
        .filter(|model| model.max_thinking.is_none())
    {
        let Some(output) = model.max_output.max(model.max_output_thinking) else {
            let any = request()
                .max_tokens(u64::MAX)
                .max_completion_tokens(u64::MAX);
            assert!(!violations(&any, &model.id, true).contains(&"max_tokens"));
            continue;
        };
        let above = request().max_completion_tokens(output + 1);
        let refused = violations(&above, &model.id, true).contains(&"max_completion_tokens");
        assert_eq!(refused, model.thinking == Thinking::None, "{}", model.id);
    }
}

#[test]
fn a_plain_request_to_any_offered_chat_model_passes() {
    for model in Catalog::embedded().models() {
        if model.serves_chat() && !model.is_retired() {
            for stream in [true, false] {
                assert!(
                    violations(&request(), &model.id, stream).is_empty(),
                    "{}",
                    model.id
                );
            }
        }
    }
}

#[test]
fn json_mode_needs_the_word_and_no_thinking() {
    let format = ResponseFormat::JsonObject;
    assert_eq!(
        violations(
            &request().response_format(format.clone()),
            "qwen-plus",
            false
        ),
        ["response_format"]
    );
    let asked = ChatRequest::new("qwen-plus", [Message::user("Answer in JSON")]);
    let asked = asked.response_format(format);
    assert!(violations(&asked, "qwen-plus", false).is_empty());
    assert_eq!(
        violations(&asked.enable_thinking(true), "qwen-plus", true),
        ["response_format"]
    );
}

#[test]
fn tools_have_names_and_answers_have_calls() {
    for name in ["search", "with space", "", &"x".repeat(65)] {
        assert!(violations(&request().tools(tool(name)), "qwen-plus", false).contains(&"tools"));
    }
    let forced = request()
        .tools(tool("f"))
        .tool_choice(ToolChoice::function("f"));
    assert!(violations(&forced, "qwen-plus", false).is_empty());
    assert_eq!(
        violations(&forced.enable_thinking(true), "qwen-plus", true),
        ["tool_choice"]
    );
    let required = request()
        .tools(tool("f"))
        .tool_choice(ToolChoice::Mode("required".into()));
    assert_eq!(violations(&required, "qwen-plus", false), ["tool_choice"]);
    let orphan = request().message(Message::tool("call_1", "22 °C"));
    assert_eq!(violations(&orphan, "qwen-plus", false), ["messages"]);
    let call = vec![ToolCall::function("call_1", "f", "{}")];
    let answered = request()
        .message(Message::assistant("").with_tool_calls(call))
        .message(Message::tool("call_1", "22 °C"));
    assert!(violations(&answered, "qwen-plus", false).is_empty());
}

#[test]
fn partial_mode_is_for_the_last_assistant_message_without_thinking() {
    let partial = request().message(Message::partial("床前"));
    assert!(violations(&partial, "qwen-plus", false).is_empty());
    assert_eq!(
        violations(&partial.clone().enable_thinking(true), "qwen-plus", true),
        ["messages"]
    );
    assert_eq!(
        violations(&partial.message(Message::user("?")), "qwen-plus", false),
        ["messages"]
    );
}

#[test]
fn a_retired_model_is_refused() {
    let catalog = Catalog::embedded();
    let retired = catalog.models().find(|model| model.is_retired()).unwrap();
    let request = ChatRequest::new(&retired.id, [Message::user("hi")]);
    assert!(
        validate_chat(&request, retired, false).unwrap_err()[0]
            .problem
            .contains(&retired.id)
    );
}
