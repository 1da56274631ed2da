//! An upstream without a network: one host goes wrong in a scripted way, the other is the simulator.

use axum::Router;
use axum::body::Body;
use bailian_gateway::upstream::{Origin, Upstream, UpstreamBody, UpstreamError, UpstreamFuture};
use bailian_sim::{SimConfig, Simulator};
use bailian_wire::Dialect;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tower::ServiceExt as _;

use crate::cell::{Cell, Phase};

/// The host that never goes wrong.
pub(crate) const RIGHT: &str = "http://right.test";

/// The host of a cell, which does.
pub(crate) fn wrong(place: usize) -> String {
    format!("http://wrong-{place}.test")
}

#[derive(Debug)]
pub(crate) struct Scripted {
    scripts: Vec<Script>,
    simulator: Router,
}

/// What one host says.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) dialect: Dialect,
    pub(crate) phase: Phase,
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Scripted {
    pub(crate) fn new(cells: &[Cell]) -> Self {
        Self {
            scripts: cells.iter().map(Cell::script).collect(),
            simulator: Simulator::new(SimConfig::default()).router(),
        }
    }

    /// `None`: of the host that is right.
    fn of(&self, origin: &Origin) -> Option<&Script> {
        let origin = origin.to_string();
        let place = origin
            .strip_prefix("http://wrong-")?
            .strip_suffix(".test")?;
        self.scripts.get(place.parse::<usize>().ok()?)
    }
}

impl Script {
    fn answer(&self, origin: &Origin) -> Result<http::Response<UpstreamBody>, UpstreamError> {
        let source = || Box::<dyn std::error::Error + Send + Sync>::from("scripted");
        let (status, kind, body) = match self.phase {
            Phase::Connect => {
                return Err(UpstreamError::Connect {
                    origin: origin.to_string(),
                    source: source(),
                });
            }
            Phase::Closed => {
                return Err(UpstreamError::Closed {
                    origin: origin.to_string(),
                    source: source(),
                });
            }
            Phase::Head => (self.status, "application/json", self.body.clone()),
            Phase::FirstEvent => (200, "text/event-stream", self.event()),
            Phase::MidStream => {
                let begun = begun(self.dialect);
                (200, "text/event-stream", format!("{begun}{}", self.event()))
            }
            Phase::End => {
                let (begun, ended) = (begun(self.dialect), ended(self.dialect));
                let body = format!("{begun}{ended}{}", self.event());
                (200, "text/event-stream", body)
            }
        };
        let body: UpstreamBody = Box::pin(Full::from(body).map_err(|never| match never {}));
        let response = http::Response::builder()
            .status(status)
            .header("content-type", kind);
        Ok(response.body(body).unwrap())
    }

    /// The error as an event of a stream.
    fn event(&self) -> String {
        let (status, body) = (self.status, &self.body);
        match self.dialect {
            Dialect::Native => format!("id:9\nevent:error\n:HTTP_STATUS/{status}\ndata:{body}\n\n"),
            Dialect::Anthropic => format!("event: error\ndata: {body}\n\n"),
            Dialect::OpenAi => format!("data: {body}\n\n"),
        }
    }
}

impl Upstream for Scripted {
    fn send<'a>(&'a self, origin: &'a Origin, request: Request<Bytes>) -> UpstreamFuture<'a> {
        Box::pin(async move {
            if let Some(script) = self.of(origin) {
                return script.answer(origin);
            }
            let request = request.map(Body::from);
            let answer = self.simulator.clone().oneshot(request).await;
            let (head, body) = answer.unwrap_or_else(|never| match never {}).into_parts();
            let body: UpstreamBody = Box::pin(body.map_err(|error| UpstreamError::Cut {
                source: Box::new(error),
            }));
            Ok(http::Response::from_parts(head, body))
        })
    }
}

/// The beginning of an answer that says `fi`.
fn begun(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAi => {
            "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"fi\"}}]}\n\n"
        }
        Dialect::Native => {
            "id:1\nevent:result\n:HTTP_STATUS/200\ndata:{\"output\":{\"choices\":[{\"message\":{\"content\":\"fi\",\"role\":\"assistant\"},\"finish_reason\":\"null\"}]},\"request_id\":\"r\"}\n\n"
        }
        Dialect::Anthropic => {
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":1,\"output_tokens\":0}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"fi\"}}\n\n"
        }
    }
}

/// The reason why it ends, without what closes the stream.
fn ended(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAi => {
            "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
        }
        Dialect::Native => {
            "id:2\nevent:result\n:HTTP_STATUS/200\ndata:{\"output\":{\"choices\":[{\"message\":{\"content\":\"\",\"role\":\"assistant\"},\"finish_reason\":\"stop\"}]},\"request_id\":\"r\"}\n\n"
        }
        Dialect::Anthropic => {
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}\n\n"
        }
    }
}
