//! Sentences in the language of the prompt.

use serde_json::Value;

use crate::tokens::Tokens;

const ENGLISH: [&str; 8] = [
    "That is a good question.",
    "Let me explain it step by step.",
    "In short, it depends on what you want to achieve.",
    "There are three things to keep in mind.",
    "First, look at the facts; then decide.",
    "A small example makes it clearer.",
    "I hope this helps, and feel free to ask for more.",
    "Most people find this easier than it sounds.",
];

const CHINESE: [&str; 8] = [
    "这是一个很好的问题。",
    "让我一步一步地说明。",
    "简单来说，这取决于您的目标。",
    "有三点需要注意。",
    "首先看事实，然后再做决定。",
    "举一个小例子会更清楚。",
    "希望这些内容对您有帮助，欢迎继续提问😀。",
    "大多数人会发现这并不难。",
];

pub(super) fn is_chinese(text: &str) -> bool {
    text.chars()
        .any(|c| matches!(u32::from(c), 0x4E00..=0x9FFF | 0x3400..=0x4DBF))
}

pub(super) fn answer(prompt: &str, rng: &mut fastrand::Rng) -> String {
    let (opening, sentences, gap) = if is_chinese(prompt) {
        ("我是通义千问的模拟器。", CHINESE, "")
    } else {
        ("I am a simulation of Qwen. ", ENGLISH, " ")
    };
    let mut order: Vec<usize> = (0..sentences.len()).collect();
    rng.shuffle(&mut order);
    let chosen: Vec<&str> = order
        .into_iter()
        .take(rng.usize(2..6))
        .map(|place| sentences[place])
        .collect();
    format!("{opening}{}", chosen.join(gap))
}

pub(super) fn reasoning(prompt: &str, rng: &mut fastrand::Rng) -> String {
    let topic: String = prompt.chars().take(24).collect();
    let steps = rng.usize(1..4);
    if is_chinese(prompt) {
        let step = "先理解问题，再组织语言。".repeat(steps);
        format!("用户问的是“{topic}”。{step}")
    } else {
        let step = "I should understand the question and then answer it. ".repeat(steps);
        format!("The user asks: \"{topic}\". {}", step.trim_end())
    }
}

pub(super) fn continuation(beginning: &str, rng: &mut fastrand::Rng) -> String {
    let (chinese, english) = ("，接着就是后面的内容。", " and so it goes on to its end.");
    let count = rng.usize(1..3);
    if is_chinese(beginning) {
        chinese.repeat(count)
    } else {
        english.repeat(count)
    }
}

/// The text with the terms of `translation_options` put in, marked with the language.
pub(super) fn translation(text: &str, options: &Value) -> String {
    let mut translated = text.to_owned();
    for term in options["terms"].as_array().into_iter().flatten() {
        if let (Some(source), Some(target)) = (term["source"].as_str(), term["target"].as_str())
            && !source.is_empty()
        {
            translated = translated.replace(source, target);
        }
    }
    let language = options["target_lang"].as_str().unwrap_or("English");
    if language.eq_ignore_ascii_case("chinese") {
        format!("（译文）{translated}")
    } else {
        format!("[{language}] {translated}")
    }
}

pub(super) fn seen(media: &[&str], prompt: &str) -> String {
    if media.is_empty() {
        String::new()
    } else if is_chinese(prompt) {
        format!("我收到了：{}。", media.join("、"))
    } else {
        format!("I received: {}. ", media.join(", "))
    }
}

/// So many tokens, one word each.
pub(super) fn exactly(count: usize) -> Tokens {
    const WORDS: [&str; 8] = [
        " tango", " alpha", " bravo", " delta", " echo", " kilo", " lima", " oscar",
    ];
    Tokens::from_words((0..count).map(|place| match place {
        0 => "Ready",
        place => WORDS[place % WORDS.len()],
    }))
}
