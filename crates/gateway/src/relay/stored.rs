//! What the service keeps between calls: a request reaches only what its own tenant made, in the
//! account that holds it; what an answer makes is remembered before its id goes out.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bailian_tenants::ObjectKind;
use bytes::Bytes;
use http::Method;
use http_body::Frame;
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::Value;

use super::{Call, frames, headers, plain};
use crate::account::Account;
use crate::errors::Refusal;
use crate::keys::Owner;
use crate::record::Record;
use crate::route::{Plan, Target};
use crate::surface::{Root, STORED, Surface};
use crate::upstream::{UpstreamBody, UpstreamError};
use crate::worker::Worker;

/// How far into a stream its id is looked for, in bytes: it stands in the first event.
const MAX_AHEAD_BYTES: usize = 64 * 1024;

/// Where what a request names is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Holder {
    /// It names nothing.
    #[default]
    Anywhere,
    /// In the account at this place.
    Account(usize),
    /// In the gateway itself, which keeps responses of servers that keep none.
    Here,
}

/// Names are matched exactly, and one that stands twice is refused, as in all that is read.
#[derive(Deserialize)]
struct ResponseNames {
    #[serde(default)]
    previous_response_id: Option<String>,
    #[serde(default)]
    conversation: Option<Conversation>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Conversation {
    Id(String),
    Object { id: String },
}

#[derive(Deserialize)]
struct ApplicationNames {
    #[serde(default)]
    input: Option<ApplicationInput>,
}

#[derive(Deserialize)]
struct ApplicationInput {
    #[serde(default)]
    session_id: Option<String>,
}

/// Finds out where the things are that a request names.
///
/// # Errors
///
/// A thing that does not exist and a thing of another tenant are refused with the same words.
pub(super) async fn find(
    worker: &Worker,
    surface: &Surface,
    bytes: &Bytes,
    owner: &Owner,
) -> Result<Holder, Refusal> {
    let mut holder = Holder::Anywhere;
    for (kind, id) in named(surface, bytes)? {
        let found = find_one(worker, kind, &id, owner).await?;
        if holder == Holder::Anywhere {
            holder = found;
        }
    }
    Ok(holder)
}

async fn find_one(
    worker: &Worker,
    kind: ObjectKind,
    id: &str,
    owner: &Owner,
) -> Result<Holder, Refusal> {
    let state = &worker.state;
    let tenant = owner.tenant_key();
    if kind == ObjectKind::Response && state.responses.has(id, &tenant, state.clock.now()) {
        return Ok(Holder::Here);
    }
    let account = state.objects.account_of(kind, id, &tenant).await;
    let account = account.map_err(|_| Refusal::owner_unknown())?;
    // An account that was taken out of the configuration took its things along.
    let place = account.and_then(|name| {
        let mut accounts = state.accounts.iter();
        accounts.position(|account| account.name() == name)
    });
    place
        .map(Holder::Account)
        .ok_or_else(|| Refusal::unknown_object(kind, id))
}

/// What a request names.
fn named(surface: &Surface, bytes: &Bytes) -> Result<Vec<(ObjectKind, String)>, Refusal> {
    let unreadable = |error: serde_json::Error| {
        Refusal::invalid_request(format!(
            "Required body invalid, please check the request body format: {error}"
        ))
    };
    let mut all = Vec::new();
    match surface {
        Surface::Responses => {
            let names: ResponseNames = serde_json::from_slice(bytes).map_err(unreadable)?;
            let conversation = names.conversation.map(|it| match it {
                Conversation::Id(id) | Conversation::Object { id } => id,
            });
            let previous = names.previous_response_id;
            all.extend(previous.map(|id| (ObjectKind::Response, id)));
            all.extend(conversation.map(|id| (ObjectKind::Conversation, id)));
        }
        surface if is_application(surface) => {
            let names: ApplicationNames = serde_json::from_slice(bytes).map_err(unreadable)?;
            let session = names.input.and_then(|input| input.session_id);
            all.extend(session.map(|id| (ObjectKind::Session, id)));
        }
        Surface::Other { path, .. } => {
            let thing = of_path(path).map(|(kind, id, _)| (kind, id.to_owned()));
            return Ok(thing.into_iter().collect());
        }
        Surface::Chat(_) | Surface::NativeMultimodal | Surface::Embeddings(_) => {}
    }
    // Clients send an empty one at the beginning, which names nothing.
    all.retain(|(_, id)| !id.is_empty());
    Ok(all)
}

/// The thing that a path is about, and what of it.
fn of_path(path: &str) -> Option<(ObjectKind, &str, &str)> {
    let (kind, rest) = if let Some(rest) = path.strip_prefix("/responses/") {
        (ObjectKind::Response, rest)
    } else {
        (
            ObjectKind::Conversation,
            path.strip_prefix("/conversations/")?,
        )
    };
    let (id, below) = rest.split_once('/').unwrap_or((rest, ""));
    Some((kind, id, below))
}

fn is_application(surface: &Surface) -> bool {
    matches!(surface, Surface::Other { root: Root::Native, path, .. } if path.starts_with("/apps/"))
}

/// Leaves of a plan what has the things that a call names.
pub(super) fn bind(plan: &mut Plan, call: &Call, accounts: &[Account]) {
    match call.demand.holder {
        Holder::Anywhere => {}
        Holder::Account(holder) if &*call.demand.model == STORED => {
            plan.targets = vec![Target::at(holder)];
            plan.group = 1;
        }
        Holder::Account(holder) => plan.retain(|target| target.account == holder),
        Holder::Here => plan.retain(|target| {
            let account = accounts.get(target.account);
            account.is_some_and(|account| !account.is_service())
        }),
    }
}

/// What becomes of things by a good answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect<'a> {
    Makes(ObjectKind),
    Deletes(ObjectKind, &'a str),
}

fn effect(call: &Call) -> Option<Effect<'_>> {
    match &call.surface {
        Surface::Responses => Some(Effect::Makes(ObjectKind::Response)),
        surface if is_application(surface) => Some(Effect::Makes(ObjectKind::Session)),
        Surface::Other { path, model, .. } if model.as_deref() == Some(STORED) => {
            if &**path == "/conversations" && call.method == Method::POST {
                return Some(Effect::Makes(ObjectKind::Conversation));
            }
            let (kind, id, below) = of_path(path)?;
            (below.is_empty() && call.method == Method::DELETE).then_some(Effect::Deletes(kind, id))
        }
        _ => None,
    }
}

