//! Equal requests at the same time, whatever becomes of the first.

use std::pin::pin;

use futures_util::poll;
use http_body_util::BodyExt as _;

use super::played::{DONE, FINISH, FRAME, Stage, plain, question, stream, streamed, whole};
use super::result;

#[tokio::test]
async fn who_waits_gets_the_first_ones_answer() {
    let stage = Stage::new("");
    for stream in [false, true] {
        let mut first = pin!(stage.ask(question(1, stream)));
        let mut second = pin!(stage.ask(question(1, stream)));
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        let before = stage.asked();
        let answer = if stream {
            streamed(&[FRAME, FINISH, DONE])
        } else {
            plain("一")
        };
        stage.answer(answer).await;
        let ((one, text), (other, again)) = tokio::join!(first, second);
        assert_eq!((result(&one), result(&other)), (Some("miss"), Some("wait")));
        assert_eq!(text, again);
        assert_eq!(stage.asked(), before);
    }
}

#[tokio::test]
async fn when_the_first_leaves_before_its_answer_the_next_asks() {
    let stage = Stage::new("");
    let mut first = Box::pin(stage.ask(question(1, false)));
    let mut second = pin!(stage.ask(question(1, false)));
    let mut third = pin!(stage.ask(question(1, false)));
    assert!(poll!(&mut first).is_pending());
    assert!(poll!(&mut second).is_pending() && poll!(&mut third).is_pending());
    drop(first);
    assert!(poll!(&mut second).is_pending() && poll!(&mut third).is_pending());
    assert_eq!(stage.asked(), 2);
    stage.answer(plain("一")).await;
    let ((one, _), (other, _)) = tokio::join!(second, third);
    assert_eq!((result(&one), result(&other)), (Some("miss"), Some("wait")));
    assert_eq!(stage.asked(), 2);
}

#[tokio::test]
async fn when_the_first_leaves_within_its_stream_the_next_asks() {
    let stage = Stage::new("");
    let (frames, answer) = stream();
    let (response, ()) = tokio::join!(stage.send(question(1, true)), stage.answer(answer));
    let mut second = pin!(stage.ask(question(1, true)));
    assert!(poll!(&mut second).is_pending());
    let mut body = response.into_body();
    frames.send(FRAME).unwrap();
    assert!(body.frame().await.is_some());
    drop(body);
    let answered = stage.answer(streamed(&[FRAME, FINISH, DONE]));
    let ((headers, text), ()) = tokio::join!(second, answered);
    assert_eq!(result(&headers), Some("miss"));
    assert_eq!(text, [FRAME, FINISH, DONE].concat());
}

#[tokio::test]
async fn when_the_first_stream_fails_who_waits_asks_by_itself() {
    let stage = Stage::new("");
    let mut first = pin!(stage.ask(question(1, true)));
    let mut second = pin!(stage.ask(question(1, true)));
    let mut third = pin!(stage.ask(question(1, true)));
    assert!(poll!(&mut first).is_pending());
    assert!(poll!(&mut second).is_pending() && poll!(&mut third).is_pending());
    let error = "data: {\"error\":{\"message\":\"no\",\"code\":\"invalid_parameter_error\"}}\n\n";
    stage.answer(streamed(&[FRAME, error])).await;
    let (_, text) = first.await;
    assert!(text.ends_with(error), "{text}");
    assert!(poll!(&mut second).is_pending() && poll!(&mut third).is_pending());
    // Both at once: neither waits for the other.
    assert_eq!(stage.asked(), 3);
    stage.answer(streamed(&[FRAME, FINISH, DONE])).await;
    stage.answer(streamed(&[FRAME, FINISH, DONE])).await;
    for (headers, text) in [second.await, third.await] {
        assert_eq!(result(&headers), Some("miss"));
        assert_eq!(text, [FRAME, FINISH, DONE].concat());
    }
}

