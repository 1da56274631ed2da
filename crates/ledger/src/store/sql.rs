//! The statements that both databases understand. Only names of the program's own stand in them;
//! what comes from elsewhere is bound.

use std::fmt::Write as _;

use super::columns::{COLUMNS, Kind, Part, Value};
use crate::query::{Filter, GroupBy, Page};
use crate::record::outcome;

/// In what the databases differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavor {
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres,
}

/// A statement and what is bound to it.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) sql: String,
    pub(super) values: Vec<Value<'static>>,
}

/// The sums of usage behind the group's columns and the currency, in this order.
pub(crate) const SUMS: [&str; 12] = [
    "requests",
    "unsettled",
    "estimated",
    "unpriced",
    "input_tokens",
    "cached_tokens",
    "cache_created_tokens",
    "output_tokens",
    "reasoning_tokens",
    "images",
    "media_ms",
    "characters",
];

impl Flavor {
    /// The parameter of a number, as a value of a kind. PostgreSQL reads ids and money from text,
    /// so that their digits pass unchanged.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(unused_variables, reason = "SQLite needs no kinds")
    )]
    fn parameter(self, number: usize, kind: Kind) -> String {
        match self {
            Self::Sqlite => format!("?{number}"),
            #[cfg(feature = "postgres")]
            Self::Postgres => match kind {
                Kind::Id => format!("CAST(CAST(${number} AS text) AS uuid)"),
                Kind::Money => format!("CAST(CAST(${number} AS text) AS numeric)"),
                Kind::Int => format!("CAST(${number} AS bigint)"),
                Kind::Text => format!("CAST(${number} AS text)"),
                Kind::Bool => format!("CAST(${number} AS boolean)"),
            },
        }
    }

    /// A column as it is read.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(unused_variables, reason = "SQLite needs no kinds")
    )]
    fn read(self, name: &str, kind: Kind) -> String {
        match self {
            Self::Sqlite => name.to_owned(),
            #[cfg(feature = "postgres")]
            Self::Postgres => match kind {
                Kind::Id | Kind::Money => format!("CAST({name} AS text)"),
                _ => name.to_owned(),
            },
        }
    }

    /// The exact sum of money. SQLite's own would count in binary fractions.
    fn sum_money(self, expression: &str) -> String {
        match self {
            Self::Sqlite => format!("exact_sum({expression})"),
            #[cfg(feature = "postgres")]
            Self::Postgres => format!("CAST(sum({expression}) AS text)"),
        }
    }

    fn sum(self, expression: &str) -> String {
        match self {
            Self::Sqlite => format!("sum({expression})"),
            #[cfg(feature = "postgres")]
            Self::Postgres => format!("CAST(sum({expression}) AS bigint)"),
        }
    }

    /// The beginning of a request as text, cut to the day or the hour, where clocks are `ahead`
    /// seconds ahead of UTC.
    fn moment(self, hours: bool, ahead: i32) -> String {
        let second = format!("started_unix_ms / 1000 + {ahead}");
        match self {
            Self::Sqlite => {
                let form = if hours { "%Y-%m-%dT%H" } else { "%Y-%m-%d" };
                format!("strftime('{form}', {second}, 'unixepoch')")
            }
            #[cfg(feature = "postgres")]
            Self::Postgres => {
                let form = if hours {
                    "YYYY-MM-DD\"T\"HH24"
                } else {
                    "YYYY-MM-DD"
                };
                format!("to_char(to_timestamp({second}) AT TIME ZONE 'UTC', '{form}')")
            }
        }
    }

    /// Inserts a record that does not exist.
    pub(super) fn insert(self) -> String {
        let names: Vec<_> = COLUMNS.iter().map(|column| column.name).collect();
        let parameters: Vec<_> = COLUMNS
            .iter()
            .enumerate()
            .map(|(index, column)| self.parameter(index + 1, column.kind))
            .collect();
        format!(
            "INSERT INTO ledger_record ({}) VALUES ({}) ON CONFLICT (id) DO NOTHING",
            names.join(", "),
            parameters.join(", ")
        )
    }

    /// Inserts a record, or writes its end if it exists and is not settled.
    pub(super) fn settle(self) -> String {
        let insert = self.insert();
        let insert = insert.trim_end_matches("DO NOTHING");
        let ends: Vec<_> = COLUMNS
            .iter()
            .filter(|column| column.part == Part::End)
            .map(|column| format!("{0} = excluded.{0}", column.name))
            .collect();
        format!(
            "{insert} DO UPDATE SET {} WHERE NOT ledger_record.settled",
            ends.join(", ")
        )
    }

    /// Writes the end of a record whose process died: the end's columns, then the id.
    pub(super) fn reconcile(self) -> String {
        let mut ends = Vec::new();
        for column in COLUMNS.iter().filter(|column| column.part == Part::End) {
            let parameter = self.parameter(ends.len() + 1, column.kind);
            ends.push(format!("{} = {parameter}", column.name));
        }
        format!(
            "UPDATE ledger_record SET {} WHERE id = {} AND NOT settled AND outcome = '{}'",
            ends.join(", "),
            self.parameter(ends.len() + 1, Kind::Id),
            outcome::UNKNOWN
        )
    }

    /// `settled, outcome` of a record.
    pub(super) fn state_of(self) -> String {
        format!(
            "SELECT settled FROM ledger_record WHERE id = {}",
            self.parameter(1, Kind::Id)
        )
    }

    pub(super) fn bury(self) -> String {
        format!(
            "UPDATE ledger_record SET outcome = '{}' WHERE process = {} AND NOT settled AND outcome = '{}'",
            outcome::UNKNOWN,
            self.parameter(1, Kind::Id),
            outcome::RUNNING
        )
    }

    pub(super) fn bury_before(self) -> String {
        format!(
            "UPDATE ledger_record SET outcome = '{}' WHERE started_unix_ms < {} AND NOT settled AND outcome = '{}'",
            outcome::UNKNOWN,
            self.parameter(1, Kind::Int),
            outcome::RUNNING
        )
    }

    pub(super) fn ingested(self) -> String {
        format!(
            "SELECT ingested FROM ledger_segment WHERE name = {}",
            self.parameter(1, Kind::Text)
        )
    }

    /// Parameters: name, from, to. Changes no row unless the segment is ingested to `from`.
    pub(super) fn advance(self) -> String {
        format!(
            "UPDATE ledger_segment SET ingested = {} WHERE name = {} AND ingested = {}",
            self.parameter(3, Kind::Int),
            self.parameter(1, Kind::Text),
            self.parameter(2, Kind::Int)
        )
    }

    pub(super) fn add_segment(self) -> String {
        format!(
            "INSERT INTO ledger_segment (name, ingested) VALUES ({}, 0) ON CONFLICT (name) DO NOTHING",
            self.parameter(1, Kind::Text)
        )
    }

    pub(super) fn forget(self) -> String {
        format!(
            "DELETE FROM ledger_segment WHERE name = {}",
            self.parameter(1, Kind::Text)
        )
    }

    pub(super) fn delete_before(self) -> String {
        format!(
            "DELETE FROM ledger_record WHERE id IN (SELECT id FROM ledger_record \
             WHERE started_unix_ms < {} ORDER BY started_unix_ms LIMIT {})",
            self.parameter(1, Kind::Int),
            self.parameter(2, Kind::Int)
        )
    }

    pub(super) fn keep(self) -> String {
        let id = self.parameter(1, Kind::Id);
        let kept = self.parameter(2, Kind::Int);
        let rest: Vec<_> = (3..=10)
            .map(|number| match number {
                6 | 8 | 10 => self.parameter(number, Kind::Bool),
                _ => self.parameter(number, Kind::Text),
            })
            .collect();
        format!(
            "INSERT INTO ledger_content (id, kept_unix_ms, tenant, project, key_id, redacted, \
             request, request_cut, answer, answer_cut) VALUES ({id}, {kept}, {}) \
             ON CONFLICT DO NOTHING",
            rest.join(", ")
        )
    }

    pub(super) fn content(self) -> String {
        format!(
            "SELECT kept_unix_ms, tenant, project, key_id, redacted, request, request_cut, answer, \
             answer_cut FROM ledger_content WHERE id = {}",
            self.parameter(1, Kind::Id)
        )
    }

    pub(super) fn delete_content(self) -> String {
        format!(
            "DELETE FROM ledger_content WHERE id = {}",
            self.parameter(1, Kind::Id)
        )
    }

    #[expect(clippy::unused_self, reason = "as the other statements are asked for")]
    pub(super) fn content_owners(self) -> &'static str {
        "SELECT DISTINCT tenant, project, key_id FROM ledger_content"
    }

    pub(super) fn delete_contents(self) -> String {
        let [tenant, project, key] = [1, 2, 3].map(|number| self.parameter(number, Kind::Text));
        format!(
            "DELETE FROM ledger_content WHERE id IN (SELECT id FROM ledger_content \
             WHERE tenant = {tenant} AND project = {project} AND key_id = {key} \
             AND kept_unix_ms < {} ORDER BY kept_unix_ms LIMIT {})",
            self.parameter(4, Kind::Int),
            self.parameter(5, Kind::Int)
        )
    }

    pub(super) fn records(self, filter: &Filter, page: Page) -> Bound {
        let columns: Vec<_> = COLUMNS
            .iter()
            .map(|column| self.read(column.name, column.kind))
            .collect();
        let mut values = Vec::new();
        let mut sql = format!("SELECT {} FROM ledger_record", columns.join(", "));
        sql.push_str(&self.conditions(filter, &mut values));
        if let Some(after) = page.after {
            values.push(Value::moment(after.started_unix_ms));
            let moment = self.parameter(values.len(), Kind::Int);
            values.push(Value::Id(after.id));
            let id = self.parameter(values.len(), Kind::Id);
            let sign = if page.newest_first { '<' } else { '>' };
            let _ = write!(sql, " AND (started_unix_ms, id) {sign} ({moment}, {id})");
        }
        values.push(Value::Int(page.limit.min(Page::MOST).into()));
        let limit = self.parameter(values.len(), Kind::Int);
        let order = if page.newest_first { "DESC" } else { "ASC" };
        let _ = write!(
            sql,
            " ORDER BY started_unix_ms {order}, id {order} LIMIT {limit}"
        );
        Bound { sql, values }
    }

    /// Columns: the groups, the currency, [`SUMS`], the cost, the guessed part of the cost.
    pub(super) fn usage(self, filter: &Filter, by: &[GroupBy]) -> Bound {
        let mut columns: Vec<String> = by.iter().map(|by| self.group(*by)).collect();
        columns.push("currency".to_owned());
        let groups = columns.len();
        columns.push("count(*)".to_owned());
        for condition in [
            "NOT settled",
            "estimated",
            // A request that cost nothing because it failed is not one without a price.
            "unpriced IS NOT NULL",
        ] {
            columns.push(self.sum(&format!("CASE WHEN {condition} THEN 1 ELSE 0 END")));
        }
        for name in &SUMS[4..] {
            columns.push(self.sum(name));
        }
        columns.push(self.sum_money("cost"));
        columns.push(self.sum_money("CASE WHEN estimated THEN cost END"));
        let mut values = Vec::new();
        let mut sql = format!("SELECT {} FROM ledger_record", columns.join(", "));
        sql.push_str(&self.conditions(filter, &mut values));
        let numbers: Vec<_> = (1..=groups).map(|number| number.to_string()).collect();
        let numbers = numbers.join(", ");
        let _ = write!(sql, " GROUP BY {numbers} ORDER BY {numbers}");
        Bound { sql, values }
    }

    fn group(self, by: GroupBy) -> String {
        let column = match by {
            GroupBy::Tenant => "tenant",
            GroupBy::Project => "project",
            GroupBy::Key => "key_id",
            GroupBy::Model => "model",
            GroupBy::UpstreamModel => "upstream_model",
            GroupBy::Account => "account",
            GroupBy::Region => "region",
            GroupBy::Surface => "surface",
            GroupBy::Dialect => "dialect",
            GroupBy::Outcome => "outcome",
            GroupBy::PriceVersion => "price_version",
            GroupBy::Day(ahead) => return self.moment(false, ahead),
            GroupBy::Hour(ahead) => return self.moment(true, ahead),
        };
        column.to_owned()
    }

    fn conditions(self, filter: &Filter, values: &mut Vec<Value<'static>>) -> String {
        // Something to hang further conditions on.
        let mut sql = " WHERE 1 = 1".to_owned();
        let mut add = |condition: &str, value: Value<'static>, kind| {
            values.push(value);
            let parameter = self.parameter(values.len(), kind);
            let _ = write!(sql, " AND {condition} {parameter}");
        };
        if let Some(from) = filter.from_unix_ms {
            add("started_unix_ms >=", Value::moment(from), Kind::Int);
        }
        if let Some(to) = filter.to_unix_ms {
            add("started_unix_ms <", Value::moment(to), Kind::Int);
        }
        for (column, wanted) in [
            ("tenant =", &filter.tenant),
            ("project =", &filter.project),
            ("key_id =", &filter.key_id),
            ("model =", &filter.model),
            ("account =", &filter.account),
            ("surface =", &filter.surface),
            ("outcome =", &filter.outcome),
            ("upstream_request_id =", &filter.upstream_request_id),
        ] {
            if let Some(wanted) = wanted {
                // No column holds NUL, and PostgreSQL takes none as a parameter.
                let wanted = wanted.replace('\0', "\u{fffd}");
                add(column, Value::Text(wanted.into()), Kind::Text);
            }
        }
        if let Some(settled) = filter.settled {
            add("settled =", Value::Bool(settled), Kind::Bool);
        }
        if let Some(id) = filter.id {
            add("id =", Value::Id(id), Kind::Id);
        }
        sql
    }
}
