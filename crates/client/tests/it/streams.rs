//! What a stream yields, how it ends, and when the client streams by itself.

use bailian::transport::TransportErrorKind;
use bailian::{
    ChatEvent, ChatRequest, Dialect, ErrorKind, FinishReason, Message, RequestOptions, RetryPolicy,
};
use futures_core::FusedStream as _;
use futures_util::StreamExt as _;

use crate::fake::{ANSWER, FRAME, Fake, LAST_FRAME, Piece, Script};

fn request(model: &str) -> ChatRequest {
    ChatRequest::new(model, [Message::user("hi")])
}

fn good() -> Script {
    Script::events(vec![FRAME.into(), LAST_FRAME.into()])
}

#[tokio::test(start_paused = true)]
async fn a_stream_tells_its_request_and_usage_and_ends_once() {
    let fake = Fake::new([good()]);
    let mut stream = fake
        .client()
        .chat()
        .stream(&request("qwen-plus"))
        .await
        .unwrap();
    assert_eq!(stream.request_id(), Some("r-s"));
    assert!(stream.headers().contains_key("content-type"));
    let mut finished = 0;
    while let Some(event) = stream.next().await {
        if let ChatEvent::Finished { reason, .. } = event.unwrap() {
            assert_eq!(reason, FinishReason::Stop);
            finished += 1;
        }
    }
    assert_eq!(finished, 1);
    assert_eq!(stream.usage().map(|usage| usage.output_tokens), Some(2));
    assert!(stream.is_terminated());
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_finish_reason_is_truncated() {
    let fake = Fake::new([Script::events(vec![FRAME.into()])]);
    let stream = fake
        .client()
        .chat()
        .stream(&request("qwen-plus"))
        .await
        .unwrap();
    let error = stream.collect().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.request_id()),
        (ErrorKind::Stream, Some("r-s"))
    );
    assert!(error.to_string().contains("ended before"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_in_the_middle_is_an_error_and_after_the_end_is_not() {
    let lost = || Piece::Fail(TransportErrorKind::Reset);
    let fake = Fake::new([Script::events(vec![FRAME.into(), lost()])]);
    let stream = fake
        .client()
        .chat()
        .stream(&request("qwen-plus"))
        .await
        .unwrap();
    assert_eq!(
        stream.collect().await.unwrap_err().kind(),
        ErrorKind::Disconnected
    );
    let fake = Fake::new([Script::events(vec![
        FRAME.into(),
        LAST_FRAME.into(),
        lost(),
    ])]);
    let stream = fake
        .client()
        .chat()
        .stream(&request("qwen-plus"))
        .await
        .unwrap();
    assert_eq!(stream.collect().await.unwrap().text(), "hi");
}

#[tokio::test(start_paused = true)]
async fn a_malformed_event_is_an_error_that_does_not_repeat_the_answer() {
    let fake = Fake::new([Script::events(vec![
        FRAME.into(),
        "data:{\"secret answer\n\n".into(),
    ])]);
    let stream = fake
        .client()
        .chat()
        .stream(&request("qwen-plus"))
        .await
        .unwrap();
    let error = stream.collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stream);
    assert!(!error.to_string().contains("secret answer"));
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_to_a_stream_request_comes_as_its_events() {
    let fake = Fake::new([Script::json(200, &[("x-request-id", "r-ok")], ANSWER)]);
    let stream = fake
        .client()
        .chat()
        .stream(&request("qwen-plus"))
        .await
        .unwrap();
    let answer = stream.collect().await.unwrap();
    assert_eq!(
        (answer.text().as_str(), answer.request_id()),
        ("hi", Some("r-ok"))
    );
    assert_eq!(
        answer.usage.as_ref().map(|usage| usage.total_tokens),
        Some(2)
    );
}

#[tokio::test(start_paused = true)]
async fn models_that_only_stream_or_always_think_are_streamed_inside() {
    for (model, thinking) in [
        ("qwq-plus", None),
        ("deepseek-r1", None),
        ("qwen3-8b", Some(true)),
        ("qwen3-omni-flash", None),
    ] {
        let mut request = request(model);
        request.enable_thinking = thinking;
        let openai = model == "qwen3-omni-flash";
        let frames = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        let fake = Fake::new([if openai {
            Script::events(vec![frames.into()])
        } else {
            good()
        }]);
        let protocol = if openai {
            Dialect::OpenAi
        } else {
            Dialect::Native
        };
        let options = RequestOptions::new().protocol(protocol);
        let answer = fake
            .client()
            .chat()
            .create_with(&request, &options)
            .await
            .unwrap();
        assert_eq!(answer.text(), "hi", "{model}");
        let sent = fake.requests.lock()[0].clone();
        assert_eq!(sent.headers()["accept"], "text/event-stream", "{model}");
    }
}

#[tokio::test(start_paused = true)]
async fn other_models_are_not_streamed_inside() {
    let fake = Fake::new([Script::ok(), Script::ok()]);
    for model in ["qwen-plus", "a-model-of-the-future"] {
        fake.client().chat().create(&request(model)).await.unwrap();
    }
    for sent in fake.requests.lock().iter() {
        assert!(!sent.headers().contains_key("x-dashscope-sse"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_asked_to_be_cumulative_is_joined_without_repetition() {
    let whole = LAST_FRAME.replace("\"content\":\"i\"", "\"content\":\"hi\"");
    let fake = Fake::new([Script::events(vec![FRAME.into(), whole.as_str().into()])]);
    let request = request("qwen-plus").incremental_output(false);
    let stream = fake.client().chat().stream(&request).await.unwrap();
    assert_eq!(stream.collect().await.unwrap().text(), "hi");
    let body: serde_json::Value = serde_json::from_slice(fake.requests.lock()[0].body()).unwrap();
    assert_eq!(body["parameters"]["incremental_output"], false);
}

#[tokio::test(start_paused = true)]
async fn configured_defaults_fill_only_what_the_request_leaves_open() {
    let fake = Fake::new([Script::ok(), Script::ok()]);
    let client = fake
        .builder()
        .default_model("qwen-max")
        .max_tokens(77)
        .temperature(0.25)
        .top_p(0.5)
        .build()
        .unwrap();
    client.chat().create(&request("")).await.unwrap();
    let full = request("qwen-plus")
        .max_tokens(5_u64)
        .temperature(1.5)
        .top_p(0.75);
    client.chat().create(&full).await.unwrap();
    let bodies: Vec<serde_json::Value> = fake
        .requests
        .lock()
        .iter()
        .map(|sent| serde_json::from_slice(sent.body()).unwrap())
        .collect();
    assert_eq!(bodies[0]["model"], "qwen-max");
    assert_eq!(bodies[0]["parameters"]["max_tokens"], 77);
    assert_eq!(bodies[0]["parameters"]["temperature"], 0.25);
    assert_eq!(bodies[1]["model"], "qwen-plus");
    assert_eq!(bodies[1]["parameters"]["max_tokens"], 5);
    assert_eq!(bodies[1]["parameters"]["top_p"], 0.75);
}

#[tokio::test(start_paused = true)]
async fn a_request_the_model_cannot_take_is_refused_before_it_is_sent() {
    let fake = Fake::new([Script::ok()]);
    let client = fake.client();
    let wrong = request("qwen-plus").temperature(7.0);
    let error = client.chat().create(&wrong).await.unwrap_err();
    assert_eq!((error.kind(), fake.calls()), (ErrorKind::Validation, 0));
    assert!(error.to_string().contains("temperature"), "{error}");
    let options = RequestOptions::new().validate(false);
    client.chat().create_with(&wrong, &options).await.unwrap();
    let unknown = request("a-model-of-the-future").temperature(7.0);
    let error = client.with_options(&RequestOptions::new().retry(RetryPolicy::never()));
    assert!(
        error
            .chat()
            .build(&unknown, false, &RequestOptions::new())
            .is_ok()
    );
}

#[test]
fn the_anthropic_protocol_is_refused_with_a_way_out() {
    let client = Fake::new([])
        .builder()
        .protocol(Dialect::Anthropic)
        .build()
        .unwrap();
    let error = client
        .chat()
        .build(&request("qwen-plus"), false, &RequestOptions::new())
        .unwrap_err();
    assert!(
        error.to_string().contains("not served yet by this client"),
        "{error}"
    );
    assert!(error.to_string().contains("DASHSCOPE_PROTOCOL"));
}

#[test]
fn clients_calls_and_streams_can_move_between_threads() {
    fn moves<T: Send + 'static>() {}
    fn is_shared<T: Send + Sync + Clone + 'static>() {}
    fn future_moves<T: Send>(_: &T) {}
    moves::<bailian::chat::ChatStream>();
    moves::<bailian::Error>();
    is_shared::<bailian::Client>();
    let client = Fake::new([]).client();
    let (chat, request) = (client.chat(), request("qwen-plus"));
    future_moves(&chat.create(&request));
    future_moves(&chat.stream(&request));
}
