//! `/keys`.

use axum::response::Response;
use bailian_tenants::key::KeyText;
use bailian_tenants::model::{Row, VirtualKey};
use bailian_tenants::settings::{Problem, SettingsInput};
use bailian_tenants::{KeyId, Level, NodeId, ProjectId};
use http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use utoipa::ToSchema;

use super::fault::{Fault, Faults, Overtaken};
use super::input::{self, Act, FromBody, Id, IfMatch, Input, Members, Params};
use super::nodes::{self, DeleteQuery, ListQuery, Page, Patch, PatchBody};
use super::view::{KeyView, MadeKey, View};

/// A new key.
#[derive(Debug)]
pub(super) struct NewKey {
    project: ProjectId,
    chosen: Option<SecretString>,
    settings: SettingsInput,
}

/// Its form, for the document alone.
#[derive(ToSchema)]
#[schema(as = NewKey)]
#[expect(dead_code, reason = "for the document alone")]
pub(super) struct NewKeyBody {
    /// The project that it belongs to.
    #[schema(example = "p_4fTz81QwXk")]
    project: String,
    /// A text that somebody chose; left out, one is made and shown in the answer.
    key: Option<String>,
    #[serde(flatten)]
    settings: SettingsInput,
}

impl FromBody for NewKey {
    fn from_body(body: &[u8]) -> Result<Self, Vec<Problem>> {
        let mut members = Members::read(body)?;
        let project = members.required("project");
        let chosen: Option<String> = members.optional("key");
        let settings = members.rest_as()?;
        Ok(Self {
            project: project.ok_or_else(|| vec![Problem::new("project", "is missing")])?,
            chosen: chosen.map(SecretString::from),
            settings,
        })
    }
}

/// A new secret for a key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotate {
    /// How long the old secrets open beside the new one, such as `24h`; `0s` ends them at once.
    /// At most 90 days.
    #[schema(example = "24h")]
    overlap: String,
    /// The revision that was read, unless `If-Match` says it.
    revision: Option<u64>,
}

/// The end of a key.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Revoke {
    /// Ends its open streams at once, too.
    #[serde(default)]
    cut_streams: bool,
}

impl FromBody for Rotate {
    fn from_body(body: &[u8]) -> Result<Self, Vec<Problem>> {
        input::json(body)
    }
}

impl FromBody for Revoke {
    fn from_body(body: &[u8]) -> Result<Self, Vec<Problem>> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        input::json(body)
    }
}

/// Keys, without what opens them, in the order of their ids.
#[utoipa::path(
    get, path = "/keys", tag = "keys",
    params(ListQuery),
    responses(
        (status = 200, body = Page<KeyView>),
        Faults,
    )
)]
pub(super) async fn list(act: Act, Params(query): Params<ListQuery>) -> Result<Response, Fault> {
    act.run(move |act| nodes::list(act, Level::Key, &query))
        .await
}

/// Makes a key, and shows its secret this once.
#[utoipa::path(
    post, path = "/keys", tag = "keys",
    request_body = NewKeyBody,
    responses(
        (status = 201, body = MadeKey),
        Faults,
    )
)]
pub(super) async fn create(act: Act, Input(new): Input<NewKey>) -> Result<Response, Fault> {
    act.change(move |act| {
        nodes::changeable(act, NodeId::Project(new.project))?;
        let (admin, now) = (&act.accounting.admin, act.now().wall);
        let (project, settings) = (new.project, new.settings);
        let (key, text) = match new.chosen {
            Some(text) => {
                let key = admin.create_chosen_key(project, settings, &text, &act.actor, now)?;
                (key, None)
            }
            None => {
                let (key, text) = admin.create_key(project, settings, &act.actor, now)?;
                (key, Some(text))
            }
        };
        made(act, StatusCode::CREATED, key, text)
    })
    .await
}

/// The answer that shows a secret, which is the only one.
fn made(
    act: &Act,
    status: StatusCode,
    key: VirtualKey,
    text: Option<KeyText>,
) -> Result<Response, Fault> {
    let revision = key.revision.0;
    let Some(View::Key(view)) = nodes::view(act, Row::Key(key), false) else {
        return Err(Fault::internal());
    };
    let body = MadeKey {
        key: text.map(|text| text.expose_secret().to_owned()),
        view: *view,
    };
    Ok(nodes::tagged(status, revision, &body))
}

/// One key.
#[utoipa::path(
    get, path = "/keys/{id}", tag = "keys",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = KeyView),
        Faults,
    )
)]
pub(super) async fn get(act: Act, Id(id): Id<KeyId>) -> Result<Response, Fault> {
    act.run(move |act| nodes::get(act, NodeId::Key(id))).await
}

/// Changes some settings of a key, at the revision that was read.
#[utoipa::path(
    patch, path = "/keys/{id}", tag = "keys",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = PatchBody,
    responses(
        (status = 200, body = KeyView),
        Overtaken,
        Faults,
    )
)]
pub(super) async fn patch(
    act: Act,
    Id(id): Id<KeyId>,
    if_match: IfMatch,
    Input(patch): Input<Patch>,
) -> Result<Response, Fault> {
    act.change(move |act| nodes::patch(act, NodeId::Key(id), if_match, patch))
        .await
}

/// Deletes a key. Its records and its audit entries stay.
#[utoipa::path(
    delete, path = "/keys/{id}", tag = "keys",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header), DeleteQuery),
    responses(
        (status = 204),
        Overtaken,
        Faults,
    )
)]
pub(super) async fn delete(
    act: Act,
    Id(id): Id<KeyId>,
    if_match: IfMatch,
    Params(query): Params<DeleteQuery>,
) -> Result<Response, Fault> {
    act.change(move |act| nodes::delete(act, NodeId::Key(id), if_match, &query))
        .await
}

/// Gives a key a new secret, which is shown this once.
#[utoipa::path(
    post, path = "/keys/{id}/rotate", tag = "keys",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = Rotate,
    responses(
        (status = 200, body = MadeKey),
        Overtaken,
        Faults,
    )
)]
pub(super) async fn rotate(
    act: Act,
    Id(id): Id<KeyId>,
    if_match: IfMatch,
    Input(rotate): Input<Rotate>,
) -> Result<Response, Fault> {
    let expected = if_match.or(rotate.revision)?;
    let Ok(overlap) = humantime::parse_duration(&rotate.overlap) else {
        let problem = "is not a duration such as \"24h\" or \"0s\"";
        return Err(Fault::of_place("overlap", problem));
    };
    act.change(move |act| {
        nodes::changeable(act, NodeId::Key(id))?;
        let (admin, now) = (&act.accounting.admin, act.now().wall);
        let (key, text) = admin.rotate(id, expected, overlap, &act.actor, now)?;
        made(act, StatusCode::OK, key, Some(text))
    })
    .await
}

/// Ends a key for ever, whatever its revision is.
#[utoipa::path(
    post, path = "/keys/{id}/revoke", tag = "keys",
    params(("id" = String, Path)),
    request_body = Revoke,
    responses(
        (status = 200, body = KeyView),
        Faults,
    )
)]
pub(super) async fn revoke(
    act: Act,
    Id(id): Id<KeyId>,
    Input(revoke): Input<Revoke>,
) -> Result<Response, Fault> {
    act.change(move |act| {
        nodes::changeable(act, NodeId::Key(id))?;
        let (admin, now) = (&act.accounting.admin, act.now().wall);
        let key = admin.revoke(id, revoke.cut_streams, &act.actor, now)?;
        nodes::answer(act, StatusCode::OK, Row::Key(key), false)
    })
    .await
}
