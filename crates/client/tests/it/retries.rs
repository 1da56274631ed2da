//! Which failures are repeated, how often, and after which pause.

use std::time::Duration;

use bailian::transport::{Sent, TransportErrorKind};
use bailian::{
    ChatRequest, ErrorKind, Message, Outcome, RequestOptions, RetryAdvice, RetryBudgetLimits,
    RetryPolicy,
};

use crate::fake::{FRAME, Fake, LAST_FRAME, Piece, Script};

fn request() -> ChatRequest {
    ChatRequest::new("qwen-plus", [Message::user("hi")])
}

const THROTTLED: &str = "Throttling.RateQuota";

#[tokio::test(start_paused = true)]
async fn throttling_and_server_failures_are_repeated_and_the_attempts_listed() {
    for (status, code) in [
        (429, THROTTLED),
        (500, "InternalError"),
        (503, "ModelUnavailable"),
    ] {
        let fake = Fake::new([Script::error(status, code, &[]), Script::ok()]);
        let answer = fake.client().chat().create(&request()).await.unwrap();
        assert_eq!(answer.text(), "hi");
        let outcomes: Vec<_> = answer
            .attempts()
            .iter()
            .map(|a| a.outcome.clone())
            .collect();
        let refused = Outcome::Refused {
            status,
            code: Some(code.to_owned()),
        };
        assert_eq!(outcomes, [refused, Outcome::Answered], "{code}");
        assert!(
            answer
                .attempts()
                .iter()
                .all(|attempt| !attempt.possibly_billed)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_repetition_mends_is_reported_at_once() {
    for (status, code) in [
        (400, "InvalidParameter"),
        (401, "InvalidApiKey"),
        (403, "AccessDenied"),
        (404, "ModelNotFound"),
        (400, "DataInspectionFailed"),
        (400, "Arrearage"),
        (429, "CommodityNotPurchased"),
        (429, "PrepaidBillOverdue"),
        (429, "PostpaidBillOverdue"),
    ] {
        let fake = Fake::new([Script::error(status, code, &[])]);
        let error = fake.client().chat().create(&request()).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Api, Some(code)));
        assert_eq!(error.status().map(|status| status.as_u16()), Some(status));
        assert_eq!(error.request_id(), Some("r-err"));
        assert!(
            !matches!(error.retry_advice(), RetryAdvice::Same { .. }),
            "{code}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_error_is_returned_when_the_retries_are_used_up() {
    let fake = Fake::new((0..3).map(|_| Script::error(429, THROTTLED, &[])));
    let error = fake.client().chat().create(&request()).await.unwrap_err();
    assert_eq!((fake.calls(), error.attempts().len()), (3, 3));
    assert!(matches!(error.retry_advice(), RetryAdvice::Same { .. }));
}

#[tokio::test(start_paused = true)]
async fn the_servers_wish_for_a_pause_is_kept_exactly() {
    for (headers, seconds) in [
        ([("retry-after", "7"), ("x-other", "")], 7.0),
        ([("retry-after", "7"), ("retry-after-ms", "1500")], 1.5),
    ] {
        let fake = Fake::new([Script::error(429, THROTTLED, &headers), Script::ok()]);
        fake.client().chat().create(&request()).await.unwrap();
        let gap = fake.gaps()[0].as_secs_f64() - seconds;
        assert!((0.0..0.1).contains(&gap), "{gap}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wish_beyond_the_deadline_or_the_policy_ends_the_call_at_once() {
    let start = tokio::time::Instant::now();
    let fake = Fake::new([Script::error(429, THROTTLED, &[("retry-after", "30")])]);
    let options = RequestOptions::new().total_timeout(Duration::from_secs(20));
    let error = fake
        .client()
        .chat()
        .create_with(&request(), &options)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(THROTTLED));
    let fake = Fake::new([Script::error(429, THROTTLED, &[("retry-after", "300")])]);
    let error = fake.client().chat().create(&request()).await.unwrap_err();
    let asked = Some(Duration::from_mins(5));
    assert_eq!(error.retry_advice(), RetryAdvice::Same { after: asked });
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn the_server_can_forbid_and_ask_for_repetition() {
    let fake = Fake::new([Script::error(
        503,
        "ModelUnavailable",
        &[("x-should-retry", "false")],
    )]);
    fake.client().chat().create(&request()).await.unwrap_err();
    assert_eq!(fake.calls(), 1);
    let bill = Script::error(429, "PrepaidBillOverdue", &[("x-should-retry", "true")]);
    let fake = Fake::new([bill]);
    fake.client().chat().create(&request()).await.unwrap_err();
    assert_eq!(fake.calls(), 1);
    let again = Script::error(409, "Conflict", &[("x-should-retry", "true")]);
    let fake = Fake::new([again, Script::ok()]);
    fake.client().chat().create(&request()).await.unwrap();
    assert_eq!(fake.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_and_stay_inside_their_windows() {
    let policy = RetryPolicy::default()
        .with_max_retries(6)
        .with_base_delay(Duration::from_secs(1));
    for seed in 0..20 {
        let fake = Fake::new((0..7).map(|_| Script::error(500, "InternalError", &[])));
        let client = fake
            .builder()
            .seed(seed)
            .retry(policy.clone())
            .build()
            .unwrap();
        client.chat().create(&request()).await.unwrap_err();
        let gaps = fake.gaps();
        for (retry, gap) in gaps.iter().enumerate() {
            let window = Duration::from_secs(1 << retry).min(Duration::from_secs(30));
            assert!(
                *gap <= window + Duration::from_millis(10),
                "{retry}: {gap:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_never_sent_is_repeated_and_not_marked_as_billed() {
    let fake = Fake::new([
        Script::Fail(TransportErrorKind::Connect, Sent::No),
        Script::ok(),
    ]);
    let policy = RetryPolicy::default().with_retry_unanswered(false);
    let client = fake.builder().retry(policy).build().unwrap();
    let answer = client.chat().create(&request()).await.unwrap();
    assert!(!answer.attempts()[0].possibly_billed);
}

#[tokio::test(start_paused = true)]
async fn a_sent_but_unanswered_request_is_repeated_by_default_and_marked() {
    let reset = Script::Fail(TransportErrorKind::Reset, Sent::Maybe);
    let fake = Fake::new([reset, Script::ok()]);
    let answer = fake.client().chat().create(&request()).await.unwrap();
    let attempt = &answer.attempts()[0];
    assert_eq!(
        attempt.outcome,
        Outcome::Disconnected(TransportErrorKind::Reset)
    );
    assert!(attempt.possibly_billed);
}

#[tokio::test(start_paused = true)]
async fn a_switch_turns_the_repetition_of_unanswered_requests_off() {
    let reset = Script::Fail(TransportErrorKind::Reset, Sent::Maybe);
    let fake = Fake::new([reset]);
    let policy = RetryPolicy::default().with_retry_unanswered(false);
    let options = RequestOptions::new().retry(policy);
    let error = fake
        .client()
        .chat()
        .create_with(&request(), &options)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    assert_eq!(error.retry_advice(), RetryAdvice::MayBillTwice);
    assert!(error.attempts()[0].possibly_billed);
    assert!(error.to_string().contains("billed"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_retry_budget_is_shared_by_all_calls_of_a_client() {
    let mut limits = RetryBudgetLimits::default();
    (limits.capacity, limits.refill_per_second) = (10, 0);
    let fake = Fake::new((0..10).map(|_| Script::error(500, "InternalError", &[])));
    let client = fake.builder().retry_budget(limits).build().unwrap();
    for _ in 0..4 {
        client.clone().chat().create(&request()).await.unwrap_err();
    }
    // Two retries of five tokens each, then every call is on its own.
    assert_eq!(fake.calls(), 4 + 2);
}

#[tokio::test(start_paused = true)]
async fn an_error_inside_a_good_status_is_an_error_and_is_repeated_by_its_class() {
    let hidden = r#"{"code":"Throttling.RateQuota","message":"m","request_id":"r-in"}"#;
    let fake = Fake::new([Script::json(200, &[], hidden), Script::ok()]);
    fake.client().chat().create(&request()).await.unwrap();
    assert_eq!(fake.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_error_in_place_of_the_first_event_is_repeated_and_a_later_one_is_not() {
    let throttle = "id:1\nevent:error\n:HTTP_STATUS/429\ndata:{\"code\":\"Throttling.RateQuota\",\"message\":\"m\",\"request_id\":\"r-e\"}\n\n";
    let good = || Script::events(vec![FRAME.into(), LAST_FRAME.into()]);
    let fake = Fake::new([Script::events(vec![throttle.into()]), good()]);
    let stream = fake.client().chat().stream(&request()).await.unwrap();
    assert_eq!(stream.attempts().len(), 2);
    assert_eq!(stream.collect().await.unwrap().text(), "hi");

    let fake = Fake::new([Script::events(vec![FRAME.into(), throttle.into()])]);
    let stream = fake.client().chat().stream(&request()).await.unwrap();
    let error = stream.collect().await.unwrap_err();
    assert_eq!(
        (error.code(), error.request_id()),
        (Some(THROTTLED), Some("r-e"))
    );
    assert_eq!(error.status().map(|status| status.as_u16()), Some(429));
    assert_eq!(fake.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_before_its_first_event_counts_as_unanswered() {
    let fake = Fake::new([
        Script::events(vec![]),
        Script::events(vec![Piece::Fail(TransportErrorKind::Closed)]),
        Script::events(vec![FRAME.into(), LAST_FRAME.into()]),
    ]);
    let stream = fake.client().chat().stream(&request()).await.unwrap();
    let billed: Vec<bool> = stream
        .attempts()
        .iter()
        .map(|attempt| attempt.possibly_billed)
        .collect();
    assert_eq!(billed, [true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_is_not_asked_for_again() {
    let fake = Fake::new([Script::json(
        200,
        &[("x-request-id", "r-h")],
        "<html>login</html>",
    )]);
    let error = fake.client().chat().create(&request()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.request_id()),
        (ErrorKind::Decode, Some("r-h"))
    );
    assert!(!error.to_string().contains("login"));
}
