//! `/projects`.

use axum::Json;
use axum::extract::Path;
use axum::response::Response;
use bailian_tenants::{Level, NodeId, ProjectId, TenantId};

use super::fault::{ErrorBody, Fault};
use super::input::{Act, IfMatch, Input, Params};
use super::nodes::{self, DeleteQuery, ListQuery, Page, Patch, PatchBody};
use super::view::{ProjectView, View};
use axum::response::IntoResponse as _;
use bailian_tenants::model::Row;
use bailian_tenants::settings::{Problem, SettingsInput};
use http::StatusCode;

use super::input::{FromBody, Members};
use utoipa::ToSchema;

/// A new project.
#[derive(Debug)]
pub(super) struct NewProject {
    tenant: TenantId,
    settings: SettingsInput,
}

/// Its form, for the document alone.
#[derive(ToSchema)]
#[schema(as = NewProject)]
#[expect(dead_code, reason = "for the document alone")]
pub(super) struct NewProjectBody {
    /// The tenant that it belongs to.
    #[schema(example = "t_4fTz81QwXk")]
    tenant: String,
    #[schema(inline = false)]
    #[serde(flatten)]
    settings: SettingsInput,
}

impl FromBody for NewProject {
    fn from_body(body: &[u8]) -> Result<Self, Vec<Problem>> {
        let mut members = Members::read(body)?;
        let tenant = members.required("tenant");
        let settings = members.rest_as()?;
        let tenant = tenant.ok_or_else(|| vec![Problem::new("tenant", "is missing")])?;
        Ok(Self { tenant, settings })
    }
}

fn id(text: &str) -> Result<NodeId, Fault> {
    let id: ProjectId = text.parse().map_err(|_| Fault::no_such(text))?;
    Ok(NodeId::Project(id))
}

/// Projects, in the order of their ids.
#[utoipa::path(
    get, path = "/projects", tag = "keys",
    params(ListQuery),
    responses(
        (status = 200, body = Page<ProjectView>),
        (status = "4XX", body = ErrorBody),
        (status = "5XX", body = ErrorBody),
    )
)]
pub(super) async fn list(act: Act, Params(query): Params<ListQuery>) -> Result<Response, Fault> {
    let page: Page<View> = act
        .run(move |act| nodes::list(act, Level::Project, &query))
        .await?;
    Ok(Json(page).into_response())
}

/// Makes a project.
#[utoipa::path(
    post, path = "/projects", tag = "keys",
    request_body = NewProjectBody,
    responses(
        (status = 201, body = ProjectView),
        (status = "4XX", body = ErrorBody),
        (status = "5XX", body = ErrorBody),
    )
)]
pub(super) async fn create(act: Act, Input(new): Input<NewProject>) -> Result<Response, Fault> {
    act.change(move |act| {
        let admin = &act.accounting.admin;
        nodes::changeable(act, NodeId::Tenant(new.tenant))?;
        let now = act.now().wall;
        let project = admin.create_project(new.tenant, new.settings, &act.actor, now)?;
        nodes::answer(act, StatusCode::CREATED, Row::Project(project), false)
    })
    .await
}

/// One project.
#[utoipa::path(
    get, path = "/projects/{id}", tag = "keys",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = ProjectView),
        (status = "4XX", body = ErrorBody),
        (status = "5XX", body = ErrorBody),
    )
)]
pub(super) async fn get(act: Act, Path(text): Path<String>) -> Result<Response, Fault> {
    let id = id(&text)?;
    act.run(move |act| nodes::get(act, id)).await
}

/// Changes some settings of a project, at the revision that was read.
#[utoipa::path(
    patch, path = "/projects/{id}", tag = "keys",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = PatchBody,
    responses(
        (status = 200, body = ProjectView),
        (status = 412, description = "Somebody else was faster", body = ErrorBody),
        (status = "4XX", body = ErrorBody),
        (status = "5XX", body = ErrorBody),
    )
)]
pub(super) async fn patch(
    act: Act,
    Path(text): Path<String>,
    if_match: IfMatch,
    Input(patch): Input<Patch>,
) -> Result<Response, Fault> {
    let id = id(&text)?;
    act.change(move |act| nodes::patch(act, id, if_match, patch))
        .await
}

/// Deletes a project with its keys. Its records and its audit entries stay.
#[utoipa::path(
    delete, path = "/projects/{id}", tag = "keys",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header), DeleteQuery),
    responses(
        (status = 204),
        (status = 412, description = "Somebody else was faster", body = ErrorBody),
        (status = "4XX", body = ErrorBody),
        (status = "5XX", body = ErrorBody),
    )
)]
pub(super) async fn delete(
    act: Act,
    Path(text): Path<String>,
    if_match: IfMatch,
    Params(query): Params<DeleteQuery>,
) -> Result<Response, Fault> {
    let id = id(&text)?;
    act.change(move |act| nodes::delete(act, id, if_match, &query))
        .await
}
