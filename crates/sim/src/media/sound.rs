//! How long a sound is (compat.md §2.11).

use crate::base64::{decode_beginning, decoded_length};

/// For each second that has begun.
pub(super) const TOKENS_PER_SECOND: u64 = 25;
/// How long what is behind a URL is taken to be.
const SECONDS_OF_URL: u64 = 5;
/// How many bytes of a data URL that is no WAV are taken for a second: 128 kbit/s.
const BYTES_PER_SECOND: u64 = 16_000;
/// How much of a file is looked at for its header.
const HEADER: usize = 4096;

/// The seconds that have begun, at least one.
pub(super) fn started_seconds(url: &str) -> u64 {
    let Some(encoded) = url.strip_prefix("data:") else {
        return SECONDS_OF_URL;
    };
    let encoded = encoded.split_once(',').map_or("", |(_, data)| data);
    let length = decoded_length(encoded);
    let header = decode_beginning(encoded, HEADER);
    let seconds = wav_seconds(&header, length);
    seconds
        .unwrap_or_else(|| length.div_ceil(BYTES_PER_SECOND))
        .max(1)
}

/// The length of a WAV file of `length` bytes in whole seconds, rounded up.
fn wav_seconds(header: &[u8], length: u64) -> Option<u64> {
    if header.get(..4)? != b"RIFF" || header.get(8..12)? != b"WAVE" {
        return None;
    }
    let number = |at: usize| {
        let bytes: [u8; 4] = header.get(at..at + 4)?.try_into().ok()?;
        Some(u64::from(u32::from_le_bytes(bytes)))
    };
    let (mut at, mut rate) = (12, None);
    loop {
        let size = number(at + 4)?;
        match header.get(at..at + 4)? {
            b"fmt " => rate = number(at + 16).filter(|rate| *rate > 0),
            b"data" => {
                // A streamed file says 0 or the largest number; its own length is the truth then.
                let there = length.saturating_sub(at as u64 + 8);
                let size = if size == 0 { there } else { size.min(there) };
                return Some(size.div_ceil(rate?));
            }
            _ => {}
        }
        at += 8 + usize::try_from(size + size % 2).ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base64::encode;

    fn wav(seconds_of_data: u32, rate: u32) -> String {
        let data = vec![0; (seconds_of_data * rate) as usize];
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        file.extend((rate / 2).to_le_bytes());
        file.extend(rate.to_le_bytes());
        file.extend(b"\x02\0\x10\0data");
        file.extend((seconds_of_data * rate).to_le_bytes());
        file.extend(data);
        format!("data:audio/wav;base64,{}", encode(&file))
    }

    #[test]
    fn the_header_of_a_wav_file_tells_its_length() {
        assert_eq!(started_seconds(&wav(3, 32_000)), 3);
        assert_eq!(started_seconds(&wav(7, 16_000)), 7);
        assert_eq!(started_seconds(&wav(0, 16_000)), 1);
    }

    #[test]
    fn other_sounds_have_a_fixed_length() {
        assert_eq!(started_seconds("https://example.com/a.mp3"), 5);
        let mp3 = format!("data:audio/mpeg;base64,{}", encode(&[1; 16_001]));
        assert_eq!(started_seconds(&mp3), 2);
        assert_eq!(started_seconds("data:;base64,"), 1);
    }
}
