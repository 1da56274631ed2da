//! Whom a gateway tells something: its log, a collector, and an upstream that talks.

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post as on_post;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::support::serve;

/// Everything that is logged.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Takes what a gateway tells of itself, as it comes.
pub(crate) async fn collector() -> (Log, String) {
    async fn take(State(mut log): State<Log>, body: Bytes) {
        log.write_all(&body).unwrap();
    }
    let log = Log::default();
    let app = Router::new()
        .fallback(on_post(take))
        .with_state(log.clone());
    (log, serve(app).await)
}

/// An upstream that throws everything back at whoever asks: its key, and the prompt.
pub(crate) async fn mirror() -> String {
    async fn answer(headers: HeaderMap, body: String) -> Response {
        let key = headers
            .get("authorization")
            .map_or("", |key| key.to_str().unwrap());
        let model: Value = serde_json::from_str(&body).unwrap_or_default();
        let said = json!(format!("{key} may not ask {body}"));
        let error = json!({ "error": { "code": "invalid_api_key", "type": "invalid_request_error", "message": said } });
        let begun = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
        let stream = [("content-type", "text/event-stream")];
        match model["model"].as_str().unwrap_or_default() {
            "mirror-page" => {
                let page = format!("<html><body>{key} {body}</body></html>");
                (StatusCode::BAD_GATEWAY, page).into_response()
            }
            "mirror-event" => (stream, format!("{begun}data: {error}\n\n")).into_response(),
            "mirror-broken" => {
                // What is no error passes as it is, so this one keeps the key to itself.
                let said = json!(body);
                (stream, format!("{begun}data: {{\"choices\":{said}}}\n\n")).into_response()
            }
            "mirror-inside" => axum::Json(error).into_response(),
            _ => (StatusCode::UNAUTHORIZED, axum::Json(error)).into_response(),
        }
    }
    serve(Router::new().fallback(answer)).await
}
