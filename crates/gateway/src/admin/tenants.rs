//! `/tenants`.

use axum::response::Response;
use bailian_tenants::model::Row;
use bailian_tenants::settings::{Problem, SettingsInput};
use bailian_tenants::{Level, NodeId, TenantId};
use http::StatusCode;

use super::fault::{Fault, Faults, Overtaken};
use super::input::{self, Act, FromBody, Id, IfMatch, Input, Params};
use super::nodes::{self, DeleteQuery, ListQuery, Page, Patch, PatchBody};
use super::view::TenantView;

/// A new tenant.
#[derive(Debug)]
pub(super) struct NewTenant(SettingsInput);

impl FromBody for NewTenant {
    fn from_body(body: &[u8]) -> Result<Self, Vec<Problem>> {
        input::json(body).map(Self)
    }
}

/// Tenants, in the order of their ids.
#[utoipa::path(
    get, path = "/tenants", tag = "keys",
    params(ListQuery),
    responses(
        (status = 200, body = Page<TenantView>),
        Faults,
    )
)]
pub(super) async fn list(act: Act, Params(query): Params<ListQuery>) -> Result<Response, Fault> {
    act.run(move |act| nodes::list(act, Level::Tenant, &query))
        .await
}

/// Makes a tenant.
#[utoipa::path(
    post, path = "/tenants", tag = "keys",
    request_body = SettingsInput,
    responses(
        (status = 201, body = TenantView),
        Faults,
    )
)]
pub(super) async fn create(act: Act, Input(new): Input<NewTenant>) -> Result<Response, Fault> {
    act.change(move |act| {
        nodes::free_for_a_tenant(act, &new.0.name)?;
        let admin = &act.accounting.admin;
        let tenant = admin.create_tenant(new.0, &act.actor, act.now().wall)?;
        nodes::answer(act, StatusCode::CREATED, Row::Tenant(tenant), false)
    })
    .await
}

/// One tenant.
#[utoipa::path(
    get, path = "/tenants/{id}", tag = "keys",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = TenantView),
        Faults,
    )
)]
pub(super) async fn get(act: Act, Id(id): Id<TenantId>) -> Result<Response, Fault> {
    act.run(move |act| nodes::get(act, NodeId::Tenant(id)))
        .await
}

/// Changes some settings of a tenant, at the revision that was read.
#[utoipa::path(
    patch, path = "/tenants/{id}", tag = "keys",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = PatchBody,
    responses(
        (status = 200, body = TenantView),
        Overtaken,
        Faults,
    )
)]
pub(super) async fn patch(
    act: Act,
    Id(id): Id<TenantId>,
    if_match: IfMatch,
    Input(patch): Input<Patch>,
) -> Result<Response, Fault> {
    act.change(move |act| nodes::patch(act, NodeId::Tenant(id), if_match, patch))
        .await
}

/// Deletes a tenant with its projects and keys. Its records and its audit entries stay.
#[utoipa::path(
    delete, path = "/tenants/{id}", tag = "keys",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header), DeleteQuery),
    responses(
        (status = 204),
        Overtaken,
        Faults,
    )
)]
pub(super) async fn delete(
    act: Act,
    Id(id): Id<TenantId>,
    if_match: IfMatch,
    Params(query): Params<DeleteQuery>,
) -> Result<Response, Fault> {
    act.change(move |act| nodes::delete(act, NodeId::Tenant(id), if_match, &query))
        .await
}
