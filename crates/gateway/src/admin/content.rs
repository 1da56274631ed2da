//! `/records/{id}/content`: what a request said and was answered, where its tenant wanted it kept.
//! Who reads or deletes it stands in the audit log before that is done.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use bailian_ledger::Content;
use bailian_tenants::KeyId;
use bailian_tenants::store::Action;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::fault::{Fault, Faults};
use super::input::{Act, Id};

/// How long to wait for what ended just now to be written.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a request said and was answered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Content)]
pub(super) struct ContentView {
    /// `content`.
    object: &'static str,
    /// The id of the request's record.
    #[schema(value_type = String)]
    id: Uuid,
    /// When it was kept, in milliseconds since the Unix epoch.
    kept_unix_ms: u64,
    /// The tenant's id.
    tenant: String,
    /// The project's id.
    project: String,
    /// The key's id.
    key_id: String,
    /// Whether secrets and persons were taken out.
    redacted: bool,
    /// The body of the request; `null` where there is no text.
    request: Option<String>,
    /// Whether that is its beginning only.
    request_cut: bool,
    /// The body of the answer, of a stream what it adds up to; `null` where there is no text.
    answer: Option<String>,
    /// Whether that is its beginning only.
    answer_cut: bool,
}

impl From<Content> for ContentView {
    fn from(content: Content) -> Self {
        Self {
            object: "content",
            id: content.id,
            kept_unix_ms: content.kept_unix_ms,
            tenant: content.owner.tenant,
            project: content.owner.project,
            key_id: content.owner.key_id,
            redacted: content.redacted,
            request: content.request,
            request_cut: content.request_cut,
            answer: content.answer,
            answer_cut: content.answer_cut,
        }
    }
}

/// What is kept of a request, once the audit log says who asks for it.
fn noted(act: &Act, id: Uuid, action: Action) -> Result<Content, Fault> {
    // What cannot be waited for is not there yet.
    act.accounting.contents.flush(PATIENCE);
    let content = act.accounting.ledger.reader().content(id)?;
    let content = content.ok_or_else(|| Fault::no_such(&id.to_string()))?;
    let key: KeyId = content
        .owner
        .key_id
        .parse()
        .map_err(|_| Fault::internal())?;
    let admin = &act.accounting.admin;
    admin.note_content(action, key, &id.to_string(), &act.actor, act.now().wall)?;
    Ok(content)
}

/// What a request said and was answered. It is there if its tenant asked for it with `keep_content`,
/// for as long as that says. The audit log notes who reads it.
#[utoipa::path(
    get, path = "/records/{id}/content", tag = "usage",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = ContentView),
        Faults,
    )
)]
pub(super) async fn get(act: Act, Id(id): Id<Uuid>) -> Result<Response, Fault> {
    let content = act
        .run(move |act| noted(act, id, Action::ReadContent))
        .await?;
    Ok(Json(ContentView::from(content)).into_response())
}

/// Deletes what a request said and was answered. Its record stays.
#[utoipa::path(
    delete, path = "/records/{id}/content", tag = "usage",
    params(("id" = String, Path)),
    responses(
        (status = 204),
        Faults,
    )
)]
pub(super) async fn delete(act: Act, Id(id): Id<Uuid>) -> Result<Response, Fault> {
    act.run(move |act| {
        noted(act, id, Action::DeleteContent)?;
        act.accounting.ledger.reader().delete_content(id)?;
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
