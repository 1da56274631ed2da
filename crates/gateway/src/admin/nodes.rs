//! What tenants, projects and keys have in common: lists, reading, changing, deleting.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use bailian_tenants::model::Row;
use bailian_tenants::settings::{Problem, Settings, SettingsInput};
use bailian_tenants::store::StoreError;
use bailian_tenants::{Directory, Level, NodeId};
use http::StatusCode;
use http::header::{ETAG, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::fault::Fault;
use super::input::{Act, FromBody, IfMatch, Members};
use super::view::{Context, View};

/// The most entries of a page.
const MOST: usize = 1_000;
/// The entries of a page by default.
const USUAL: usize = 100;

/// Which ones to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only those of this tenant.
    tenant: Option<String>,
    /// Only those of this project.
    project: Option<String>,
    /// Only those with exactly this name.
    name: Option<String>,
    /// Only those behind this id, which `next` of the page before said.
    after: Option<String>,
    /// The most entries, up to 1000; 100 if left out.
    limit: Option<usize>,
}

/// How something is deleted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeleteQuery {
    /// The revision that was read, unless `If-Match` says it.
    revision: Option<u64>,
    /// Ends open streams at once, too.
    #[serde(default)]
    cut_streams: bool,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// `list`.
    pub(super) object: &'static str,
    /// In the order of their ids.
    pub(super) data: Vec<T>,
    /// What to give as `after` for the next page; left out on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

impl<T> Page<T> {
    pub(super) fn new(data: Vec<T>, next: Option<String>) -> Self {
        Self {
            object: "list",
            data,
            next,
        }
    }
}

/// Members to change: others stay, `null` takes one away (a JSON merge patch, RFC 7396).
#[derive(Debug)]
pub(super) struct Patch {
    revision: Option<u64>,
    members: Map<String, Value>,
}

impl FromBody for Patch {
    fn from_body(body: &[u8]) -> Result<Self, Vec<Problem>> {
        let mut members = Members::read(body)?;
        Ok(Self {
            revision: members.optional("revision"),
            members: members.rest()?,
        })
    }
}

/// The form of a patch, for the document alone.
#[derive(ToSchema)]
#[schema(as = Patch)]
#[expect(dead_code, reason = "for the document alone")]
pub(super) struct PatchBody {
    /// The revision that was read, unless `If-Match` says it.
    revision: Option<u64>,
    #[schema(inline)]
    settings: Option<SettingsInput>,
}

/// One page of the tenants, projects or keys.
pub(super) fn list(act: &Act, level: Level, query: &ListQuery) -> Result<Response, Fault> {
    let mut problems = Vec::new();
    let mut id = |name: &str, text: &Option<String>| -> Option<NodeId> {
        let text = text.as_deref()?;
        let parsed: Result<NodeId, _> = text.parse();
        parsed
            .map_err(|error| problems.push(Problem::new(name, error.to_string())))
            .ok()
    };
    let (tenant, project) = (id("tenant", &query.tenant), id("project", &query.project));
    let after = id("after", &query.after);
    let limit = query.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        problems.push(Problem::new(
            "limit",
            format!("is not between 1 and {MOST}"),
        ));
    }
    if !problems.is_empty() {
        return Err(Fault::invalid(problems));
    }
    let directory = act.accounting.live.current();
    let mut ids: Vec<NodeId> = directory
        .nodes()
        .filter(|(owner, node)| {
            node.id().level() == level
                && tenant.is_none_or(|tenant| tenant == NodeId::Tenant(*owner))
                && project.is_none_or(|project| parent_is(&directory, node.id(), project))
                && query.name.as_ref().is_none_or(|name| node.name() == name)
                && after.is_none_or(|after| node.id() > after)
        })
        .map(|(_, node)| node.id())
        .collect();
    ids.sort_unstable();
    let next = (ids.len() > limit).then(|| ids[limit - 1].to_string());
    ids.truncate(limit);
    let mut data = Vec::with_capacity(ids.len());
    for id in ids {
        // What was deleted this moment is not in the list.
        if let Some((row, is_fixed)) = find(act, id)? {
            data.extend(view(act, row, is_fixed));
        }
    }
    Ok(Json(Page::new(data, next)).into_response())
}

fn parent_is(directory: &Directory, id: NodeId, project: NodeId) -> bool {
    let NodeId::Key(key) = id else { return false };
    let caller = directory.caller_of(key);
    caller.is_some_and(|caller| NodeId::Project(caller.project_id()) == project)
}

/// One row, and whether it stands in the configuration.
fn find(act: &Act, id: NodeId) -> Result<Option<(Row, bool)>, Fault> {
    if let Some(row) = act.accounting.fixed.iter().find(|row| row.id() == id) {
        return Ok(Some((row.clone(), true)));
    }
    let row = act.accounting.admin.store().row(id)?;
    Ok(row.map(|row| (row, false)))
}

