//! What the simulated model says: a function of the request and the seed.

pub(crate) mod builtin;
mod schema;
pub(crate) mod special;
mod text;
mod tools;

use serde_json::{Value, json};

use crate::cache::CacheUse;
use crate::call::{Call, message_text};
use crate::config::ScriptedCall;
use crate::media::{self, MediaTokens, Part};
use crate::tokens::{self, Tokens};

/// The largest number of answer tokens that a request can ask for by header.
const MAX_SCRIPTED_TOKENS: usize = 1_000_000;

/// What headers and configuration say of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    /// The exact text.
    pub(crate) text: Option<String>,
    /// The exact number of answer tokens.
    pub(crate) tokens: Option<usize>,
    /// The exact thinking, where the model thinks.
    pub(crate) reasoning: Option<String>,
    /// The exact calls.
    pub(crate) calls: Vec<ScriptedCall>,
}

impl Script {
    /// Whether it says what is answered.
    pub(crate) fn is_given(&self) -> bool {
        self.text.is_some() || self.tokens.is_some() || !self.calls.is_empty()
    }
}

/// A whole answer, cut into tokens.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) choices: Vec<ChoiceAnswer>,
    pub(crate) input_tokens: u64,
    /// The part of them that pictures, videos and sounds cost.
    pub(crate) media: MediaTokens,
    /// What of the input was in the context cache before, or is now.
    pub(crate) cache: CacheUse,
    pub(crate) searched: bool,
    pub(crate) search_info: Option<Value>,
    /// What the code interpreter did.
    pub(crate) tool_info: Option<Value>,
    /// What a recording is like.
    pub(crate) annotations: Option<Value>,
    /// What was found on a page, beside its text.
    pub(crate) page_result: Option<Value>,
}

/// One of the answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChoiceAnswer {
    pub(crate) reasoning: Tokens,
    pub(crate) text: Tokens,
    /// Tokens of sound, after the text.
    pub(crate) sound: usize,
    pub(crate) calls: Vec<CallAnswer>,
    pub(crate) finish_reason: &'static str,
    /// The stop text that ended it.
    pub(crate) stopped_by: Option<String>,
}

/// A tool call.
#[derive(Clone, Debug)]
pub(crate) struct CallAnswer {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: Tokens,
}

impl ChoiceAnswer {
    pub(crate) fn reasoning_tokens(&self) -> u64 {
        self.reasoning.len() as u64
    }

    pub(crate) fn output_tokens(&self) -> u64 {
        let calls: usize = self.calls.iter().map(|call| call.arguments.len() + 1).sum();
        (self.reasoning.len() + self.text.len() + self.sound + calls) as u64
    }

    /// Keeps `most` tokens of text and calls; whether something had to go.
    fn shorten(&mut self, most: usize) -> bool {
        let before = self.output_tokens();
        self.text.truncate(most);
        let mut left = most;
        self.calls.retain_mut(|call| {
            let begins = left > 0;
            call.arguments.truncate(left.saturating_sub(1));
            left = left.saturating_sub(1 + call.arguments.len());
            begins
        });
        self.output_tokens() < before
    }
}

impl Answer {
    /// Keeps so many tokens of each choice, as if no more had been made in time.
    pub(crate) fn keep(&mut self, tokens: f64) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a conversion saturates, and no number is none"
        )]
        let most = tokens as usize;
        for choice in &mut self.choices {
            choice.reasoning.truncate(most);
            choice.shorten(most - choice.reasoning.len());
            choice.sound = 0;
        }
    }

    pub(crate) fn output_tokens(&self) -> u64 {
        self.choices.iter().map(ChoiceAnswer::output_tokens).sum()
    }

    pub(crate) fn sound_tokens(&self) -> u64 {
        let sound: usize = self.choices.iter().map(|choice| choice.sound).sum();
        sound as u64
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
    let media = media::tokens_of(call).sum();
    if call.transcribes() {
        // A recording costs its seconds, and its context the words.
        let context = call
            .messages
            .iter()
            .map(|m| tokens::count(&message_text(m)));
        return media + context.sum::<u64>();
    }
    let asked = tokens::count(special::default_prompt(call));
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
            4 + tokens::count(&message_text(message)) + calls
        })
        .sum();
    let tools: u64 = call
        .tools()
        .iter()
        .map(|tool| tokens::count(&tool.to_string()))
        .sum();
    let interpreted = if interprets(call) { INTERPRETED } else { 0 };
    messages + tools + 3 + asked + media + interpreted
}

/// The code that the interpreter runs, and what its result adds to the input, in tokens.
const CODE: &str = "print(123**21)";
pub(crate) const INTERPRETED: u64 = 450;

/// Whether code is run: when thinking only (http-native.md §4.2).
fn interprets(call: &Call) -> bool {
    call.thinks() && call.flag("enable_code_interpreter") == Some(true)
}

