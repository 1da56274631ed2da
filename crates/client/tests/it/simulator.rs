//! The client against the simulated service, over both protocols.

use std::time::Duration;

use bailian::{
    ChatEvent, ChatRequest, Client, Dialect, ErrorKind, FinishReason, Message, RequestOptions,
    ResponseFormat, RetryPolicy, TimeoutPart, ToolDefinition,
};
use bailian_sim::{JournalEntry, RunningSimulator, SimConfig, Simulator};
use futures_util::StreamExt as _;
use serde_json::json;

const BOTH: [Dialect; 2] = [Dialect::Native, Dialect::OpenAi];

struct Setup {
    simulator: Simulator,
    running: RunningSimulator,
}

impl Setup {
    async fn new() -> Self {
        let simulator = Simulator::new(SimConfig::default());
        let running = simulator.clone().spawn().await.unwrap();
        Self { simulator, running }
    }

    fn client(&self, protocol: Dialect) -> Client {
        self.client_with_key(protocol, "sk-0123456789abcdef")
    }

    fn client_with_key(&self, protocol: Dialect, key: &str) -> Client {
        Client::builder()
            .environment(())
            .home_files(false)
            .api_key(key)
            .base_url(self.running.base_url())
            .protocol(protocol)
            .retry(RetryPolicy::default().with_base_delay(Duration::from_millis(1)))
            .build()
            .unwrap()
    }

    /// Waits until an entry of the journal fits.
    async fn journal_has(&self, fits: impl Fn(&JournalEntry) -> bool) -> JournalEntry {
        for _ in 0..1000 {
            if let Some(entry) = self.simulator.journal().into_iter().find(&fits) {
                return entry;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no such entry: {:?}", self.simulator.journal());
    }
}

fn request() -> ChatRequest {
    ChatRequest::new("qwen-plus", [Message::user("Say something about 杭州.")])
}

fn weather() -> ToolDefinition {
    ToolDefinition::function(
        "get_weather",
        "Looks up the weather of a city.",
        json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}),
    )
}

#[tokio::test]
async fn an_answer_is_the_same_streamed_and_not_over_both_protocols() {
    let setup = Setup::new().await;
    for protocol in BOTH {
        let client = setup.client(protocol);
        let whole = client.chat().create(&request()).await.unwrap();
        let streamed = client
            .chat()
            .stream(&request())
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        assert!(!whole.text().is_empty());
        assert_eq!(whole.text(), streamed.text(), "{protocol}");
        assert_eq!(whole.finish_reason(), Some(&FinishReason::Stop));
        let tokens = |usage: &bailian::Usage| (usage.input_tokens, usage.output_tokens);
        assert_eq!(
            whole.usage.as_ref().map(tokens),
            streamed.usage.as_ref().map(tokens)
        );
        for answer in [&whole, &streamed] {
            let id = answer.request_id().unwrap().to_owned();
            let entry = setup.journal_has(|entry| entry.request_id == id).await;
            assert_eq!(
                Some(entry.output_tokens),
                answer.usage.as_ref().map(|u| u.output_tokens)
            );
        }
    }
}

#[tokio::test]
async fn a_tool_is_called_and_its_result_answered() {
    let setup = Setup::new().await;
    for protocol in BOTH {
        for stream in [false, true] {
            let client = setup.client(protocol);
            let mut request = ChatRequest::new(
                "qwen-plus",
                [Message::user(
                    "What is the weather in Hangzhou? Use get_weather.",
                )],
            )
            .tools([weather()]);
            let answer = if stream {
                client
                    .chat()
                    .stream(&request)
                    .await
                    .unwrap()
                    .collect()
                    .await
                    .unwrap()
            } else {
                client.chat().create(&request).await.unwrap()
            };
            let calls = answer.tool_calls().to_vec();
            assert_eq!(calls.len(), 1, "{protocol} {stream}");
            assert_eq!(calls[0].function.name, "get_weather");
            assert!(calls[0].arguments().unwrap()["city"].is_string());
            request.messages.extend(answer.message().cloned());
            request
                .messages
                .push(Message::tool(calls[0].id.as_str(), "22 degrees"));
            let answer = client.chat().create(&request).await.unwrap();
            assert!(!answer.text().is_empty() && answer.tool_calls().is_empty());
        }
    }
}

#[tokio::test]
async fn thinking_comes_before_the_answer() {
    let setup = Setup::new().await;
    for protocol in BOTH {
        let client = setup.client(protocol);
        let request = request().enable_thinking(true);
        let mut stream = client.chat().stream(&request).await.unwrap();
        let (mut thoughts, mut text) = (0, 0);
        while let Some(event) = stream.next().await {
            match event.unwrap() {
                ChatEvent::ReasoningDelta { .. } => {
                    assert_eq!(text, 0);
                    thoughts += 1;
                }
                ChatEvent::TextDelta { .. } => text += 1,
                _ => {}
            }
        }
        assert!(thoughts > 0 && text > 0, "{protocol}");
        let whole = client.chat().create(&request).await.unwrap();
        assert!(!whole.reasoning().is_empty());
    }
}

#[tokio::test]
async fn a_thinking_only_model_answers_a_plain_call() {
    let setup = Setup::new().await;
    for protocol in BOTH {
        let request = ChatRequest::new("qwq-plus", [Message::user("Why is the sky blue?")]);
        let answer = setup
            .client(protocol)
            .chat()
            .create(&request)
            .await
            .unwrap();
        assert!(
            !answer.reasoning().is_empty() && !answer.text().is_empty(),
            "{protocol}"
        );
    }
    assert!(setup.simulator.journal().iter().all(|entry| entry.stream));
}

