//! Models with answers of their own kind: speech recognition, text recognition, speech (compat.md
//! §2.11, http-native.md §6.3, §7.1).

use bailian_wire::Dialect;
use serde_json::{Map, Value, json};

use super::text::is_chinese;
use crate::call::{Call, Wrap, message_text};
use crate::media::Part;

/// What a page is asked for when the request says nothing.
const DEFAULT_PROMPT: &str = "Please output only the text content from the image without any \
                              additional descriptions or formatting.";
/// How many tokens of sound are made for each token of text.
const SOUND_PER_TEXT: usize = 4;

/// What stands on every page.
const WORDS: [&str; 3] = ["INTERNATIONAL", "北京南", "2013-06-29"];

/// What a model can be told to do with a page.
pub(crate) const TASKS: [&str; 7] = [
    "text_recognition",
    "key_information_extraction",
    "document_parsing",
    "table_parsing",
    "formula_recognition",
    "multi_lan",
    "advanced_recognition",
];

impl Call {
    /// Whether the answer is what was said in a recording.
    pub(crate) fn transcribes(&self) -> bool {
        self.model_id.contains("asr-flash")
    }

    /// Whether the answer is what is written in a picture.
    pub(crate) fn reads_pages(&self) -> bool {
        self.model_id.starts_with("qwen-vl-ocr") || self.model_id == "qwen3.5-ocr"
    }

    /// Whether the answer is also spoken. The newest omni model only writes.
    pub(crate) fn speaks(&self) -> bool {
        let asked = self.parameters.get("modalities").and_then(Value::as_array);
        self.model.modality_out.iter().any(|out| out == "audio")
            && !self.only_writes()
            && asked.is_some_and(|kinds| kinds.iter().any(|kind| kind == "audio"))
    }

    fn only_writes(&self) -> bool {
        self.model_id.starts_with("qwen3.8-omni")
    }

    /// Whether the model answers in streams only.
    pub(crate) fn needs_stream(&self) -> bool {
        self.model.is_stream_only() && !self.only_writes()
    }

    /// What is to be done with a page; the compatible surface has no such switch.
    pub(crate) fn page_task(&self) -> Option<&str> {
        let has_tasks = self.dialect == Dialect::Native || matches!(self.wrap, Wrap::Response(_));
        self.parameters
            .get("ocr_options")
            .filter(|_| has_tasks && self.reads_pages())?
            .get("task")?
            .as_str()
    }
}

/// The prompt that a page has without one of its own.
pub(super) fn default_prompt(call: &Call) -> &'static str {
    let has_prompt = !call.prompt().is_empty();
    if call.reads_pages() && !has_prompt {
        DEFAULT_PROMPT
    } else {
        ""
    }
}

/// How many tokens of sound a text makes.
pub(super) fn sound_tokens(call: &Call, text_tokens: usize) -> usize {
    if call.speaks() {
        text_tokens * SOUND_PER_TEXT
    } else {
        0
    }
}

fn language(call: &Call) -> &str {
    let asked = call.parameters.get("asr_options");
    asked
        .and_then(|options| options["language"].as_str())
        .unwrap_or("zh")
}

/// What was said in a recording.
pub(super) fn transcript(call: &Call) -> String {
    match language(call) {
        "zh" | "yue" => "欢迎使用阿里云。",
        _ => "Welcome to Alibaba Cloud.",
    }
    .to_owned()
}

/// What a recording is like.
pub(super) fn annotations(call: &Call) -> Option<Value> {
    call.transcribes().then(
        || json!([{ "type": "audio_info", "language": language(call), "emotion": "neutral" }]),
    )
}

/// What is written on a page, as it was asked for.
pub(super) fn page(call: &Call) -> String {
    let prompt = call.prompt();
    match call.page_task() {
        Some("key_information_extraction") => fenced(&key_values(call)),
        Some("table_parsing") => {
            format!(
                "<table><tr><td>{}</td></tr></table>",
                WORDS.join("</td><td>")
            )
        }
        Some("document_parsing") => format!("\\section*{{{}}}\n{}", WORDS[0], WORDS[1]),
        Some("formula_recognition") => "$$E = mc^{2}$$".to_owned(),
        // Fields that the prompt asks for come in a fence (compat.md §2.11).
        None if prompt.to_ascii_lowercase().contains("json") => {
            let words: Map<String, Value> = WORDS
                .iter()
                .map(|word| {
                    let name = if is_chinese(word) { "站名" } else { "text" };
                    (name.to_owned(), json!(word))
                })
                .collect();
            fenced(&words.into())
        }
        _ => WORDS.join("\n"),
    }
}

fn fenced(value: &Value) -> String {
    format!("```json\n{value}\n```")
}

/// What was found on a page, as structures beside the text.
pub(super) fn page_result(call: &Call) -> Option<Value> {
    match call.page_task()? {
        "key_information_extraction" => Some(json!({ "kv_result": key_values(call) })),
        "advanced_recognition" => {
            let words: Vec<Value> = (0u64..)
                .zip(WORDS)
                .map(|(place, word)| {
                    let (top, bottom) = (100 * place + 40, 100 * place + 90);
                    json!({
                        "text": word,
                        "location": [20, top, 320, top, 320, bottom, 20, bottom],
                        "rotate_rect": [170, top + 25, 50, 300, 90],
                    })
                })
                .collect();
            Some(json!({ "words_info": words }))
        }
        _ => None,
    }
}

/// A value for each field of the schema.
fn key_values(call: &Call) -> Value {
    let schema = call
        .parameters
        .get("ocr_options")
        .and_then(|options| options.pointer("/task_config/result_schema"));
    filled(schema.unwrap_or(&Value::Null), &mut 0)
}

fn filled(schema: &Value, count: &mut usize) -> Value {
    match schema {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, below)| (name.clone(), filled(below, count)))
            .collect(),
        Value::Array(items) => items.iter().map(|item| filled(item, count)).collect(),
        _ => {
            *count += 1;
            json!(WORDS[(*count - 1) % WORDS.len()])
        }
    }
}

/// Whether each person's turn of a transcription holds one recording.
pub(crate) fn has_one_recording(call: &Call) -> bool {
    let mut turns = call
        .messages
        .iter()
        .filter(|message| message["role"] == "user");
    let fits = turns
        .next()
        .is_some_and(|turn| Part::all_of(turn).count() == 1 && message_text(turn).is_empty());
    fits && turns.next().is_none()
}
