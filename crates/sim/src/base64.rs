//! Base64 (RFC 4648 §4), as far as media need it: encoding, and reading the beginning of a data URL.

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Encodes bytes, with padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, at| {
            bits << 8 | u32::from(group.get(at).copied().unwrap_or(0))
        });
        for at in 0..4 {
            if at <= group.len() {
                let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
                out.push(char::from(letter));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// The first bytes that `text` stands for, at most about `most`; what is no Base64 ends it.
pub(crate) fn decode_beginning(text: &str, most: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(most.min(text.len() / 4 * 3 + 3));
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xFF) as u8);
            if out.len() >= most {
                break;
            }
        }
    }
    out
}

/// How many bytes `text` stands for.
pub(crate) fn decoded_length(text: &str) -> u64 {
    text.trim_end_matches('=').len() as u64 * 3 / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_read_again() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"\xff\xfe\xfd\x00", "//79AA=="),
        ] {
            assert_eq!(encode(bytes), text);
            assert_eq!(decode_beginning(text, 100), bytes);
            assert_eq!(decoded_length(text), bytes.len() as u64);
        }
        assert_eq!(decode_beginning("Zm9vYmFy", 2), b"fo");
        assert_eq!(decode_beginning("Zm!v", 9), b"f");
    }
}