#[tokio::test]
async fn json_mode_gives_json() {
    let setup = Setup::new().await;
    for protocol in BOTH {
        let request = ChatRequest::new("qwen-plus", [Message::user("A city as JSON, please.")])
            .response_format(ResponseFormat::JsonObject);
        let answer = setup
            .client(protocol)
            .chat()
            .create(&request)
            .await
            .unwrap();
        let value: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        assert!(value.is_object(), "{protocol}");
    }
}

#[tokio::test]
async fn the_services_refusals_keep_their_code_and_request_id() {
    let setup = Setup::new().await;
    for protocol in BOTH {
        for (key, status) in [
            ("sk-expired-0000000000", 401),
            ("sk-denied-0000000000", 403),
            ("sk-arrears-0000000000", 400),
            ("sk-limited-0000000000", 429),
        ] {
            for stream in [false, true] {
                let client = setup.client_with_key(protocol, key);
                let error = if stream {
                    client.chat().stream(&request()).await.unwrap_err()
                } else {
                    client.chat().create(&request()).await.unwrap_err()
                };
                assert_eq!(error.kind(), ErrorKind::Api, "{protocol} {key}");
                assert_eq!(
                    error.status().map(|status| status.as_u16()),
                    Some(status),
                    "{error}"
                );
                assert!(
                    error.code().is_some() && error.request_id().is_some(),
                    "{error:?}"
                );
                let attempts = if status == 429 { 3 } else { 1 };
                assert_eq!(error.attempts().len(), attempts, "{error}");
            }
        }
        let unknown = ChatRequest::new("no-such-model", [Message::user("hi")]);
        let error = setup
            .client(protocol)
            .chat()
            .create(&unknown)
            .await
            .unwrap_err();
        assert_eq!(
            error.status().map(|status| status.as_u16()),
            Some(404),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_dropped_stream_and_a_dropped_call_are_seen_by_the_service() {
    let setup = Setup::new().await;
    for protocol in BOTH {
        let client = setup.client(protocol);
        let slow = RequestOptions::new()
            .header("x-sim-tps", "5")
            .header("x-sim-tokens", "500");
        let mut stream = client.chat().stream_with(&request(), &slow).await.unwrap();
        stream.next().await.unwrap().unwrap();
        let id = stream.request_id().unwrap().to_owned();
        drop(stream);
        setup
            .journal_has(|entry| entry.request_id == id && entry.client_left_ms.is_some())
            .await;

        setup.simulator.reset();
        let (chat, request) = (client.chat(), request());
        let call = chat.create_with(&request, &slow);
        let cut = tokio::time::timeout(Duration::from_millis(100), call).await;
        assert!(cut.is_err(), "the call was answered too quickly");
        setup
            .journal_has(|entry| entry.client_left_ms.is_some())
            .await;
    }
}

#[tokio::test]
async fn a_silent_service_meets_the_time_limit() {
    let setup = Setup::new().await;
    let options = RequestOptions::new()
        .header("x-sim-ttft-ms", "60000")
        .first_byte_timeout(Duration::from_millis(100))
        .retry(RetryPolicy::never());
    for protocol in BOTH {
        let client = setup.client(protocol);
        let error = client
            .chat()
            .stream_with(&request(), &options)
            .await
            .unwrap_err();
        let bailian::Error::Timeout(failed) = &error else {
            panic!("{error}")
        };
        assert_eq!(failed.cause().part, TimeoutPart::FirstByte);
    }
}

#[tokio::test]
async fn a_stream_that_the_service_cuts_or_ends_early_is_an_error() {
    let setup = Setup::new().await;
    for protocol in BOTH {
        for (fault, kinds) in [
            (
                "cut-after-bytes=2000",
                [ErrorKind::Disconnected, ErrorKind::Stream],
            ),
            ("truncate=5", [ErrorKind::Stream, ErrorKind::Stream]),
            ("malformed=5", [ErrorKind::Stream, ErrorKind::Stream]),
            ("error-frame=5", [ErrorKind::Api, ErrorKind::Api]),
        ] {
            let options = RequestOptions::new()
                .header("x-sim-tokens", "200")
                .header("x-sim-fault", fault)
                .retry(RetryPolicy::never());
            let client = setup.client(protocol);
            // The cut may come before the head of the response was read.
            let error = match client.chat().stream_with(&request(), &options).await {
                Ok(stream) => stream.collect().await.unwrap_err(),
                Err(error) => error,
            };
            assert!(
                kinds.contains(&error.kind()),
                "{protocol} {fault}: {error:?}"
            );
        }
    }
}

#[tokio::test]
async fn streams_come_out_the_same_however_their_bytes_are_cut() {
    let setup = Setup::new().await;
    for protocol in BOTH {
        let client = setup.client(protocol);
        let whole = client
            .chat()
            .stream(&request())
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        for fault in ["split=1", "split=7", "no-blank-lines"] {
            let options = RequestOptions::new().header("x-sim-fault", fault);
            let stream = client
                .chat()
                .stream_with(&request(), &options)
                .await
                .unwrap();
            assert_eq!(
                stream.collect().await.unwrap().text(),
                whole.text(),
                "{protocol} {fault}"
            );
        }
    }
}

#[tokio::test]
async fn an_error_framed_as_an_event_keeps_its_status() {
    let mut config = SimConfig::default();
    config.sse_framed_errors = true;
    let setup = Setup::new().await;
    setup.simulator.set_config(config);
    for protocol in BOTH {
        let client = setup.client_with_key(protocol, "sk-limited-0000000000");
        let error = client.chat().stream(&request()).await.unwrap_err();
        assert_eq!(
            error.status().map(|status| status.as_u16()),
            Some(429),
            "{protocol}"
        );
        assert_eq!(error.attempts().len(), 3, "{protocol}");
    }
}
