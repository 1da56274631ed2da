//! Every wait has an end, and says which one it was.

use std::time::Duration;

use bailian::{
    ChatRequest, Client, Error, ErrorKind, Message, RequestOptions, RetryPolicy, TimeoutPart,
    Timeouts,
};
use futures_util::StreamExt as _;
use tokio::time::Instant;

use crate::fake::{FRAME, Fake, LAST_FRAME, Piece, Script};

fn request() -> ChatRequest {
    ChatRequest::new("qwen-plus", [Message::user("hi")])
}

fn once(fake: &Fake) -> Client {
    let timeouts = Timeouts::of_silence(Duration::from_secs(20)).with_total(Duration::from_mins(1));
    fake.builder()
        .timeouts(timeouts)
        .retry(RetryPolicy::never())
        .build()
        .unwrap()
}

fn part(error: &Error) -> TimeoutPart {
    match error {
        Error::Timeout(failed) => failed.cause().part,
        other => panic!("not a timeout: {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_meets_the_first_byte_limit() {
    for stream in [false, true] {
        let start = Instant::now();
        let fake = Fake::new([Script::Hang]);
        let chat_client = once(&fake);
        let error = if stream {
            chat_client.chat().stream(&request()).await.unwrap_err()
        } else {
            chat_client.chat().create(&request()).await.unwrap_err()
        };
        assert_eq!(part(&error), TimeoutPart::FirstByte);
        assert_eq!(start.elapsed().as_secs(), 20);
        assert!(error.attempts()[0].possibly_billed);
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_for_the_first_event_counts_from_the_request_not_from_the_head() {
    let start = Instant::now();
    let fake = Fake::new([Script::events(vec![Piece::Hang]).after(Duration::from_secs(15))]);
    let error = once(&fake).chat().stream(&request()).await.unwrap_err();
    assert_eq!(
        (part(&error), start.elapsed().as_secs()),
        (TimeoutPart::FirstByte, 20)
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_stops_meets_the_idle_limit_and_keeps_what_it_gave() {
    let start = Instant::now();
    let fake = Fake::new([Script::events(vec![
        FRAME.into(),
        Piece::Wait(Duration::from_secs(19)),
        FRAME.into(),
        Piece::Hang,
    ])]);
    let mut stream = once(&fake).chat().stream(&request()).await.unwrap();
    let mut text = String::new();
    let error = loop {
        match stream.next().await.unwrap() {
            Ok(bailian::ChatEvent::TextDelta { text: more, .. }) => text.push_str(&more),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!((part(&error), text.as_str()), (TimeoutPart::Idle, "hh"));
    assert_eq!(error.request_id(), Some("r-s"));
    assert_eq!(start.elapsed().as_secs(), 39);
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_meets_the_idle_limit() {
    let half = Script::Answer {
        after: Duration::ZERO,
        status: 200,
        headers: vec![("content-type", "application/json".to_owned())],
        body: vec!["{\"output\":".into(), Piece::Hang],
    };
    let error = once(&Fake::new([half]))
        .chat()
        .create(&request())
        .await
        .unwrap_err();
    assert_eq!(part(&error), TimeoutPart::Idle);
}

#[tokio::test(start_paused = true)]
async fn an_endless_stream_meets_the_total_limit() {
    let start = Instant::now();
    let pieces = (0..100).flat_map(|_| [FRAME.into(), Piece::Wait(Duration::from_secs(10))]);
    let fake = Fake::new([Script::events(pieces.collect())]);
    let stream = once(&fake).chat().stream(&request()).await.unwrap();
    let error = stream.collect().await.unwrap_err();
    assert_eq!(
        (part(&error), start.elapsed().as_secs()),
        (TimeoutPart::Total, 60)
    );
}

#[tokio::test(start_paused = true)]
async fn attempts_and_pauses_together_keep_the_total_limit() {
    let start = Instant::now();
    let fake = Fake::new((0..9).map(|_| Script::Hang));
    let options = RequestOptions::new()
        .first_byte_timeout(Duration::from_secs(8))
        .total_timeout(Duration::from_secs(30))
        .retry(RetryPolicy::default().with_max_retries(8));
    let error = fake
        .client()
        .chat()
        .create_with(&request(), &options)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(start.elapsed() <= Duration::from_secs(30));
    assert!(fake.calls() >= 3);
}

#[tokio::test(start_paused = true)]
async fn the_clients_own_limits_delay_requests_and_refuse_those_that_cannot_be_in_time() {
    let start = Instant::now();
    let fake = Fake::new((0..3).map(|_| Script::ok()));
    let client = fake.builder().requests_per_minute(30).build().unwrap();
    for _ in 0..3 {
        client.chat().create(&request()).await.unwrap();
    }
    let seconds: Vec<u64> = fake
        .arrivals
        .lock()
        .iter()
        .map(|at| at.duration_since(start).as_secs())
        .collect();
    assert_eq!(seconds, [0, 2, 4]);
    let options = RequestOptions::new().total_timeout(Duration::from_secs(1));
    let error = client
        .chat()
        .create_with(&request(), &options)
        .await
        .unwrap_err();
    assert_eq!(part(&error), TimeoutPart::OwnLimit);
    assert_eq!(fake.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_while_it_waits_gives_its_place_back() {
    let fake = Fake::new((0..2).map(|_| Script::ok()));
    let client = fake.builder().requests_per_minute(1).build().unwrap();
    client.chat().create(&request()).await.unwrap();
    for _ in 0..5 {
        let (chat, request) = (client.chat(), request());
        let waiting = chat.create(&request);
        assert!(
            tokio::time::timeout(Duration::from_secs(1), waiting)
                .await
                .is_err()
        );
    }
    client.chat().create(&request()).await.unwrap();
    assert_eq!(fake.gaps()[0].as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_slow_but_steady_stream_meets_no_limit() {
    let fake = Fake::new([Script::events(vec![
        FRAME.into(),
        Piece::Wait(Duration::from_secs(18)),
        FRAME.into(),
        Piece::Wait(Duration::from_secs(18)),
        LAST_FRAME.into(),
    ])
    .after(Duration::from_secs(15))]);
    let stream = once(&fake).chat().stream(&request()).await.unwrap();
    assert_eq!(stream.collect().await.unwrap().text(), "hhi");
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_was_busy_elsewhere_is_not_told_that_the_service_was_silent() {
    let fake = Fake::new([Script::events(vec![
        FRAME.into(),
        Piece::Wait(Duration::from_secs(1)),
        LAST_FRAME.into(),
    ])]);
    let mut stream = once(&fake).chat().stream(&request()).await.unwrap();
    while !matches!(stream.next().await, Some(Ok(bailian::ChatEvent::Usage(_)))) {}
    tokio::time::sleep(Duration::from_secs(50)).await;
    while let Some(event) = stream.next().await {
        event.unwrap();
    }
}
