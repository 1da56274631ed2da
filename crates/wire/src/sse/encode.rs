//! Writes events as the service does.

use std::fmt::Write as _;

use bytes::{BufMut as _, BytesMut};

/// Appends `data: <data>` and a blank line: a chunk of the OpenAI-compatible protocol
/// (compat.md §2.14). `data` must not hold line ends; JSON never does.
pub fn write_data_frame(out: &mut BytesMut, data: &[u8]) {
    out.reserve(data.len() + 8);
    out.put_slice(b"data: ");
    out.put_slice(data);
    out.put_slice(b"\n\n");
}

/// Appends the five lines of a native frame (http-native.md §3.2), without a space after the
/// colons: the official 1.x client compares event names unstripped.
pub fn write_native_frame(out: &mut BytesMut, id: u64, event: &str, status: u16, data: &[u8]) {
    out.reserve(data.len() + 64);
    // Writing into a BytesMut cannot fail.
    let _infallible = write!(out, "id:{id}\nevent:{event}\n:HTTP_STATUS/{status}\ndata:");
    out.put_slice(data);
    out.put_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_native_frame_is_exactly_what_was_recorded() {
        let mut out = BytesMut::new();
        write_native_frame(&mut out, 1, "result", 200, br#"{"output":{}}"#);
        assert_eq!(
            out,
            &b"id:1\nevent:result\n:HTTP_STATUS/200\ndata:{\"output\":{}}\n\n"[..]
        );
    }
}