#[tokio::test]
async fn a_stream_that_went_on_after_a_break_is_not_kept() {
    let stage = Stage::new("");
    let broken = || streamed(&[FRAME]);
    let mut first = pin!(stage.ask(question(1, true)));
    assert!(poll!(&mut first).is_pending());
    stage.answer(broken()).await;
    let ((_, text), ()) = tokio::join!(first, stage.answer(streamed(&[FRAME, FINISH, DONE])));
    assert!(text.contains(": x-bailian-resumed"), "{text}");
    assert!(text.ends_with(DONE), "{text}");
    stage
        .miss(question(1, true), streamed(&[FRAME, FINISH, DONE]))
        .await;
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_long_enough_asks_by_itself() {
    let stage = Stage::new("wait = \"2s\"");
    let (_slow, answer) = stream();
    let (first, ()) = tokio::join!(stage.send(question(1, true)), stage.answer(answer));
    let second = stage.miss(question(1, true), streamed(&[FRAME, FINISH, DONE]));
    let (_, text) = second.await;
    assert_eq!(text, [FRAME, FINISH, DONE].concat());
    // Its answer serves others, although the first has none yet.
    let (headers, _) = stage.ask(question(1, true)).await;
    assert_eq!((result(&headers), stage.asked()), (Some("hit"), 2));
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn the_client_of_a_stream_hears_while_it_waits_that_the_connection_lives() {
    let stage = Stage::new("wait = \"30s\"");
    let mut first = pin!(stage.send(question(1, true)));
    assert!(poll!(&mut first).is_pending());
    let (frames, answer) = stream();
    stage.answer(answer).await;
    let first = first.await;
    // The head comes while the first one's stream is still open.
    let second = stage.send(question(1, true)).await;
    assert_eq!(result(second.headers()), Some("wait"));
    assert_eq!(second.headers()["content-type"], "text/event-stream");
    let mut second = second.into_body();
    for _ in 0..2 {
        let comment = second.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(comment, ": in line\n\n");
    }
    for frame in [FRAME, FINISH, DONE] {
        frames.send(frame).unwrap();
    }
    drop(frames);
    whole(first).await;
    let rest = second.collect().await.unwrap().to_bytes();
    let answer = [FRAME, FINISH, DONE].concat();
    assert!(rest.ends_with(answer.as_bytes()), "{rest:?}");
    assert_eq!(stage.asked(), 1);
}

#[tokio::test]
async fn who_waits_for_an_answer_that_is_too_long_does_not_wait_for_its_end() {
    let stage = Stage::new("max_entry_bytes = 150");
    let (frames, answer) = stream();
    let (first, ()) = tokio::join!(stage.send(question(1, true)), stage.answer(answer));
    let mut second = pin!(stage.ask(question(1, true)));
    assert!(poll!(&mut second).is_pending());
    let mut first = first.into_body();
    for _ in 0..2 {
        assert_eq!(stage.asked(), 1);
        frames.send(FRAME).unwrap();
        assert!(first.frame().await.is_some());
    }
    let answered = stage.answer(streamed(&[FINISH, DONE]));
    let ((headers, text), ()) = tokio::join!(second, answered);
    assert_eq!(result(&headers), Some("miss"));
    assert_eq!(text, [FINISH, DONE].concat());
}

#[tokio::test]
async fn no_more_wait_for_one_answer_than_may() {
    let stage = Stage::new("max_waiting = 1");
    let mut first = pin!(stage.ask(question(1, false)));
    let mut second = pin!(stage.ask(question(1, false)));
    let mut third = pin!(stage.ask(question(1, false)));
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    assert!(poll!(&mut third).is_pending());
    assert_eq!(stage.asked(), 2);
    stage.answer(plain("一")).await;
    stage.answer(plain("三")).await;
    let results = tokio::join!(first, second, third);
    let results = [&results.0.0, &results.1.0, &results.2.0].map(result);
    assert_eq!(results, [Some("miss"), Some("wait"), Some("miss")]);
}
