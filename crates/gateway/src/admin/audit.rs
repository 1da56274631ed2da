//! `GET /audit`: who changed what, from where, when.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use utoipa::{IntoParams, ToSchema};

use super::fault::{Fault, Faults};
use super::input::Act;
use super::nodes::Page;
use super::query::Fields;

/// Which part of the log.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the document alone")]
pub(super) struct AuditQuery {
    /// Only entries before this number, which `next` of the page before said.
    before: Option<u64>,
    /// The most entries, up to 1000; 100 if left out.
    limit: Option<u32>,
}

/// An entry of the log, which is never changed and never deleted.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document alone")]
struct AuditEntry {
    /// Greater than those of all entries before.
    number: u64,
    /// The change that it tells of.
    revision: u64,
    #[schema(format = DateTime)]
    at: String,
    /// `operator`, or `first start`.
    who: String,
    /// The address that the request came from.
    from: Option<String>,
    /// `create`, `update`, `rotate`, `revoke`, `delete`, `read_content` or `delete_content`.
    action: String,
    /// The id of what was changed.
    target: String,
    /// How it was, without secrets.
    before: Option<std::collections::HashMap<String, String>>,
    /// How it is, without secrets.
    after: Option<std::collections::HashMap<String, String>>,
}

/// The audit log, newest first.
#[utoipa::path(
    get, path = "/audit", tag = "keys",
    params(AuditQuery),
    responses(
        (status = 200, body = Page<AuditEntry>),
        Faults,
    )
)]
pub(super) async fn list(act: Act, mut fields: Fields) -> Result<Response, Fault> {
    let before = fields.read("before", "the number of an entry", |text| {
        let number: Option<u64> = text.parse().ok();
        number.filter(|number| i64::try_from(*number).is_ok())
    });
    let limit = fields.limit(100, 1_000);
    fields.end()?;
    let page = act
        .run(move |act| {
            let entries = act.accounting.admin.store().audit(before, limit)?;
            let is_full = entries.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
            let last = entries.last().filter(|_| is_full);
            let next = last.map(|last| last.number.to_string());
            Ok(Page::new(entries, next))
        })
        .await?;
    Ok(Json(page).into_response())
}
