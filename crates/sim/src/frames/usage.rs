//! What an answer cost, in the words of each surface (compat.md §2.13, §8.8, http-native.md §5.2).

use std::io::Write as _;

use serde_json::{Map, Value, json};

use super::put;
use crate::answer::{Answer, INTERPRETED};
use crate::call::Call;
use crate::config::UsageDetails;

/// Of a compatible chat, with the details written as told.
pub(super) fn of_compat(answer: &Answer, details: UsageDetails) -> Value {
    let mut usage = full_compat(answer);
    let names = ["prompt_tokens_details", "completion_tokens_details"];
    match details {
        UsageDetails::Full => {}
        UsageDetails::NullMembers => {
            let all = [
                "cached_tokens",
                "text_tokens",
                "image_tokens",
                "audio_tokens",
            ];
            for member in all {
                let known = usage[names[0]][member].clone();
                usage[names[0]][member] = known;
            }
        }
        UsageDetails::Null => {
            for name in names {
                usage[name] = Value::Null;
            }
        }
        UsageDetails::Absent => {
            if let Some(members) = usage.as_object_mut() {
                members.retain(|name, _| !names.contains(&name.as_str()));
            }
        }
    }
    usage
}

fn full_compat(answer: &Answer) -> Value {
    let (input, output) = (answer.input_tokens, answer.output_tokens());
    if answer.annotations.is_some() {
        return json!({
            "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output,
            "seconds": answer.media.seconds, "prompt_tokens_details": input_details(answer),
            "completion_tokens_details": { "text_tokens": output },
        });
    }
    let sound = answer.sound_tokens();
    let mut prompt = prompt_details(answer);
    let mut made = Map::new();
    if answer.reasoning_tokens() > 0 {
        made.insert(
            "reasoning_tokens".to_owned(),
            answer.reasoning_tokens().into(),
        );
    }
    if answer.media.sum() > 0 || sound > 0 {
        prompt.extend(input_details(answer));
        made.insert("text_tokens".to_owned(), (output - sound).into());
    }
    if sound > 0 {
        made.insert("audio_tokens".to_owned(), sound.into());
    }
    let mut usage = json!({
        "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output,
        "prompt_tokens_details": prompt,
    });
    if !made.is_empty() {
        usage["completion_tokens_details"] = made.into();
    }
    usage
}

/// The input of an Anthropic message: what was cached is counted apart, unless a switch says
/// otherwise.
pub(super) fn anthropic_input(answer: &Answer, with_cached: bool) -> u64 {
    let apart = answer.cache.cached + answer.cache.created;
    let apart = if with_cached { 0 } else { apart };
    answer.input_tokens.saturating_sub(apart)
}

/// Of an Anthropic message: four counters, and that of searches where there were any.
pub(super) fn of_anthropic(answer: &Answer, with_cached: bool) -> Value {
    let mut usage = json!({
        "input_tokens": anthropic_input(answer, with_cached),
        "output_tokens": answer.output_tokens(),
        "cache_creation_input_tokens": answer.cache.created,
        "cache_read_input_tokens": answer.cache.cached,
    });
    if answer.searched {
        usage["server_tool_use"] = json!({ "web_search_requests": 1 });
    }
    usage
}

/// Cache figures.
pub(super) fn prompt_details(answer: &Answer) -> Map<String, Value> {
    let cache = &answer.cache;
    let details = if cache.is_explicit && cache.cached + cache.created > 0 {
        json!({
            "cached_tokens": cache.cached,
            "cache_creation_input_tokens": cache.created,
            "cache_creation": { "ephemeral_5m_input_tokens": cache.created },
            "cache_type": "ephemeral",
        })
    } else if cache.cached > 0 {
        json!({ "cached_tokens": cache.cached, "cache_type": "implicit" })
    } else {
        json!({ "cached_tokens": 0 })
    };
    match details {
        Value::Object(details) => details,
        _ => Map::new(),
    }
}

/// The input by kind.
fn input_details(answer: &Answer) -> Map<String, Value> {
    let text = answer.input_tokens.saturating_sub(answer.media.sum());
    let mut details = Map::new();
    details.insert("text_tokens".to_owned(), text.into());
    for (name, tokens) in answer.media.by_kind() {
        details.insert(name.to_owned(), tokens.into());
    }
    details
}

/// What native frames say of tokens.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact about the answer, whatever the others are"
)]
pub(super) struct NativeUsage {
    input: u64,
    thinks: bool,
    has_media: bool,
    /// Older vision models have the kinds at the top level and no sum of all (§6.1).
    is_older: bool,
    plugins: Map<String, Value>,
    interpreted: bool,
    /// Seconds and input of a recording, which has no sums (§7.1).
    recording: Option<(u64, u64)>,
    /// What is the same in every frame, as members that end the object.
    fixed: Vec<u8>,
}

