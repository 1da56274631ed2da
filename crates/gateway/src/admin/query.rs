//! Questions to the ledger as the operator writes them: from when to when, of whom, for what.

use std::collections::BTreeMap;

use axum::extract::FromRequestParts;
use bailian_ledger::{Cursor, Filter};
use bailian_tenants::settings::Problem;
use bailian_tenants::{Directory, Level, NodeId, UtcOffset};
use http::request::Parts;
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::Offset;
use utoipa::IntoParams;
use uuid::Uuid;

use super::fault::Fault;
use super::input::Params;
use crate::worker::Workers;

/// Which records are meant.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the document alone; `Fields` reads it")]
pub(super) struct FilterQuery {
    /// Begun at this moment or later: `2026-11-27T08:00:00+08:00`, or a day.
    from: Option<String>,
    /// Begun before this moment.
    to: Option<String>,
    /// Of this tenant, by its id or its name.
    tenant: Option<String>,
    /// Of this project, by its id or its name.
    project: Option<String>,
    /// Of this virtual key, by its id or its name.
    key: Option<String>,
    /// For this model, as the client named it.
    model: Option<String>,
    /// Answered by this account.
    account: Option<String>,
    /// On this surface.
    surface: Option<String>,
    /// With this outcome.
    outcome: Option<String>,
    /// `true` for settled ones only, `false` for unsettled ones only.
    settled: Option<bool>,
    /// With this id, as the header `x-request-id` of the answer said it.
    id: Option<String>,
    /// With this id at upstream, as errors of the service say it. Slow without `from`.
    upstream_request_id: Option<String>,
    /// Where days begin, and hours: such as `+08:00`; in UTC if left out.
    offset: Option<String>,
}

/// The members of a query, taken one by one; what is wrong with them is collected.
#[derive(Debug)]
pub(super) struct Fields {
    left: BTreeMap<String, String>,
    problems: Vec<Problem>,
    offset: Option<UtcOffset>,
}

impl FromRequestParts<Workers> for Fields {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, workers: &Workers) -> Result<Self, Fault> {
        let pairs: Params<Vec<(String, String)>> =
            Params::from_request_parts(parts, workers).await?;
        let mut fields = Self {
            left: BTreeMap::new(),
            problems: Vec::new(),
            offset: None,
        };
        for (name, value) in pairs.0 {
            if fields.left.insert(name.clone(), value).is_some() {
                let name: String = name.chars().take(50).collect();
                fields.problem(&name, "is there twice");
            }
        }
        Ok(fields)
    }
}

