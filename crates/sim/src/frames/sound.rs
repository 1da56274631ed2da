//! The sound of spoken answers: 24 kHz, mono, signed 16-bit, without a header (compat.md §2.11).

use std::ops::Range;

use crate::base64::encode;

/// 40 milliseconds.
const SAMPLES_PER_TOKEN: usize = 960;
const RATE: usize = 24_000;
const PITCH: usize = 440;
const LOUDNESS: usize = 8_000;

/// These tokens of a tone, in Base64.
pub(super) fn tone(tokens: Range<usize>) -> String {
    let samples = tokens.start * SAMPLES_PER_TOKEN..tokens.end * SAMPLES_PER_TOKEN;
    let bytes: Vec<u8> = samples.flat_map(|at| sample(at).to_le_bytes()).collect();
    encode(&bytes)
}

/// A triangle: the same on every machine.
fn sample(at: usize) -> i16 {
    let phase = at % RATE * PITCH % RATE;
    let height = phase.abs_diff(RATE / 2) * LOUDNESS * 2 / RATE;
    i16::try_from(height).unwrap_or(0) - 4_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_forty_milliseconds_and_tokens_follow_each_other() {
        assert_eq!(tone(0..3).len(), 3 * 960 * 2 / 3 * 4);
        assert_eq!(format!("{}{}", tone(0..1), tone(1..2)), tone(0..2));
        assert!((0..200).map(sample).any(|height| height < -3_000));
        assert!((0..200).map(sample).any(|height| height > 3_000));
    }
}
