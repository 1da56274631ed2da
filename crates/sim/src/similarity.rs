//! Vectors of texts: the same for the same text, of length one, nearer for texts that share words
//! and turns of phrase.

use crate::tokens::Tokens;

/// FNV-1a: the same on every machine and in every version.
fn hash(bytes: &[u8], seed: u64) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ seed;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^ (hash >> 29)
}

/// Words and pairs of characters, each with its weight.
fn features(text: &str) -> Vec<(String, f64)> {
    let lower = text.to_lowercase();
    let mut features = Vec::new();
    for word in lower.split(|c: char| !c.is_alphanumeric()) {
        if word.is_ascii() && !word.is_empty() {
            features.push((word.to_owned(), 1.0));
        }
        let chars: Vec<char> = word.chars().collect();
        let weight = if word.is_ascii() { 0.3 } else { 1.0 };
        for pair in chars.windows(2) {
            features.push((pair.iter().collect(), weight));
        }
        if !word.is_ascii() {
            features.extend(chars.iter().map(|c| (c.to_string(), 0.7)));
        }
    }
    features
}

/// The vector of a text. A text without a word has one, too.
pub(crate) fn embed(text: &str, dimensions: usize) -> Vec<f64> {
    let mut vector = vec![0.0; dimensions];
    let mut add = |feature: &str, weight: f64| {
        // Several places for each feature, so that two of them seldom meet in all.
        for turn in 0..4 {
            let hash = hash(feature.as_bytes(), turn);
            let place = usize::try_from(hash % dimensions.max(1) as u64).unwrap_or(0);
            let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
            if let Some(value) = vector.get_mut(place) {
                *value += sign * weight;
            }
        }
    };
    for (feature, weight) in features(text) {
        add(&feature, weight);
    }
    add(text, 0.1);
    let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
    for value in &mut vector {
        *value /= length.max(f64::MIN_POSITIVE);
    }
    vector
}

/// How near two texts are, between 0 and 1.
pub(crate) fn similarity(one: &str, other: &str) -> f64 {
    let (one, other) = (embed(one, 1024), embed(other, 1024));
    let cosine: f64 = one.iter().zip(&other).map(|(a, b)| a * b).sum();
    cosine.clamp(0.0, 1.0)
}

/// Tokens of a text with weights: the place in the vocabulary, the weight, the token.
pub(crate) fn sparse(text: &str) -> Vec<(u64, f64, String)> {
    let tokens = Tokens::split(text);
    let mut entries: Vec<(u64, f64, String)> = Vec::new();
    for at in 0..tokens.len() {
        let token = tokens.slice(at..at + 1).trim();
        if token.is_empty() {
            continue;
        }
        let hash = hash(token.as_bytes(), 7);
        let index = hash % 250_002;
        if entries.iter().all(|(known, ..)| *known != index) {
            let weight = 0.5 + (hash >> 40) as f64 / f64::from(1u32 << 25);
            entries.push((index, weight, token.to_owned()));
        }
    }
    entries.sort_by_key(|(index, ..)| *index);
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paraphrase_is_nearer_than_something_else() {
        for (text, near, far) in [
            (
                "How do I reset my password?",
                "reset the password of my account",
                "The weather is nice today",
            ),
            (
                "文本排序模型广泛用于搜索引擎",
                "什么是文本排序模型",
                "量子计算是计算科学的前沿领域",
            ),
        ] {
            assert!(
                similarity(text, near) > similarity(text, far) + 0.1,
                "{text}"
            );
        }
    }

    #[test]
    fn vectors_have_length_one_even_of_nothing() {
        for text in ["", " ", "😀", "你好"] {
            let length: f64 = embed(text, 64).iter().map(|value| value * value).sum();
            assert!((length - 1.0).abs() < 1e-9, "{text}");
        }
    }
}