impl Fields {
    pub(super) fn problem(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(name, message));
    }

    /// A text; an empty one counts as none.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.left.remove(name).filter(|text| !text.is_empty())
    }

    /// What a text says, or a problem.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(name)?;
        let value = read(&text);
        if value.is_none() {
            self.problem(name, format!("is not {expected}"));
        }
        value
    }

    /// A number within bounds.
    pub(super) fn limit(&mut self, usual: u32, most: u32) -> u32 {
        let expected = format!("a number between 1 and {most}");
        let limit = self.read("limit", &expected, |text| {
            let number = text.parse().ok();
            number.filter(|number| (1..=most).contains(number))
        });
        limit.unwrap_or(usual)
    }

    /// Which records are meant; names of tenants, projects and keys are looked up.
    pub(super) fn filter(&mut self, directory: &Directory) -> Filter {
        let moment = "a moment such as 2026-11-27T08:00:00+08:00, or a day such as 2026-11-27";
        let mut filter = Filter::default();
        let offset = self.offset();
        filter.from_unix_ms = self.read("from", moment, |text| unix_ms(text, offset));
        filter.to_unix_ms = self.read("to", moment, |text| unix_ms(text, offset));
        filter.tenant = self.node(directory, Level::Tenant);
        filter.project = self.node(directory, Level::Project);
        filter.key_id = self.node(directory, Level::Key);
        filter.model = self.text("model");
        filter.account = self.text("account");
        filter.surface = self.text("surface");
        filter.outcome = self.text("outcome");
        filter.settled = self.read("settled", "true or false", |text| text.parse().ok());
        filter.id = self.read("id", "a request's id", |text| Uuid::parse_str(text).ok());
        filter.upstream_request_id = self.text("upstream_request_id");
        filter
    }

    /// Where days begin. It may be asked for again.
    pub(super) fn offset(&mut self) -> UtcOffset {
        if let Some(offset) = self.offset {
            return offset;
        }
        let offset = self.read("offset", "a distance from UTC such as +08:00", |text| {
            // A plus that nobody wrote as `%2B` arrives as a blank.
            text.replacen(' ', "+", 1).parse().ok()
        });
        *self.offset.insert(offset.unwrap_or(UtcOffset::UTC))
    }

    /// The id of what is named; a text that nobody has as a name stays as it is.
    fn node(&mut self, directory: &Directory, level: Level) -> Option<String> {
        let text = self.text(level.as_str())?;
        if text.parse::<NodeId>().is_ok_and(|id| id.level() == level) {
            return Some(text);
        }
        let mut named = directory
            .nodes()
            .filter(|(_, node)| node.id().level() == level && node.name() == text)
            .map(|(_, node)| node.id().to_string());
        let first = named.next();
        if named.next().is_some() {
            let message = "is the name of several; give the id";
            self.problems.push(Problem::new(level.as_str(), message));
        }
        Some(first.unwrap_or(text))
    }

    /// Makes sure that nothing is left and nothing was wrong.
    pub(super) fn end(mut self) -> Result<(), Fault> {
        for name in std::mem::take(&mut self.left).into_keys().take(20) {
            let name: String = name.chars().filter(|c| !c.is_control()).take(50).collect();
            self.problem(&name, "is not known here");
        }
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(Fault::invalid(self.problems))
        }
    }
}

/// A moment in RFC 3339, or a day's midnight, in milliseconds since the Unix epoch.
pub(super) fn unix_ms(text: &str, offset: UtcOffset) -> Option<u64> {
    let at = match text.parse::<Timestamp>() {
        Ok(at) => at,
        Err(_) if text.len() > 10 => return None,
        Err(_) => {
            let day: Date = text.parse().ok()?;
            Offset::from_seconds(offset.seconds())
                .ok()?
                .to_timestamp(day.to_datetime(Time::midnight()))
                .ok()?
        }
    };
    u64::try_from(at.as_millisecond()).ok()
}

/// Reads what [`cursor_text`] writes.
pub(super) fn cursor(text: &str) -> Option<Cursor> {
    let (started, id) = text.split_once('.')?;
    Some(Cursor {
        started_unix_ms: started
            .parse()
            .ok()
            .filter(|at| i64::try_from(*at).is_ok())?,
        id: Uuid::parse_str(id).ok()?,
    })
}

pub(super) fn cursor_text(cursor: Cursor) -> String {
    format!("{}.{}", cursor.started_unix_ms, cursor.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_with_its_offset_and_a_day_begins_where_it_is_said() {
        let utc = UtcOffset::UTC;
        assert_eq!(unix_ms("1970-01-02", utc), Some(86_400_000));
        assert_eq!(unix_ms("1970-01-02", UtcOffset::BEIJING), Some(57_600_000));
        assert_eq!(unix_ms("1970-01-01T08:00:01+08:00", utc), Some(1_000));
        for wrong in [
            "",
            "yesterday",
            "2026-13-01",
            "1969-12-31",
            "2026-11-27T08:00:00",
        ] {
            assert_eq!(unix_ms(wrong, utc), None, "{wrong}");
        }
    }

    #[test]
    fn a_cursor_survives_its_text() {
        let there = Cursor {
            started_unix_ms: 1_795_000_000_000,
            id: Uuid::from_u128(7),
        };
        assert_eq!(cursor(&cursor_text(there)), Some(there));
        assert_eq!(cursor("1795000000000"), None);
        assert_eq!(cursor(&format!("{}.{}", u64::MAX, there.id)), None);
    }
}