/// Answers a request.
pub(crate) fn answer(call: &Call, seed: u64, script: &Script) -> Answer {
    let n = call.count("n").unwrap_or(1).clamp(1, 4);
    let seed = call.count("seed").unwrap_or(seed);
    let rest = rest(call, seed, script);
    let script = rest.as_ref().unwrap_or(script);
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
        media: media::tokens_of(call),
        cache: CacheUse::default(),
        searched,
        search_info: (searched && wants_source).then(|| search_info(call)),
        tool_info: interprets(call)
            .then(|| json!([{ "type": "code_interpreter", "code_interpreter": { "code": CODE } }])),
        annotations: special::annotations(call),
        page_result: special::page_result(call),
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
        for url in Part::all_of(message).flat_map(|part| part.urls().collect::<Vec<_>>()) {
            add(url.as_bytes());
        }
    }
    fastrand::Rng::with_seed(hash)
}

/// What would have been said without the beginning that the caller gives, and what is left of it.
/// A beginning that is not the answer's own goes on in some way.
fn rest(call: &Call, seed: u64, script: &Script) -> Option<Script> {
    if call.last()["partial"] != true || !script.calls.is_empty() {
        return None;
    }
    let beginning = message_text(call.last());
    let mut whole = call.clone();
    whole.messages.pop();
    whole.parameters.remove("max_tokens");
    whole.parameters.remove("max_completion_tokens");
    let said = choice(&whole, &mut rng(&whole, seed, 0), script);
    let rest = said.text.as_str().strip_prefix(beginning.as_str())?;
    Some(Script {
        text: Some(rest.to_owned()),
        ..Script::default()
    })
}

fn choice(call: &Call, rng: &mut fastrand::Rng, script: &Script) -> ChoiceAnswer {
    let mut answer = ChoiceAnswer {
        finish_reason: "stop",
        ..ChoiceAnswer::default()
    };
    let limit = |name: &str| {
        let most = call.count(name)?;
        Some(usize::try_from(most).unwrap_or(usize::MAX))
    };
    let most_of_all = limit("max_completion_tokens").unwrap_or(usize::MAX);
    if call.thinks() {
        answer.reasoning = match &script.reasoning {
            Some(reasoning) => Tokens::split(reasoning.as_str()),
            None => Tokens::split(text::reasoning(&call.prompt(), rng)),
        };
        let budget = call.thinking_budget().unwrap_or(u64::MAX);
        let budget = usize::try_from(budget).unwrap_or(usize::MAX);
        answer.reasoning.truncate(budget);
        if answer.reasoning.len() >= most_of_all {
            answer.reasoning.truncate(most_of_all);
            answer.finish_reason = "length";
            return answer;
        }
    }
    if !script.calls.is_empty() {
        answer.calls = tools::scripted(&script.calls, rng);
    } else if !script.is_given() && call.last()["role"] != "tool" {
        answer.calls = tools::calls(call, rng);
    }
    if answer.calls.is_empty() {
        answer.text = match script {
            Script {
                text: Some(text), ..
            } => Tokens::split(cut_at_stop(call, text, &mut answer.stopped_by)),
            Script {
                tokens: Some(count),
                ..
            } => text::exactly((*count).min(MAX_SCRIPTED_TOKENS)),
            _ => Tokens::split(cut_at_stop(call, &said(call, rng), &mut answer.stopped_by)),
        };
    } else if call.forced_tool().is_none() {
        // A forced call ends with `stop` (http-native.md §5.5).
        answer.finish_reason = "tool_calls";
    }
    let most = limit("max_tokens")
        .unwrap_or(usize::MAX)
        .min(most_of_all - answer.reasoning.len());
    if answer.shorten(most) {
        answer.finish_reason = "length";
    }
    answer.sound = special::sound_tokens(call, answer.text.len());
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
    if call.transcribes() {
        return special::transcript(call);
    }
    if call.reads_pages() {
        return special::page(call);
    }
    if call.translates() {
        let options = call.parameters.get("translation_options");
        return text::translation(&call.prompt(), options.unwrap_or(&Value::Null));
    }
    let parts = call.messages.iter().flat_map(Part::all_of);
    let media: Vec<&str> = parts.map(|part| part.kind.name()).collect();
    let seen = text::seen(&media, &call.prompt());
    format!("{seen}{}", text::answer(&call.prompt(), rng))
}

/// The text up to the first stop text.
fn cut_at_stop<'a>(call: &Call, said: &'a str, by: &mut Option<String>) -> &'a str {
    let stops: Vec<&str> = match call.parameters.get("stop") {
        Some(Value::String(stop)) => vec![stop],
        Some(Value::Array(stops)) => stops.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let end = stops
        .iter()
        .filter(|stop| !stop.is_empty())
        .filter_map(|stop| Some((said.find(*stop)?, *stop)))
        .min();
    *by = end.map(|(_, stop)| stop.to_owned());
    &said[..end.map_or(said.len(), |(at, _)| at)]
}

fn search_info(call: &Call) -> Value {
    let query: String = call.prompt().chars().take(40).collect();
    json!({
        "extra_tool_info": [],
        "search_results": [{
            "site_name": "example", "icon": "", "index": 1,
            "title": format!("About: {query}"), "url": "https://example.com/1",
        }],
    })
}