/// Remembers whose it is what an answer brings, or forgets what is gone. The answer is the same
/// afterwards, but for how much of it has been received.
pub(super) async fn note(
    worker: &Worker,
    call: &Call,
    record: &Record,
    answer: http::Response<UpstreamBody>,
) -> Result<http::Response<UpstreamBody>, UpstreamError> {
    let effect = effect(call).filter(|_| answer.status().is_success());
    let (Some(effect), Some(owner), Some(target)) = (effect, &record.owner, &record.target) else {
        return Ok(answer);
    };
    let idle = record.idle_limit();
    let objects = &worker.state.objects;
    let kind = match effect {
        Effect::Makes(kind) => kind,
        Effect::Deletes(kind, id) => {
            objects.forget(kind, id).await;
            return Ok(answer);
        }
    };
    let (answer, id) = if headers::is_event_stream(answer.headers()) {
        look_ahead(answer, kind, idle).await
    } else {
        let (head, body) = plain::hold(answer, idle).await?.into_parts();
        let (body, id) = look_inside(body, kind).await;
        (http::Response::from_parts(head, body), id)
    };
    match (id, worker.state.accounts.get(target.account)) {
        (Some(id), Some(account)) => {
            let tenant = owner.tenant_key();
            objects.keep(kind, &id, &tenant, account.name()).await;
        }
        _ => tracing::warn!(
            kind = kind.as_str(),
            "an answer has no id that could be found; nobody can come back to it"
        ),
    }
    Ok(answer)
}

/// Reads the id of an answer that was received whole.
async fn look_inside(mut body: UpstreamBody, kind: ObjectKind) -> (UpstreamBody, Option<String>) {
    let Some(Ok(frame)) = body.frame().await else {
        return (body, None);
    };
    let Ok(data) = frame.into_data() else {
        return (body, None);
    };
    let id = serde_json::from_slice(&data).ok();
    let id = id.and_then(|value: Value| id_in(kind, &value));
    let pieces = VecDeque::from([data]);
    (Box::pin(Ahead { pieces, body }), id)
}