impl NativeUsage {
    pub(super) fn new(call: &Call, answer: &Answer, plugins: Map<String, Value>) -> Self {
        let has_media = answer.media.sum() > 0;
        let older = ["qwen-vl-plus", "qwen-vl-max", "qwen-audio"];
        let is_older = has_media && older.iter().any(|name| call.model_id.starts_with(name));
        let mut fixed = Vec::new();
        let mut member = |name: &str, value: &Value| {
            fixed.push(b',');
            put(&mut fixed, name);
            fixed.push(b':');
            put(&mut fixed, value);
        };
        let mut prompt = prompt_details(answer);
        if has_media {
            // With media the object is there and says nothing of a cache that was not used (§6.2).
            prompt.retain(|name, value| name != "cached_tokens" || *value != 0);
            if !is_older {
                member("input_tokens_details", &input_details(answer).into());
            }
            for (name, tokens) in answer.media.by_kind() {
                member(name, &tokens.into());
            }
        }
        if !is_older {
            member("prompt_tokens_details", &prompt.into());
        }
        Self {
            input: answer.input_tokens,
            thinks: answer.reasoning_tokens() > 0,
            has_media,
            is_older,
            plugins,
            interpreted: answer.tool_info.is_some(),
            recording: answer.annotations.as_ref().map(|_| {
                let text = answer.input_tokens - answer.media.sum();
                (answer.media.seconds, text)
            }),
            fixed,
        }
    }

    /// Appends the usage of a frame up to which so much was made.
    /// The input grows when what the code interpreter did is told.
    pub(super) fn write(&self, out: &mut Vec<u8>, output: u64, reasoning: u64, told: bool) {
        if let Some((seconds, text)) = self.recording {
            let usage = json!({
                "input_tokens_details": { "text_tokens": text },
                "output_tokens_details": { "text_tokens": output },
                "seconds": seconds,
            });
            return put(out, &usage);
        }
        let mut input = self.input;
        let mut plugins = self.plugins.clone();
        if self.interpreted && told {
            plugins.insert("code_interpreter".to_owned(), json!({ "count": 1 }));
        } else if self.interpreted {
            input = input.saturating_sub(INTERPRETED);
        }
        out.push(b'{');
        if !self.is_older {
            let _infallible = write!(out, "\"total_tokens\":{},", input + output);
        }
        let _infallible = write!(out, "\"input_tokens\":{input},\"output_tokens\":{output}");
        let mut made = Map::new();
        if self.thinks {
            made.insert("reasoning_tokens".to_owned(), reasoning.into());
        }
        if self.has_media && !self.is_older {
            made.insert("text_tokens".to_owned(), (output - reasoning).into());
        }
        if !made.is_empty() {
            out.extend_from_slice(b",\"output_tokens_details\":");
            put(out, &made);
        }
        if !plugins.is_empty() {
            out.extend_from_slice(b",\"plugins\":");
            put(out, &plugins);
        }
        out.extend_from_slice(&self.fixed);
        out.push(b'}');
    }
}

/// Of a response; `tools` are the calls of the service's own tools.
pub(super) fn of_response(answer: &Answer, tools: &Map<String, Value>) -> Value {
    let (input, output) = (answer.input_tokens, answer.output_tokens());
    let mut details = prompt_details(answer);
    let mut usage = json!({
        "input_tokens": input, "input_tokens_details": { "cached_tokens": answer.cache.cached },
        "output_tokens": output,
        "output_tokens_details": { "reasoning_tokens": answer.reasoning_tokens() },
        "total_tokens": input + output,
    });
    let mut billed = json!({ "input_tokens": input, "output_tokens": output,
        "total_tokens": input + output, "x_billing_type": "response_api" });
    let has_media = answer.media.sum() > 0;
    if has_media {
        details.extend(input_details(answer));
        billed["output_tokens_details"] = json!({ "text_tokens": output });
        if answer.media.image > 0 {
            billed["image_tokens"] = answer.media.image.into();
        }
    }
    if has_media || answer.cache.cached + answer.cache.created > 0 {
        billed["input_tokens_details"] = details.into();
    }
    if !tools.is_empty() {
        billed["plugins"] = tools.clone().into();
        usage["x_tools"] = tools.clone().into();
    }
    usage["x_details"] = json!([billed]);
    usage
}
