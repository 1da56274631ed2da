//! The context cache (compat.md §2.9): beginnings of requests that were sent before.
//!
//! An explicit marker keeps everything up to its block; without markers every stretch of text is a
//! place up to which a later request can be the same. Both need 1,024 tokens and live for five
//! minutes after their last use.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use crate::call::{Call, Wrap};
use crate::media::{Part, tokens_of_part};
use crate::tokens;

/// Shorter beginnings are not kept, in tokens.
const SHORTEST: u64 = 1024;
/// How long a beginning is kept after its last use.
const LIFE: Duration = Duration::from_mins(5);
/// How many markers count; the last ones win.
const MOST_MARKERS: usize = 4;
/// How far before a marker a kept beginning may end, in blocks.
const LOOK_BACK: usize = 20;
/// The text between two places of the implicit cache, in characters.
const STRETCH: usize = 512;
/// How many beginnings are kept in all.
const MOST_KEPT: usize = 100_000;

/// What a request had of the cache, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheUse {
    pub(crate) cached: u64,
    pub(crate) created: u64,
    pub(crate) is_explicit: bool,
}

/// A place in a request: everything before it, and how many tokens that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    hash: u64,
    tokens: u64,
}

/// A request, cut into blocks.
#[derive(Debug, Default)]
struct Cut {
    /// Where each block ends.
    blocks: Vec<Place>,
    /// Which blocks have a marker.
    markers: Vec<usize>,
    /// Where stretches of text end.
    stretches: Vec<Place>,
}

/// All beginnings that are kept, by account.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<HashMap<u64, Instant>>);

impl Cache {
    /// What this request finds, and keeps for later ones.
    pub(crate) fn look(
        &self,
        account: &str,
        call: &Call,
        implicit: bool,
        now: Instant,
    ) -> CacheUse {
        let is_special = call.transcribes() || call.translates() || call.reads_pages();
        let is_chat = matches!(call.wrap, Wrap::Chat | Wrap::Response(_));
        if is_special || !is_chat {
            return CacheUse::default();
        }
        let cut = cut(account, call);
        let is_long = |place: &Place| place.tokens >= SHORTEST;
        let mut kept = self.0.lock();
        if cut.markers.is_empty() {
            if !implicit {
                return CacheUse::default();
            }
            let places = cut.stretches.iter().copied().filter(is_long);
            let found = places.clone().rev().find(|place| alive(&kept, *place, now));
            keep(&mut kept, places, now);
            return CacheUse {
                cached: found.map_or(0, |place| place.tokens),
                ..CacheUse::default()
            };
        }
        let counted = cut.markers.len().saturating_sub(MOST_MARKERS);
        let markers = &cut.markers[counted..];
        let found = markers
            .iter()
            .flat_map(|at| at.saturating_sub(LOOK_BACK)..=*at)
            .map(|at| cut.blocks[at])
            .filter(|place| is_long(place) && alive(&kept, *place, now))
            .max_by_key(|place| place.tokens);
        let made = markers.iter().map(|at| cut.blocks[*at]).filter(is_long);
        let longest = made.clone().map(|place| place.tokens).max().unwrap_or(0);
        keep(&mut kept, made.chain(found), now);
        let cached = found.map_or(0, |place| place.tokens);
        CacheUse {
            cached,
            created: longest.saturating_sub(cached),
            is_explicit: true,
        }
    }

    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}

fn alive(kept: &HashMap<u64, Instant>, place: Place, now: Instant) -> bool {
    kept.get(&place.hash).is_some_and(|until| now < *until)
}

/// Keeps places from now on; when there are too many, the older half goes.
fn keep(kept: &mut HashMap<u64, Instant>, places: impl Iterator<Item = Place>, now: Instant) {
    for place in places {
        if kept.len() >= MOST_KEPT {
            let mut ends: Vec<Instant> = kept.values().copied().collect();
            let middle = ends.len() / 2;
            let (_, middle, _) = ends.select_nth_unstable(middle);
            let middle = *middle;
            kept.retain(|_, until| *until > middle);
        }
        kept.insert(place.hash, now + LIFE);
    }
}

/// Hashes what it is fed: FNV-1a.
#[derive(Clone, Copy, Debug)]
struct Chain(u64);

impl Chain {
    fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0xFF]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Cuts a request where its beginning can end. Tools are part of the beginning; markers on them