pub(super) fn is_fixed(act: &Act, id: NodeId) -> bool {
    act.accounting.fixed.iter().any(|row| row.id() == id)
}

/// The form in which a row is shown.
pub(super) fn view(act: &Act, row: Row, is_fixed: bool) -> Option<View> {
    let tenant = match &row {
        Row::Key(key) => {
            let project = NodeId::Project(key.project);
            let directory = act.accounting.live.current();
            let mut nodes = directory.nodes();
            nodes.find_map(|(tenant, node)| (node.id() == project).then(|| tenant.to_string()))
        }
        _ => None,
    };
    let context = Context {
        now: act.now().wall,
        is_fixed,
        tenant,
    };
    View::of(row, context)
}

pub(super) fn get(act: &Act, id: NodeId) -> Result<Response, Fault> {
    let (row, is_fixed) = find(act, id)?.ok_or_else(|| Fault::no_such(&id.to_string()))?;
    answer(act, StatusCode::OK, row, is_fixed)
}

/// An answer that shows a row, with its revision as its tag.
pub(super) fn answer(
    act: &Act,
    status: StatusCode,
    row: Row,
    is_fixed: bool,
) -> Result<Response, Fault> {
    let revision = row.revision().0;
    let view = view(act, row, is_fixed).ok_or_else(Fault::internal)?;
    Ok(tagged(status, revision, &view))
}

/// An answer with a revision as its tag.
pub(super) fn tagged(status: StatusCode, revision: u64, body: &impl Serialize) -> Response {
    let mut response = (status, Json(body)).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{revision}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// Changes some members of what was read at a revision.
pub(super) fn patch(
    act: &Act,
    id: NodeId,
    if_match: IfMatch,
    patch: Patch,
) -> Result<Response, Fault> {
    changeable(act, id)?;
    let expected = if_match.or(patch.revision)?;
    let row = act.accounting.admin.store().row(id)?;
    let row = row.ok_or_else(|| Fault::no_such(&id.to_string()))?;
    let input = merged(row.settings(), patch.members)?;
    if id.level() == Level::Tenant && input.name != row.settings().name {
        free_for_a_tenant(act, &input.name)?;
    }
    let admin = &act.accounting.admin;
    let row = admin.update(id, expected, input, &act.actor, act.now().wall)?;
    answer(act, StatusCode::OK, row, false)
}

/// Deletes what was read at a revision, and all below it.
pub(super) fn delete(
    act: &Act,
    id: NodeId,
    if_match: IfMatch,
    query: &DeleteQuery,
) -> Result<Response, Fault> {
    changeable(act, id)?;
    let expected = if_match.or(query.revision)?;
    let (admin, now) = (&act.accounting.admin, act.now().wall);
    admin.delete(id, expected, query.cut_streams, &act.actor, now)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What stands in the configuration is changed there.
pub(super) fn changeable(act: &Act, id: NodeId) -> Result<(), Fault> {
    if is_fixed(act, id) {
        return Err(Fault::fixed(id));
    }
    Ok(())
}

/// The store keeps names of tenants unique, but knows none of those in the configuration.
pub(super) fn free_for_a_tenant(act: &Act, name: &str) -> Result<(), Fault> {
    let is_taken = act
        .accounting
        .fixed
        .iter()
        .any(|row| matches!(row, Row::Tenant(tenant) if tenant.settings.name == name));
    if is_taken {
        return Err(StoreError::NameTaken.into());
    }
    Ok(())
}

fn merged(settings: &Settings, members: Map<String, Value>) -> Result<SettingsInput, Fault> {
    let mut value = serde_json::to_value(settings).map_err(|_| Fault::internal())?;
    merge(&mut value, Value::Object(members));
    let text = value.to_string();
    SettingsInput::from_json(text.as_bytes()).map_err(Fault::invalid)
}

/// RFC 7396.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(target) = target {
        for (name, value) in patch {
            if value.is_null() {
                target.remove(&name);
            } else {
                merge(target.entry(name).or_insert(Value::Null), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_changes_what_it_names_and_null_takes_away() {
        let mut value = json!({ "name": "a", "limits": { "rpm": 1, "tpm": 2 }, "weight": 3 });
        let patch = json!({ "limits": { "rpm": 5 }, "weight": null, "models": ["qwen*"] });
        merge(&mut value, patch);
        let expected =
            json!({ "name": "a", "limits": { "rpm": 5, "tpm": 2 }, "models": ["qwen*"] });
        assert_eq!(value, expected);
    }
}
