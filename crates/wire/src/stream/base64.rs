//! Joins pieces of base64 that were encoded one by one.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends `piece` so that the whole decodes to both contents, one after the other. Padding in the
/// middle would end the sound for most decoders.
pub(super) fn append(joined: &mut String, piece: &str) {
    let seam = joined.trim_end_matches('=').len();
    let group = seam - seam % 4;
    let again = joined.get(group..seam).filter(|open| !open.is_empty());
    let contents = again.and_then(|open| {
        let mut contents = decode(open)?;
        contents.extend(decode(piece)?);
        Some(contents)
    });
    match contents {
        Some(contents) => {
            joined.truncate(group);
            encode(&contents, joined);
        }
        // Nothing to mend, or no base64 at all: then the pieces are passed on as they are.
        None => joined.push_str(piece),
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut contents = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.as_bytes().chunks(4) {
        let mut bits = 0u32;
        for place in 0..4 {
            let sextet = group.get(place).map_or(Some(0), |c| sextet(*c))?;
            bits = bits << 6 | sextet;
        }
        let [_, bytes @ ..] = bits.to_be_bytes();
        contents.extend(&bytes[..group.len() * 6 / 8]);
    }
    Some(contents)
}

fn sextet(c: u8) -> Option<u32> {
    let value = match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

fn encode(contents: &[u8], out: &mut String) {
    out.reserve(contents.len().div_ceil(3) * 4);
    for group in contents.chunks(3) {
        let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4u32 {
            let letter = if place as usize > group.len() {
                '='
            } else {
                ALPHABET[(bits >> (18 - 6 * place) & 63) as usize].into()
            };
            out.push(letter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_pieces_decode_to_the_joined_contents() {
        let contents: Vec<u8> = (0..=255).collect();
        for size in 1..12 {
            let mut joined = String::new();
            for piece in contents.chunks(size) {
                let mut encoded = String::new();
                encode(piece, &mut encoded);
                append(&mut joined, &encoded);
            }
            let mut whole = String::new();
            encode(&contents, &mut whole);
            assert_eq!(joined, whole, "pieces of {size} bytes");
            assert_eq!(decode(&joined).unwrap(), contents);
        }
    }

    #[test]
    fn what_is_no_base64_is_passed_on() {
        let mut joined = "你好=".to_owned();
        append(&mut joined, "!?");
        assert_eq!(joined, "你好=!?");
    }
}
