//! Messages and tools.

use std::collections::HashSet;

use super::Findings;
use crate::catalog::Model;
use crate::chat::{ChatRequest, Role, ToolChoice};

pub(super) fn check_messages(request: &ChatRequest, thinks: bool, findings: &mut Findings) {
    let Some(last) = request.messages.last() else {
        // The native protocol also takes a bare prompt, as a further parameter.
        if !request.extra.contains_key("prompt") {
            findings.add("messages", "[] is too short", "send at least one message");
        }
        return;
    };
    let mut known_calls: HashSet<&str> = HashSet::new();
    for message in &request.messages {
        let calls = message.tool_calls.iter().flatten();
        known_calls.extend(calls.map(|call| call.id.as_str()));
        let is_orphan = match message.tool_call_id.as_deref() {
            Some(id) => !known_calls.contains(id),
            None => known_calls.is_empty(),
        };
        if message.role == Role::Tool && is_orphan {
            let problem = "messages with role \"tool\" must be a response to a preceeding message \
                           with \"tool_calls\"";
            findings.add(
                "messages",
                problem,
                "send the assistant message with the call before it",
            );
        }
    }
    let misplaced = request
        .messages
        .split_last()
        .is_some_and(|(_, before)| before.iter().any(|message| message.partial == Some(true)));
    if misplaced || (last.partial == Some(true) && last.role != Role::Assistant) {
        let problem = "partial stands on the last message only, which is the assistant's";
        findings.add(
            "messages",
            problem,
            "move the beginning of the answer to the end",
        );
    }
    if last.partial == Some(true) && thinks {
        let problem = "partial mode does not work while thinking";
        findings.add("messages", problem, "set enable_thinking to false");
    }
}

pub(super) fn check_tools(
    request: &ChatRequest,
    model: &Model,
    thinks: bool,
    findings: &mut Findings,
) {
    let tools = request.tools.as_deref().unwrap_or_default();
    if !tools.is_empty() && model.features.tools == Some(false) {
        let problem = "The tool call is not supported.";
        findings.add(
            "tools",
            problem,
            "leave tools out, or choose a model that calls functions",
        );
    }
    for tool in tools.iter().filter(|tool| tool.kind == "function") {
        let name = tool.function.name.as_str();
        if name == "search" {
            let problem = "Tool names are not allowed to be [search]";
            findings.add("tools", problem, "give the function another name");
        }
        let well_formed = !name.is_empty()
            && name.len() <= 64
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !well_formed {
            let shown: String = name.chars().take(80).collect();
            let problem = format!("`{shown}` is not a function's name");
            findings.add("tools", problem, "use up to 64 letters, digits, _ and -");
        }
    }
    if !tools.is_empty() && request.n.is_some_and(|n| n > 1) {
        findings.add("n", "must be 1 with tools", "ask for one answer");
    }
    match &request.tool_choice {
        Some(ToolChoice::Mode(mode)) if mode != "auto" && mode != "none" => {
            let problem = "tool_choice is one of the strings that should be [\"none\", \"auto\"]";
            findings.add("tool_choice", problem, "name the function to force a call");
        }
        Some(ToolChoice::Specific(_)) if thinks => {
            let problem = "a call cannot be forced while thinking";
            findings.add(
                "tool_choice",
                problem,
                "set enable_thinking to false, or use auto",
            );
        }
        _ => {}
    }
}
