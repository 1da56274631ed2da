//! How long, how much and in which form answers are kept.

use std::time::Duration;

use http_body_util::BodyExt as _;

use super::played::{DONE, FINISH, FRAME, Stage, json, plain, question, stream, streamed};
use super::result;
use super::support::with;

#[tokio::test]
async fn an_answer_ends_with_its_time() {
    let stage = Stage::new("ttl = \"10m\"");
    stage.miss(question(1, false), plain("一")).await;
    stage.turn(Duration::from_secs(599));
    let (headers, _) = stage.ask(question(1, false)).await;
    assert_eq!(result(&headers), Some("hit"));
    assert_eq!(headers["age"], "599");
    stage.turn(Duration::from_secs(1));
    stage.miss(question(1, false), plain("二")).await;
}

#[tokio::test]
async fn a_caller_says_how_old_an_answer_may_be() {
    let stage = Stage::new("");
    stage.miss(question(1, false), plain("一")).await;
    stage.turn(Duration::from_mins(6));
    let young = with(question(1, false), "x-bailian-cache", "10m");
    let (headers, _) = stage.ask(young).await;
    assert_eq!(result(&headers), Some("hit"));
    let young = with(question(1, false), "x-bailian-cache", "5m");
    stage.miss(young, plain("二")).await;
    // The younger one has taken its place, for the time that its caller said.
    let (_, text) = stage.ask(question(1, false)).await;
    assert!(text.contains('二'));
    stage.turn(Duration::from_mins(5));
    stage.miss(question(1, false), plain("三")).await;
}

#[tokio::test]
async fn the_answers_that_were_not_used_for_longest_give_way() {
    let stage = Stage::new("max_bytes = 5000\nmax_entry_bytes = 1000");
    // Three of them have a place.
    let long = "x".repeat(700);
    for number in 0..3 {
        stage.miss(question(number, false), plain(&long)).await;
    }
    let (headers, _) = stage.ask(question(0, false)).await;
    assert_eq!(result(&headers), Some("hit"));
    stage.miss(question(3, false), plain(&long)).await;
    let (headers, _) = stage.ask(question(0, false)).await;
    assert_eq!(result(&headers), Some("hit"));
    stage.miss(question(1, false), plain(&long)).await;
}

#[tokio::test]
async fn an_answer_that_is_too_long_passes_and_is_not_kept() {
    let stage = Stage::new("max_entry_bytes = 400");
    for _ in 0..2 {
        let long = "长".repeat(200);
        let (_, text) = stage.miss(question(1, false), plain(&long)).await;
        assert!(text.contains(&long));
        let pieces = [FRAME, FRAME, FRAME, FRAME, FRAME, FINISH, DONE];
        let (_, text) = stage.miss(question(1, true), streamed(&pieces)).await;
        assert_eq!(text, pieces.concat());
    }
    let short = [FRAME, FINISH, DONE];
    stage.miss(question(2, true), streamed(&short)).await;
    let (headers, _) = stage.ask(question(2, true)).await;
    assert_eq!(result(&headers), Some("hit"));
}

#[tokio::test]
async fn a_stream_is_replayed_frame_by_frame_without_comments() {
    let stage = Stage::new("");
    let pieces = [": keep-alive\n\n", FRAME, FRAME, ": x\n\n", FINISH, DONE];
    stage.miss(question(1, true), streamed(&pieces)).await;
    let mut body = stage.send(question(1, true)).await.into_body();
    let mut frames = Vec::new();
    while let Some(frame) = body.frame().await {
        frames.push(frame.unwrap().into_data().unwrap());
    }
    assert_eq!(frames, [FRAME, FRAME, FINISH, DONE]);
    assert_eq!(stage.asked(), 1);
}

#[tokio::test]
async fn streams_that_are_still_coming_have_a_bound_together() {
    // As much as one of these streams takes when it is kept; less than both have of frames.
    let pieces = [[FRAME; 9].as_slice(), &[FINISH, DONE]].concat();
    let stage = Stage::new("max_bytes = 1500\nmax_entry_bytes = 1000");
    let (one, answer) = stream();
    let (first, ()) = tokio::join!(stage.send(question(1, true)), stage.answer(answer));
    let (other, answer) = stream();
    let (second, ()) = tokio::join!(stage.send(question(2, true)), stage.answer(answer));
    for piece in &pieces {
        one.send(piece).unwrap();
        other.send(piece).unwrap();
    }
    let (mut first, mut second) = (first.into_body(), second.into_body());
    // Both have their frames but for the last.
    for body in [&mut first, &mut second] {
        for _ in 0..pieces.len() - 1 {
            assert!(body.frame().await.is_some());
        }
    }
    drop((one, other));
    for body in [first, second] {
        assert_eq!(body.collect().await.unwrap().to_bytes(), DONE);
    }
    let (headers, _) = stage.ask(question(1, true)).await;
    assert_eq!(result(&headers), Some("hit"));
    stage.miss(question(2, true), streamed(&pieces)).await;
    // The room was given back.
    let (headers, _) = stage.ask(question(2, true)).await;
    assert_eq!(result(&headers), Some("hit"));
}

#[tokio::test]
async fn what_upstream_forbids_to_store_is_not_kept() {
    let stage = Stage::new("");
    for _ in 0..2 {
        let mut answer = plain("一");
        let line = "private, no-store".parse().unwrap();
        answer.headers_mut().insert("cache-control", line);
        stage.miss(question(1, false), answer).await;
    }
}

#[tokio::test]
async fn an_answer_with_a_link_is_kept_no_longer_than_the_link() {
    let stage = Stage::new("");
    // The stage's clock begins at 1,700,000,000 s.
    let linked = || {
        json(
            r#"{"choices":[{"finish_reason":"stop","message":{"audio":{"expires_at":1700000060}}}]}"#,
        )
    };
    stage.miss(question(1, false), linked()).await;
    stage.turn(Duration::from_secs(59));
    let (headers, _) = stage.ask(question(1, false)).await;
    assert_eq!(result(&headers), Some("hit"));
    stage.turn(Duration::from_secs(1));
    for _ in 0..2 {
        stage.miss(question(1, false), linked()).await;
    }
}

#[tokio::test]
async fn a_kept_answer_needs_no_permit() {
    let stage = Stage::with("", "requests = [\"1/1h\"]\nexact = true");
    stage.miss(question(1, false), plain("一")).await;
    for _ in 0..5 {
        let (headers, _) = stage.ask(question(1, false)).await;
        assert_eq!(result(&headers), Some("hit"));
    }
    let response = stage.send(question(2, false)).await;
    assert_eq!(response.status(), 429, "the lane has no more");
}
