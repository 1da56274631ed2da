use bytes::Bytes;

use super::super::frames::FrameCutter;
use super::super::scan::scan;
use super::*;

const NATIVE: &str = "id:1\nevent:result\n:HTTP_STATUS/200\n\
    data:{\"output\":{\"text\":\"你\"},\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}\n\n\
    id:2\nevent:result\n:HTTP_STATUS/200\n\
    data:{\"output\":{\"text\":\"好\"},\"usage\":{\"input_tokens\":9,\"output_tokens\":2}}\n\n";

const OPENAI: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a \\\"usage\\\":{ b\"}}],\"usage\":null}\n\n\
    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":null,\"total_tokens\":7}}\n\n\
    data: [DONE]\n\n";

fn tap_in_pieces(stream: &str, size: usize) -> Option<TokenCounts> {
    let mut tap = EventTap::default();
    let mut cutter = FrameCutter::default();
    for piece in stream.as_bytes().chunks(size) {
        let frames = cutter.push(Bytes::copy_from_slice(piece));
        if let Some(at) = scan(&frames, |_| {}).report {
            tap.note(&frames[at..]);
        }
    }
    tap.usage()
}

#[test]
fn the_last_report_counts_however_the_stream_is_cut() {
    for size in 1..=NATIVE.len() {
        let usage = tap_in_pieces(NATIVE, size);
        assert_eq!(
            usage,
            Some(TokenCounts {
                input_tokens: 9,
                output_tokens: 2,
                ..TokenCounts::default()
            }),
            "pieces of {size}"
        );
    }
}

#[test]
fn openai_words_are_read_and_text_that_looks_like_usage_is_not() {
    for size in 1..=OPENAI.len() {
        let usage = tap_in_pieces(OPENAI, size);
        assert_eq!(
            usage,
            Some(TokenCounts {
                input_tokens: 7,
                output_tokens: 0,
                ..TokenCounts::default()
            }),
            "pieces of {size}"
        );
    }
}

#[test]
fn a_stream_without_usage_reports_none() {
    assert_eq!(
        tap_in_pieces(
            "data: {\"choices\":[],\"usage\":null}\n\ndata: [DONE]\n\n",
            1024
        ),
        None
    );
}

#[test]
fn a_plain_answer_is_read_whatever_the_order_of_its_members() {
    for answer in [
        r#"{"usage":{"prompt_tokens":5,"completion_tokens":6},"choices":[]}"#,
        r#"{"output":{"text":"a \"usage\":{ b"},"usage": {"input_tokens":5,"output_tokens":6}}"#,
    ] {
        let usage = usage_of(answer.as_bytes());
        assert_eq!(
            usage,
            Some(TokenCounts {
                input_tokens: 5,
                output_tokens: 6,
                ..TokenCounts::default()
            }),
            "{answer}"
        );
    }
    assert_eq!(usage_of(br#"{"choices":[],"usage":null}"#), None);
    assert_eq!(usage_of(b"{\"usage\":{"), None);
}
