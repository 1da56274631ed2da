//! Which rows a store is asked for: the same questions for all databases.

use super::raw::signed;
use super::{MAX_PAGE, StoreError};
use crate::id::{Level, NodeId};
use crate::model::{Revision, Row};

/// A row, or what is wrong with it.
pub(super) type Found = Result<Row, StoreError>;

/// The rows of one level that fit a condition.
#[derive(Debug)]
pub(super) struct Select {
    pub(super) level: Level,
    /// With `#` before the numbers of parameters.
    condition: &'static str,
    pub(super) by: Vec<Value>,
}

/// What is bound to a parameter.
#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Number(i64),
}

impl Select {
    /// What changed after a revision, parents before children.
    pub(super) fn changed(since: Revision) -> [Self; 3] {
        [Level::Tenant, Level::Project, Level::Key].map(|level| Self {
            level,
            condition: "revision > #1",
            by: vec![Value::Number(signed(since.0))],
        })
    }

    pub(super) fn one(id: NodeId) -> Self {
        Self {
            level: id.level(),
            condition: "id = #1",
            by: vec![Value::Text(id.to_string())],
        }
    }

    /// A page of the tenants, or of what belongs to a parent; keys have nothing that does.
    pub(super) fn children(
        parent: Option<NodeId>,
        after: Option<NodeId>,
        limit: u32,
    ) -> Option<Self> {
        let (level, condition) = match parent {
            None => (Level::Tenant, "id > #1 ORDER BY id LIMIT #2"),
            Some(NodeId::Tenant(_)) => (
                Level::Project,
                "id > #1 AND tenant = #3 ORDER BY id LIMIT #2",
            ),
            Some(NodeId::Project(_)) => {
                (Level::Key, "id > #1 AND project = #3 ORDER BY id LIMIT #2")
            }
            Some(NodeId::Key(_)) => return None,
        };
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let mut by = vec![
            Value::Text(after),
            Value::Number(limit.min(MAX_PAGE).into()),
        ];
        by.extend(parent.map(|id| Value::Text(id.to_string())));
        Some(Self {
            level,
            condition,
            by,
        })
    }

    /// The statement, for a database with something before the names of tables and a sign before
    /// the numbers of parameters. The columns of all levels begin alike.
    pub(super) fn sql(&self, schema: &str, sign: &str) -> String {
        let (table, own) = match self.level {
            Level::Tenant => ("tenants", ""),
            Level::Project => ("projects", ", tenant"),
            Level::Key => ("keys", ", project, revoked_at, cut_streams"),
        };
        let condition = self.condition.replace('#', sign);
        format!(
            "SELECT id, revision, created_at, settings{own} FROM {schema}{table} WHERE {condition}"
        )
    }
}
