//! A complete answer as the events of a stream.

use bailian_wire::chat::{ChatEvent, ChatResponse, Choice, Content, ContentPart};

/// The events that join into this answer again.
pub(super) fn events_of(answer: ChatResponse) -> Vec<ChatEvent> {
    let mut events = vec![ChatEvent::Started {
        id: answer.id,
        request_id: answer.request_id,
        model: answer.model,
        created: answer.created,
    }];
    events.extend(answer.search_info.map(ChatEvent::SearchInfo));
    for choice in answer.choices {
        push_choice(&mut events, choice);
    }
    events.extend(
        answer
            .audio
            .map(|data| ChatEvent::AudioDelta { choice: 0, data }),
    );
    events.extend(answer.audio_url.map(ChatEvent::AudioUrl));
    events.extend(answer.usage.map(ChatEvent::Usage));
    events
}

fn push_choice(events: &mut Vec<ChatEvent>, choice: Choice) {
    let index = choice.index;
    let text = choice.message.text();
    let reasoning = choice
        .message
        .reasoning_content
        .filter(|text| !text.is_empty());
    events.extend(reasoning.map(|text| ChatEvent::ReasoningDelta {
        choice: index,
        text,
    }));
    if let Some(Content::Parts(parts)) = choice.message.content {
        let special = parts
            .into_iter()
            .filter(|part| !matches!(part, ContentPart::Text { .. }));
        events.extend(special.map(|part| ChatEvent::Part {
            choice: index,
            part,
        }));
    }
    if !text.is_empty() {
        events.push(ChatEvent::TextDelta {
            choice: index,
            text,
        });
    }
    for (place, call) in (0_u64..).zip(choice.message.tool_calls.unwrap_or_default()) {
        events.push(ChatEvent::ToolCallDelta {
            choice: index,
            index: call.index.unwrap_or(place),
            id: Some(call.id),
            name: Some(call.function.name),
            arguments: call.function.arguments,
        });
    }
    events.extend(choice.logprobs.map(|logprobs| ChatEvent::Logprobs {
        choice: index,
        logprobs,
    }));
    events.extend(choice.finish_reason.map(|reason| ChatEvent::Finished {
        choice: index,
        reason,
    }));
}