/// Reads a stream until its id is known.
async fn look_ahead(
    answer: http::Response<UpstreamBody>,
    kind: ObjectKind,
    idle: Duration,
) -> (http::Response<UpstreamBody>, Option<String>) {
    let (head, mut body) = answer.into_parts();
    let mut pieces = VecDeque::new();
    let mut seen = Vec::new();
    let mut id = None;
    while id.is_none() && seen.len() < MAX_AHEAD_BYTES {
        // Whoever reads on finds the same silence, break or end.
        let Ok(Some(Ok(frame))) = tokio::time::timeout(idle, body.frame()).await else {
            break;
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        seen.extend_from_slice(&data);
        pieces.push_back(data);
        id = frames::split(&seen)
            .filter_map(frames::data_of)
            .filter_map(|data| serde_json::from_slice(data).ok())
            .find_map(|event| id_in(kind, &event));
    }
    let body: UpstreamBody = Box::pin(Ahead { pieces, body });
    (http::Response::from_parts(head, body), id)
}

/// Where an answer, or an event of it, has the id.
fn id_in(kind: ObjectKind, value: &Value) -> Option<String> {
    let id = match kind {
        ObjectKind::Response => {
            let response = value.get("response").unwrap_or(value);
            // Events have ids of their own.
            (response.get("object")? == "response").then_some(response.get("id"))?
        }
        ObjectKind::Session => value.get("output")?.get("session_id"),
        _ => value.get("id"),
    };
    id?.as_str().filter(|id| !id.is_empty()).map(str::to_owned)
}

/// What was read ahead, and the rest.
struct Ahead {
    pieces: VecDeque<Bytes>,
    body: UpstreamBody,
}

impl http_body::Body for Ahead {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        self.body.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(surface: &Surface, body: &str) -> Result<Vec<(ObjectKind, String)>, Refusal> {
        named(surface, &Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn what_a_response_goes_on_from_is_found_however_it_is_written() {
        let response = |id: &str| vec![(ObjectKind::Response, id.to_owned())];
        let conversation = vec![(ObjectKind::Conversation, "conv_1".to_owned())];
        for (body, expected) in [
            (r#"{"previous_response_id":"r1"}"#, response("r1")),
            (r#"{"previous_respons\u0065_id":"r\u0031"}"#, response("r1")),
            (r#"{"previous_response_id":null,"input":"x"}"#, Vec::new()),
            (r#"{"conversation":"conv_1"}"#, conversation.clone()),
            (r#"{"conversation":{"id":"conv_1","x":1}}"#, conversation),
            (r#"{"input":[{"previous_response_id":"r2"}]}"#, Vec::new()),
        ] {
            assert_eq!(
                names(&Surface::Responses, body).unwrap(),
                expected,
                "{body}"
            );
        }
        for body in [
            r#"{"previous_response_id":"mine","previous_response_id":"yours"}"#,
            r#"{"conversation":"mine","conversation":"yours"}"#,
            r#"{"conversation":{"id":"mine","id":"yours"}}"#,
            r#"{"previous_response_id":["yours"]}"#,
            r#"{"conversation":7}"#,
        ] {
            assert!(names(&Surface::Responses, body).is_err(), "{body}");
        }
    }

    #[test]
    fn paths_name_their_thing() {
        let stored = |path: &str| Surface::Other {
            root: Root::OpenAi,
            path: path.into(),
            model: Some(STORED.into()),
        };
        for (path, expected) in [
            ("/responses/r1", Some((ObjectKind::Response, "r1"))),
            (
                "/responses/r1/input_items",
                Some((ObjectKind::Response, "r1")),
            ),
            ("/responses//r1", Some((ObjectKind::Response, ""))),
            (
                "/conversations/c/items/i",
                Some((ObjectKind::Conversation, "c")),
            ),
            ("/conversations", None),
        ] {
            let found = named(&stored(path), &Bytes::new()).unwrap();
            let expected: Vec<_> = expected
                .map(|(kind, id)| (kind, id.to_owned()))
                .into_iter()
                .collect();
            assert_eq!(found, expected, "{path}");
        }
        let application = Surface::Other {
            root: Root::Native,
            path: "/apps/a/completion".into(),
            model: Some("app-a".into()),
        };
        let session = names(&application, r#"{"input":{"prompt":"","session_id":"s"}}"#);
        assert_eq!(session.unwrap(), [(ObjectKind::Session, "s".to_owned())]);
        let first = names(&application, r#"{"input":{"session_id":""}}"#);
        assert_eq!(first.unwrap(), []);
    }

    #[test]
    fn ids_stand_where_the_protocol_has_them() {
        let response = json!({ "id": "r", "object": "response" });
        let event = json!({ "type": "response.created", "response": response });
        let item = json!({ "type": "response.output_item.added", "item": { "id": "msg_1" } });
        assert_eq!(id_in(ObjectKind::Response, &response).as_deref(), Some("r"));
        assert_eq!(id_in(ObjectKind::Response, &event).as_deref(), Some("r"));
        assert_eq!(id_in(ObjectKind::Response, &item), None);
        let said = json!({ "output": { "session_id": "s" } });
        assert_eq!(id_in(ObjectKind::Session, &said).as_deref(), Some("s"));
    }
}
