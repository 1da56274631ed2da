//! What a response consists of (compat.md §5.2).

use serde_json::{Value, json};
use uuid::Builder;

use crate::answer::{ChoiceAnswer, builtin};
use crate::call::{Call, ResponseAsk};

/// The items of an answer: the thinking, what tools of the service did, the text, the calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Items {
    pub(super) list: Vec<Value>,
    /// Where the text is.
    pub(super) text: usize,
    /// Where the calls begin.
    pub(super) calls: usize,
}

impl Items {
    pub(super) fn new(call: &Call, ask: &ResponseAsk, choice: &ChoiceAnswer, seed: &str) -> Self {
        let mut list = Vec::new();
        let is_cut = choice.finish_reason == "length";
        if choice.reasoning.len() > 0 {
            list.push(json!({ "type": "reasoning",
                "summary": [{ "type": "summary_text", "text": choice.reasoning.as_str() }] }));
        }
        if ask.uses_tools() {
            list.extend(builtin::calls(&ask.tools, &call.prompt()));
        }
        let text = list.len();
        if choice.text.len() > 0 || choice.calls.is_empty() {
            let status = if is_cut { "incomplete" } else { "completed" };
            list.push(
                json!({ "type": "message", "role": "assistant", "status": status,
                "content": [{ "type": "output_text", "text": choice.text.as_str(),
                    "annotations": [] }] }),
            );
        }
        let calls = list.len();
        for made in &choice.calls {
            list.push(json!({ "type": "function_call", "name": made.name,
                "arguments": made.arguments.as_str(), "call_id": made.id,
                "status": "completed" }));
        }
        for (place, item) in list.iter_mut().enumerate() {
            item["id"] = item_id(seed, place).into();
        }
        Self { list, text, calls }
    }
}

/// The id of an item. All begin alike, those of thinking and calls included.
pub(crate) fn item_id(seed: &str, place: usize) -> String {
    // FNV-1a, to have the same ids for the same request.
    let hash = seed
        .bytes()
        .chain(place.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let mut bytes = [0; 16];
    fastrand::Rng::with_seed(hash).fill(&mut bytes);
    format!("msg_{}", Builder::from_random_bytes(bytes).into_uuid())
}
