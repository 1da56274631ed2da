//! `/projects`.

use axum::response::Response;
use bailian_tenants::model::Row;
use bailian_tenants::settings::{Problem, SettingsInput};
use bailian_tenants::{Level, NodeId, ProjectId, TenantId};
use http::StatusCode;
use utoipa::ToSchema;

use super::fault::{Fault, Faults, Overtaken};
use super::input::{Act, FromBody, Id, IfMatch, Input, Members, Params};
use super::nodes::{self, DeleteQuery, ListQuery, Page, Patch, PatchBody};
use super::view::ProjectView;

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

/// Projects, in the order of their ids.
#[utoipa::path(
    get, path = "/projects", tag = "keys",
    params(ListQuery),
    responses(
        (status = 200, body = Page<ProjectView>),
        Faults,
    )
)]
pub(super) async fn list(act: Act, Params(query): Params<ListQuery>) -> Result<Response, Fault> {
    act.run(move |act| nodes::list(act, Level::Project, &query))
        .await
}

/// Makes a project.
#[utoipa::path(
    post, path = "/projects", tag = "keys",
    request_body = NewProjectBody,
    responses(
        (status = 201, body = ProjectView),
        Faults,
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
        Faults,
    )
)]
pub(super) async fn get(act: Act, Id(id): Id<ProjectId>) -> Result<Response, Fault> {
    act.run(move |act| nodes::get(act, NodeId::Project(id)))
        .await
}

/// Changes some settings of a project, at the revision that was read.
#[utoipa::path(
    patch, path = "/projects/{id}", tag = "keys",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = PatchBody,
    responses(
        (status = 200, body = ProjectView),
        Overtaken,
        Faults,
    )
)]
pub(super) async fn patch(
    act: Act,
    Id(id): Id<ProjectId>,
    if_match: IfMatch,
    Input(patch): Input<Patch>,
) -> Result<Response, Fault> {
    act.change(move |act| nodes::patch(act, NodeId::Project(id), if_match, patch))
        .await
}

/// Deletes a project with its keys. Its records and its audit entries stay.
#[utoipa::path(
    delete, path = "/projects/{id}", tag = "keys",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header), DeleteQuery),
    responses(
        (status = 204),
        Overtaken,
        Faults,
    )
)]
pub(super) async fn delete(
    act: Act,
    Id(id): Id<ProjectId>,
    if_match: IfMatch,
    Params(query): Params<DeleteQuery>,
) -> Result<Response, Fault> {
    act.change(move |act| nodes::delete(act, NodeId::Project(id), if_match, &query))
        .await
}