/// are ignored.
fn cut(account: &str, call: &Call) -> Cut {
    let mut cut = Cut::default();
    let mut so_far = 0;
    let mut chain = Chain(0xcbf2_9ce4_8422_2325);
    chain.add(account);
    chain.add(&call.model_id);
    for tool in call.tools() {
        let tool = tool.to_string();
        chain.add(&tool);
        so_far += tokens::count(&tool);
    }
    for message in &call.messages {
        so_far += 4;
        chain.add(message["role"].as_str().unwrap_or_default());
        match &message["content"] {
            Value::String(text) => add_text(&mut cut, &mut chain, &mut so_far, text),
            Value::Array(parts) => {
                for part in parts {
                    match (Part::read(part), part["text"].as_str()) {
                        (Some(media), _) => {
                            chain.add(&media.source.to_string());
                            so_far += tokens_of_part(call, &media).sum();
                            end_block(&mut cut, chain, so_far);
                        }
                        (None, Some(text)) => add_text(&mut cut, &mut chain, &mut so_far, text),
                        (None, None) => continue,
                    }
                    if part["cache_control"]["type"] == "ephemeral" {
                        cut.markers.push(cut.blocks.len() - 1);
                    }
                }
            }
            _ => {}
        }
        if let Some(calls) = message["tool_calls"].as_array() {
            for made in calls {
                let made = made.to_string();
                chain.add(&made);
                so_far += tokens::count(&made);
            }
            end_block(&mut cut, chain, so_far);
        }
    }
    if let Wrap::Response(ask) = &call.wrap
        && ask.session_cache
        && let Some(last) = cut.blocks.len().checked_sub(1)
    {
        cut.markers = vec![last];
    }
    cut
}

/// The end of a block is a place too, under another name than that of the text before it.
fn end_block(cut: &mut Cut, mut chain: Chain, tokens: u64) {
    chain.add("block");
    cut.blocks.push(Place {
        hash: chain.0,
        tokens,
    });
}

fn add_text(cut: &mut Cut, chain: &mut Chain, so_far: &mut u64, text: &str) {
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .char_indices()
            .nth(STRETCH)
            .map_or(rest.len(), |(at, _)| at);
        let (stretch, after) = rest.split_at(end);
        chain.add(stretch);
        *so_far += tokens::count(stretch);
        cut.stretches.push(Place {
            hash: chain.0,
            tokens: *so_far,
        });
        rest = after;
    }
    end_block(cut, *chain, *so_far);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bailian_wire::Dialect;
    use serde_json::{Map, json};

    fn call(messages: &Value) -> Call {
        Call {
            dialect: Dialect::OpenAi,
            multimodal: false,
            stream: false,
            model_id: "qwen-plus".to_owned(),
            model: crate::call::find_model("qwen-plus", &[]).unwrap(),
            messages: messages.as_array().unwrap().clone(),
            wrap: Wrap::Chat,
            parameters: Map::new(),
        }
    }

    fn marked(text: &str) -> Value {
        json!({ "type": "text", "text": text, "cache_control": { "type": "ephemeral" } })
    }

    fn asked(question: &str) -> Call {
        let long = "a long text about nothing. ".repeat(300);
        call(&json!([{ "role": "system", "content": [marked(&long)] },
            { "role": "user", "content": question }]))
    }

    #[test]
    fn a_marked_beginning_lives_for_five_minutes_after_its_last_use() {
        let cache = Cache::default();
        let now = Instant::now();
        let first = cache.look("a", &asked("one"), true, now);
        assert!(first.created >= SHORTEST && first.cached == 0, "{first:?}");
        let minutes = |count| now + Duration::from_mins(count);
        let other = cache.look("b", &asked("one"), true, now);
        assert_eq!(other.cached, 0, "another account's");
        for at in [4, 8, 12] {
            let later = cache.look("a", &asked("two"), true, minutes(at));
            assert_eq!((later.cached, later.created), (first.created, 0));
        }
        let late = cache.look("a", &asked("two"), true, minutes(18));
        assert_eq!((late.cached, late.created), (0, first.created));
    }

    #[test]
    fn only_the_last_four_markers_count_and_they_grow_on_each_other() {
        let cache = Cache::default();
        let now = Instant::now();
        let part = "word ".repeat(1100);
        let parts: Vec<Value> = (0..6).map(|n| marked(&format!("{n} {part}"))).collect();
        let of = |count: usize| call(&json!([{ "role": "user", "content": parts[..count] }]));
        let six = cache.look("a", &of(6), true, now);
        assert!(six.created > 6 * 1000);
        assert_eq!(cache.look("a", &of(2), true, now).cached, 0);
        assert!(cache.look("a", &of(3), true, now).cached > 0);
    }

    #[test]
    fn a_beginning_that_was_sent_before_is_cached_without_markers_too() {
        let cache = Cache::default();
        let now = Instant::now();
        let text = "一段很长的文字。".repeat(400);
        let of = |question: &str| {
            call(&json!([{ "role": "user", "content": format!("{text}{question}") }]))
        };
        assert_eq!(cache.look("a", &of("?"), true, now), CacheUse::default());
        let again = cache.look("a", &of("!"), true, now);
        assert!(again.cached >= SHORTEST && !again.is_explicit, "{again:?}");
        assert_eq!(cache.look("a", &of("!"), false, now).cached, 0);
        let short = call(&json!([{ "role": "user", "content": "你好" }]));
        cache.look("a", &short, true, now);
        assert_eq!(cache.look("a", &short, true, now).cached, 0);
    }
}
