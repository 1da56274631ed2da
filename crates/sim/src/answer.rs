//! What the simulated model says: a function of the request and the seed.

mod schema;
mod text;
mod tools;

use serde_json::{Value, json};

use crate::call::{Call, media_kinds, message_text};
use crate::tokens;

/// The largest number of answer tokens that a request can ask for by header.
const MAX_SCRIPTED_TOKENS: usize = 1_000_000;

/// What headers and configuration say of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    /// The exact text.
    pub(crate) text: Option<String>,
    /// The exact number of answer tokens.
    pub(crate) tokens: Option<usize>,
}

/// A whole answer, cut into tokens.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) choices: Vec<ChoiceAnswer>,
    pub(crate) input_tokens: u64,
    pub(crate) searched: bool,
    pub(crate) search_info: Option<Value>,
}

/// One of the answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChoiceAnswer {
    pub(crate) reasoning: Vec<String>,
    pub(crate) text: Vec<String>,
    pub(crate) calls: Vec<CallAnswer>,
    pub(crate) finish_reason: &'static str,
}

/// A tool call, its arguments cut into pieces.
#[derive(Clone, Debug)]
pub(crate) struct CallAnswer {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
}

impl ChoiceAnswer {
    pub(crate) fn reasoning_tokens(&self) -> u64 {
        self.reasoning.len() as u64
    }

    pub(crate) fn output_tokens(&self) -> u64 {
        let calls: usize = self.calls.iter().map(|call| call.arguments.len() + 1).sum();
        (self.reasoning.len() + self.text.len() + calls) as u64
    }
}

impl Answer {
    pub(crate) fn output_tokens(&self) -> u64 {
        self.choices.iter().map(ChoiceAnswer::output_tokens).sum()
    }

    pub(crate) fn reasoning_tokens(&self) -> u64 {
        self.choices
            .iter()
            .map(ChoiceAnswer::reasoning_tokens)
            .sum()
    }
}

/// Tokens of the whole conversation, with what each message costs by itself.
pub(crate) fn input_tokens(call: &Call) -> u64 {
    let messages: u64 = call
        .messages
        .iter()
        .map(|message| {
            let calls = message["tool_calls"].as_array().map_or(0, |calls| {
                calls
                    .iter()
                    .map(|call| tokens::count(&call.to_string()))
                    .sum()
            });
            let media = media_kinds(message).len() as u64 * 256;
            4 + tokens::count(&message_text(message)) + calls + media
        })
        .sum();
    let tools: u64 = call
        .tools()
        .iter()
        .map(|tool| tokens::count(&tool.to_string()))
        .sum();
    messages + tools + 3
}

/// Answers a request.
pub(crate) fn answer(call: &Call, seed: u64, script: &Script) -> Answer {
    let n = call.count("n").unwrap_or(1).clamp(1, 4);
    let seed = call.count("seed").unwrap_or(seed);
    let choices = (0..n)
        .map(|index| choice(call, &mut rng(call, seed, index), script))
        .collect();
    let searched = call.flag("enable_search") == Some(true);
    let wants_source = call
        .parameters
        .get("search_options")
        .is_some_and(|options| options["enable_source"] == true);
    Answer {
        choices,
        input_tokens: input_tokens(call),
        searched,
        search_info: (searched && wants_source).then(|| search_info(call)),
    }
}

fn rng(call: &Call, seed: u64, index: u64) -> fastrand::Rng {
    // FNV-1a: the same on every machine and in every version.
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ index;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    add(call.model_id.as_bytes());
    for message in &call.messages {
        add(message["role"].as_str().unwrap_or_default().as_bytes());
        add(message_text(message).as_bytes());
    }
    fastrand::Rng::with_seed(hash)
}

fn choice(call: &Call, rng: &mut fastrand::Rng, script: &Script) -> ChoiceAnswer {
    let mut answer = ChoiceAnswer {
        finish_reason: "stop",
        ..ChoiceAnswer::default()
    };
    if call.thinks() {
        let budget = call.count("thinking_budget").unwrap_or(u64::MAX);
        answer.reasoning = tokens::split(&text::reasoning(&call.prompt(), rng));
        answer
            .reasoning
            .truncate(usize::try_from(budget).unwrap_or(usize::MAX));
    }
    let scripted = script.text.is_some() || script.tokens.is_some();
    if !scripted && !call.tools().is_empty() && call.last()["role"] != "tool" {
        answer.calls = tools::calls(call, rng);
        // A forced call ends with `stop` (http-native.md §5.5).
        answer.finish_reason = if call.forced_tool().is_some() {
            "stop"
        } else {
            "tool_calls"
        };
        return answer;
    }
    let said = match script {
        Script {
            text: Some(text), ..
        } => text.clone(),
        Script {
            tokens: Some(count),
            ..
        } => {
            answer.text = text::exactly((*count).min(MAX_SCRIPTED_TOKENS));
            String::new()
        }
        _ => said(call, rng),
    };
    if script.tokens.is_none() || script.text.is_some() {
        answer.text = tokens::split(cut_at_stop(call, &said));
    }
    let limit = |name: &str, used: usize| {
        call.count(name).map(|most| {
            usize::try_from(most)
                .unwrap_or(usize::MAX)
                .saturating_sub(used)
        })
    };
    let limits = [
        limit("max_tokens", 0),
        limit("max_completion_tokens", answer.reasoning.len()),
    ];
    if let Some(most) = limits.into_iter().flatten().min()
        && answer.text.len() > most
    {
        answer.text.truncate(most);
        answer.finish_reason = "length";
    }
    answer
}

fn said(call: &Call, rng: &mut fastrand::Rng) -> String {
    if let Some(kind) = call.json_mode() {
        let schema = call.parameters["response_format"].pointer("/json_schema/schema");
        let value = match schema {
            Some(schema) if kind == "json_schema" => schema::fitting(schema, rng),
            _ => json!({ "answer": text::answer(&call.prompt(), rng) }),
        };
        return value.to_string();
    }
    if call.last()["role"] == "tool" {
        return tools::conclusion(call);
    }
    if call.last()["partial"] == true {
        return text::continuation(&message_text(call.last()), rng);
    }
    if call.model_id.starts_with("qwen-mt-") {
        let target = call.parameters.get("translation_options");
        let target = target
            .and_then(|o| o["target_lang"].as_str())
            .unwrap_or("English");
        return text::translation(&call.prompt(), target);
    }
    let media: Vec<&str> = call.messages.iter().flat_map(media_kinds).collect();
    let seen = text::seen(&media, &call.prompt());
    format!("{seen}{}", text::answer(&call.prompt(), rng))
}

/// The text up to the first stop text.
fn cut_at_stop<'a>(call: &Call, said: &'a str) -> &'a str {
    let stops: Vec<&str> = match call.parameters.get("stop") {
        Some(Value::String(stop)) => vec![stop],
        Some(Value::Array(stops)) => stops.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let end = stops
        .iter()
        .filter(|stop| !stop.is_empty())
        .filter_map(|stop| said.find(*stop))
        .min();
    &said[..end.unwrap_or(said.len())]
}

fn search_info(call: &Call) -> Value {
    let query: String = call.prompt().chars().take(40).collect();
    json!({
        "search_results": [{
            "site_name": "example", "icon": "", "index": 1,
            "title": format!("About: {query}"), "url": "https://example.com/1",
        }],
    })
}
