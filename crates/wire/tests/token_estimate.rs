//! The estimate of tokens against the tokenizer whose vocabulary the official client ships.

#![allow(
    clippy::unwrap_used,
    reason = "a test may stop at what it did not expect"
)]

use bailian_wire::tokens::estimate_text;

/// Texts by kind. The figures of the estimate were chosen with all of these in view.
const CHINESE: &str = include_str!("tokens/chinese.txt");
const ENGLISH: &str = include_str!("tokens/english.txt");
const MIXED: &str = include_str!("tokens/mixed.txt");
const CODE: [&str; 7] = [
    include_str!("../src/sse/decoder.rs"),
    include_str!("../src/error/classify.rs"),
    include_str!("tokens/code.py.txt"),
    include_str!("tokens/code.js.txt"),
    include_str!("tokens/code.sql.txt"),
    include_str!("../Cargo.toml"),
    include_str!("tokens/log.txt"),
];
const MARKDOWN: [&str; 3] = [
    include_str!("../../../README.md"),
    include_str!("../../../README.zh-CN.md"),
    include_str!("../../../docs/gateway.md"),
];

/// Texts that were added after the figures had been chosen, and that no figure is chosen by. They
/// judge the estimate.
const HELD_OUT: [&str; 8] = [
    include_str!("tokens/held_out.txt"),
    include_str!("../../../docs/architecture.md"),
    include_str!("../../../docs/simulator.md"),
    include_str!("../../../docs/dependencies.md"),
    include_str!("../src/chat/usage.rs"),
    include_str!("../../quota/src/share/redis/renew.lua"),
    include_str!("../../../conformance/python/tests/test_chat.py"),
    include_str!("../../../conformance/node/test/chat.test.mjs"),
];

/// A text's kind and its content.
type Sample = (&'static str, String);

/// Adds pieces of many lengths, from a few characters to the whole.
fn add(samples: &mut Vec<Sample>, kind: &'static str, text: &str) {
    let chars: Vec<char> = text.chars().collect();
    for offset in [0, 37, 90] {
        let mut start = offset;
        for length in [24, 45, 80, 150, 300, 600, 1_200, 2_500]
            .into_iter()
            .cycle()
        {
            let Some(piece) = chars.get(start..start + length) else {
                break;
            };
            samples.push((kind, piece.iter().collect()));
            start += length;
        }
    }
    samples.push((kind, text.to_owned()));
}

fn corpus() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (kind, texts) in [("chinese", CHINESE), ("english", ENGLISH), ("mixed", MIXED)] {
        for paragraph in texts.split("\n\n") {
            add(&mut samples, kind, paragraph);
        }
    }
    for text in CODE {
        add(&mut samples, "code", text);
    }
    for text in MARKDOWN {
        add(&mut samples, "markdown", text);
    }
    samples
}

/// The prose by paragraphs, each of them as often as a file of code or of documentation.
fn held_out() -> Vec<Sample> {
    let mut samples = Vec::new();
    for paragraph in HELD_OUT[0].split("\n\n") {
        add(&mut samples, "prose", paragraph);
    }
    for text in &HELD_OUT[1..] {
        add(&mut samples, "file", text);
    }
    samples
}

fn errors(samples: &[Sample]) -> Vec<(f64, &Sample, usize, u64)> {
    let tokenizer = tiktoken::get_encoding("qwen2").unwrap();
    let mut errors: Vec<_> = samples
        .iter()
        .filter(|(_, text)| !text.trim().is_empty())
        .map(|sample| {
            let truth = tokenizer.count(&sample.1);
            let estimate = estimate_text(&sample.1);
            let error = (estimate as f64 - truth as f64).abs() / truth.max(1) as f64;
            (error, sample, truth, estimate)
        })
        .collect();
    errors.sort_by(|a, b| a.0.total_cmp(&b.0));
    errors
}

#[test]
fn the_estimate_is_near_the_official_tokenizer() {
    let judges = held_out();
    let errors = errors(&judges);
    assert!(errors.len() >= 150, "{}", errors.len());
    let (median, p95) = (
        errors[errors.len() / 2].0,
        errors[errors.len() * 95 / 100].0,
    );
    let worst: Vec<_> = errors.iter().rev().take(5).collect();
    assert!(median <= 0.10, "median {median}: {worst:?}");
    assert!(p95 <= 0.30, "p95 {p95}: {worst:?}");
}

#[test]
fn every_kind_of_text_is_estimated_well() {
    let samples = corpus();
    for kind in ["chinese", "english", "mixed", "code", "markdown"] {
        let own: Vec<Sample> = samples
            .iter()
            .filter(|sample| sample.0 == kind)
            .cloned()
            .collect();
        let errors = errors(&own);
        let median = errors[errors.len() / 2].0;
        let sums = errors.iter().map(|error| (error.2 as f64, error.3 as f64));
        let (truth, estimate) = sums.fold((0.0, 0.0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
        assert!(
            (0.85..1.15).contains(&(estimate / truth)),
            "{kind}: {estimate} of {truth}"
        );
        assert!(median <= 0.15, "{kind}: {median}");
    }
}
