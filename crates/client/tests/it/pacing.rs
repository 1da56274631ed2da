//! Calls wait for their turn: judged by what the simulated service saw.

use bailian::pacing::{Limit, Measure, Pacing};
use bailian::{ChatRequest, Client, ErrorKind, Message, RequestOptions, RetryPolicy, TimeoutPart};
use bailian_sim::{RunningSimulator, SimConfig, Simulator, Verdict};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use serde_json::json;
use std::time::Duration;

/// A service that allows 10 requests in any second.
async fn service() -> RunningSimulator {
    let config: SimConfig =
        serde_json::from_value(json!({ "limits": [{ "requests_per_minute": 600 }] })).unwrap();
    Simulator::new(config).spawn().await.unwrap()
}

fn client(service: &RunningSimulator, pacing: Pacing) -> Client {
    Client::builder()
        .environment(())
        .home_files(false)
        .api_key("sk-0123456789abcdef")
        .base_url(service.base_url())
        .retry(RetryPolicy::never())
        .pacing(pacing)
        .build()
        .unwrap()
}

fn ten_per_second() -> Pacing {
    let limit = Limit::parse(Measure::Requests, "10/1s").unwrap();
    Pacing::new().limits("*", [limit.exactly()])
}

fn request() -> ChatRequest {
    ChatRequest::new("qwen-plus", [Message::user("用一句话介绍杭州。")])
}

fn throttled(service: &RunningSimulator) -> usize {
    let journal = service.journal();
    let refused = |entry: &&bailian_sim::JournalEntry| entry.verdict == Verdict::Rejected;
    journal.iter().filter(refused).count()
}

#[tokio::test]
async fn calls_and_streams_wait_below_the_limit_and_none_is_throttled() {
    let service = service().await;
    let client = client(&service, ten_per_second());
    let request = request();
    let calls = (0..12).map(|_| async { client.chat().create(&request).await.map(drop) });
    let streams = (0..12).map(|_| async {
        let stream = client.chat().stream(&request).await?;
        stream.collect().await.map(drop)
    });
    let (calls, streams) = futures_util::future::join(join_all(calls), join_all(streams)).await;
    for outcome in calls.into_iter().chain(streams) {
        outcome.unwrap();
    }
    assert_eq!((service.journal().len(), throttled(&service)), (24, 0));
    let lane = client.pacing().lanes().pop().unwrap().snapshot();
    assert_eq!(lane.running, 0, "every permit was settled");
}

#[tokio::test]
async fn without_pacing_the_service_refuses_what_is_too_much() {
    let service = service().await;
    let client = client(&service, Pacing::off());
    let request = request();
    let chat = client.chat();
    let calls = (0..24).map(|_| chat.create(&request));
    let refused = join_all(calls).await.into_iter().filter(Result::is_err);
    assert!(refused.count() > 0);
    assert!(throttled(&service) > 0);
}

#[tokio::test]
async fn a_call_that_could_not_go_in_time_is_refused_at_once_with_the_time_of_its_turn() {
    let service = service().await;
    let client = client(&service, ten_per_second());
    let request = request();
    for _ in 0..10 {
        client.chat().create(&request).await.unwrap();
    }
    let options = RequestOptions::new().total_timeout(Duration::from_millis(100));
    let chat = client.chat();
    let refused = (0..20).map(|_| chat.create_with(&request, &options));
    let refused = join_all(refused).await.into_iter().find_map(Result::err);
    let error = refused.unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let bailian::Error::Timeout(failed) = &error else {
        panic!("{error}")
    };
    assert_eq!(failed.cause().part, TimeoutPart::OwnLimit);
}

#[tokio::test]
async fn a_stream_that_is_dropped_gives_its_place_back() {
    let service = service().await;
    let running = Limit::parse(Measure::Requests, "1000/1s").unwrap();
    let pacing = Pacing::new().limits("*", [running, Limit::running(1)]);
    let client = client(&service, pacing);
    for _ in 0..3 {
        let mut stream = client.chat().stream(&request()).await.unwrap();
        stream.next().await.unwrap().unwrap();
    }
}
