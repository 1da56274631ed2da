//! Whether what a client got is one answer or one error.

use bailian_wire::chat::{ChatResponse, FinishReason};
use bailian_wire::stream::{StreamError, StreamSurface};

use crate::broken::{Break, Got};
use crate::references::Reference;

/// What one choice of an answer says.
#[derive(Debug, PartialEq)]
struct Said {
    text: String,
    thinking: String,
    calls: Vec<(String, String)>,
    end: Option<FinishReason>,
}

fn said(answer: &ChatResponse) -> Vec<Said> {
    answer
        .choices
        .iter()
        .map(|choice| Said {
            text: choice.message.text(),
            thinking: choice.message.reasoning_content.clone().unwrap_or_default(),
            calls: choice
                .message
                .tool_calls
                .iter()
                .flatten()
                .map(|call| (call.function.name.clone(), call.function.arguments.clone()))
                .collect(),
            end: choice.finish_reason.clone(),
        })
        .collect()
}

/// What is wrong with it, if anything is.
pub(crate) fn judge(reference: &Reference, cut: &Break, got: &Got) -> Result<(), String> {
    let all: Vec<u8> = got.frames.concat();
    verdict(reference, got, &all).map_err(|problem| {
        format!(
            "{}: {problem}, broken by {cut:?} of {} bytes, {} requests: {}",
            reference.name,
            reference.bytes.len(),
            got.requests,
            String::from_utf8_lossy(&all)
        )
    })
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn verdict(reference: &Reference, got: &Got, all: &[u8]) -> Result<(), String> {
    ensure(got.status == 200, || format!("status {}", got.status))?;
    for frame in &got.frames {
        ensure(frame.ends_with(b"\n\n"), || {
            format!("written in parts: {frame:?}")
        })?;
    }
    let text = std::str::from_utf8(all).map_err(|error| error.to_string())?;
    let seam = text.find(": x-bailian-resumed").unwrap_or(text.len());
    let (before, _) = reference.decode(&all[..seam]);
    let had_said_nothing = said(&before)
        .iter()
        .all(|said| said.text.is_empty() && said.thinking.is_empty() && said.calls.is_empty());
    let goes_on = reference.resumes || had_said_nothing;
    ensure(got.requests == 1 || goes_on, || "asked again".to_owned())?;
    let (answer, failure) = reference.decode(all);
    match failure {
        None => {
            ensure(answer.finish_reason().is_some(), || {
                "neither answer nor error".to_owned()
            })?;
            let (has, wanted) = (said(&answer), said(&reference.said));
            ensure(
                has == wanted || is_about_as_long(reference, &has, &wanted),
                || format!("it says {has:?}, not {wanted:?}"),
            )?;
            ends_once(reference.surface, text)
        }
        Some(StreamError::Api(error)) => {
            ensure(!reference.resumes || got.requests > 3, || {
                format!("it could go on: {error}")
            })?;
            let last = text.trim_end().rsplit("\n\n").next().unwrap_or_default();
            ensure(last.contains("\"message\":"), || {
                "the error is not its last word".to_owned()
            })?;
            says_a_beginning(reference, &answer)
        }
        Some(other) => Err(other.to_string()),
    }
}

/// Where tokens are not reported on the way, an answer that goes on up to a length ends about there.
fn is_about_as_long(reference: &Reference, has: &[Said], wanted: &[Said]) -> bool {
    let ([has], [wanted]) = (has, wanted) else {
        return false;
    };
    reference.surface != StreamSurface::Native
        && wanted.end == Some(FinishReason::Length)
        && (has.text.starts_with(&wanted.text) || wanted.text.starts_with(&has.text))
}

/// Marks that stand once in a whole stream.
fn ends_once(surface: StreamSurface, text: &str) -> Result<(), String> {
    let marks: &[&str] = match surface {
        StreamSurface::OpenAiChat => &["data: [DONE]\n"],
        StreamSurface::Anthropic => &["\"type\":\"message_start\"", "\"type\":\"message_stop\""],
        StreamSurface::Responses => &["\"type\":\"response.created\""],
        _ => &[],
    };
    for mark in marks {
        let count = text.matches(mark).count();
        ensure(count == 1, || format!("{mark} {count} times"))?;
    }
    Ok(())
}

/// What came before an error is how the answer begins.
fn says_a_beginning(reference: &Reference, answer: &ChatResponse) -> Result<(), String> {
    for (has, whole) in said(answer).iter().zip(said(&reference.said)) {
        let is_beginning =
            whole.text.starts_with(&has.text) && whole.thinking.starts_with(&has.thinking);
        ensure(is_beginning, || format!("{has:?} does not begin {whole:?}"))?;
    }
    Ok(())
}
