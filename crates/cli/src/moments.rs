//! Moments at the command line: how they are read, and how they are shown.

use anyhow::{Context as _, anyhow};
use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

const DAY: i64 = 86_400;

/// What time it is where the operator counts.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Clock {
    /// The offset from UTC in which moments are read and shown; midnight of Beijing begins a day
    /// if left out, as in the service's bills.
    #[arg(
        long,
        global = true,
        value_name = "+HH:MM",
        default_value = "+08:00",
        value_parser = offset,
        allow_hyphen_values = true
    )]
    offset: Offset,
}

fn offset(text: &str) -> Result<Offset, &'static str> {
    if matches!(text, "Z" | "UTC") {
        return Ok(Offset::UTC);
    }
    let parsed = BrokenDownTime::parse("%:z", text).ok();
    let offset = parsed.and_then(|parsed| parsed.offset());
    offset.ok_or("is not an offset from UTC such as +08:00")
}

/// On which side of now a length of time ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Past,
    Future,
}

impl Clock {
    /// Reads a moment of an option: as RFC 3339, as a day or a time of this clock, or by its
    /// distance from now.
    pub(crate) fn read(self, option: &str, text: &str, side: Side) -> anyhow::Result<Timestamp> {
        let now = Timestamp::now();
        self.at(text, now, side).with_context(|| {
            let (length, day) = match side {
                Side::Past => ("7d (ago)", "today"),
                Side::Future => ("90d (from now)", "2026-12-31T18:00"),
            };
            anyhow!(
                "--{option} is not a moment such as {length}, {day}, 2026-11-27 or \
                 2026-11-27T08:00:00+08:00"
            )
        })
    }

    fn at(self, text: &str, now: Timestamp, side: Side) -> Option<Timestamp> {
        let text = text.trim();
        let midnight = |day: Date| self.offset.to_timestamp(day.to_datetime(Time::midnight()));
        let today = self.offset.to_datetime(now).date();
        match text {
            "now" => return Some(now),
            "today" => return midnight(today).ok(),
            "week" => {
                let since_monday = today.weekday().to_monday_zero_offset();
                return midnight(today.checked_sub(since_monday.days()).ok()?).ok();
            }
            "month" => return midnight(today.first_of_month()).ok(),
            "yesterday" => return midnight(today.checked_sub(1.day()).ok()?).ok(),
            _ => {}
        }
        if let Some(length) = length(text) {
            return match side {
                Side::Past => now.checked_sub(length),
                Side::Future => now.checked_add(length),
            }
            .ok();
        }
        if let Ok(at) = text.parse::<Timestamp>() {
            return Some(at);
        }
        // A day and a time of day are told apart by their length, lest a typing error becomes a day.
        if text.len() <= 10 {
            return midnight(text.parse().ok()?).ok();
        }
        let local: DateTime = text.parse().ok()?;
        self.offset.to_timestamp(local).ok()
    }

    /// The moments of options, as the admin API takes them: by their parameters, which are `from`
    /// and `to` in this order.
    pub(crate) fn range(
        self,
        [from, to]: [(&str, &Option<String>); 2],
    ) -> anyhow::Result<Vec<(&'static str, String)>> {
        let mut times = Vec::new();
        for (name, (option, text)) in [("from", from), ("to", to)] {
            if let Some(text) = text {
                let at = self.read(option, text, Side::Past)?;
                times.push((name, at.to_string()));
            }
        }
        Ok(times)
    }

    /// Shows a moment to the second; a text that is none stays as it is.
    pub(crate) fn show(self, text: &str) -> String {
        match text.parse::<Timestamp>() {
            Ok(at) => self.shown(at),
            Err(_) => crate::admin::clean(text),
        }
    }

    /// Shows a moment in milliseconds since the Unix epoch.
    pub(crate) fn show_unix_ms(self, unix_ms: i64) -> String {
        let at = Timestamp::from_millisecond(unix_ms);
        at.map_or_else(|_| "?".to_owned(), |at| self.shown(at))
    }

    fn shown(self, at: Timestamp) -> String {
        let local = self.offset.to_datetime(at);
        local.strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// The offset, as a head of a column or beside a moment.
    pub(crate) fn zone(self) -> String {
        let seconds = self.offset.seconds();
        let minutes = seconds.unsigned_abs() / 60;
        let sign = if seconds < 0 { '-' } else { '+' };
        format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// A number with a unit, such as `90m` or `7d`.
fn length(text: &str) -> Option<SignedDuration> {
    let unit = text.chars().last()?;
    let number: i64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => DAY,
        'w' => 7 * DAY,
        _ => return None,
    };
    let seconds = number.checked_mul(seconds).filter(|it| *it >= 0)?;
    Some(SignedDuration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, side: Side) -> Option<String> {
        let clock = Clock {
            offset: offset("+08:00").unwrap(),
        };
        let now = "2026-11-27T20:00:00Z".parse().unwrap();
        clock.at(text, now, side).map(|at| at.to_string())
    }

    #[test]
    fn a_moment_is_read_in_the_operator_s_time() {
        for (text, expected) in [
            ("today", "2026-11-27T16:00:00Z"),
            ("yesterday", "2026-11-26T16:00:00Z"),
            ("week", "2026-11-22T16:00:00Z"),
            ("month", "2026-10-31T16:00:00Z"),
            ("2026-11-27", "2026-11-26T16:00:00Z"),
            ("2026-11-27T08:00", "2026-11-27T00:00:00Z"),
            ("2026-11-27 08:00:01", "2026-11-27T00:00:01Z"),
            ("2026-11-27T08:00:00Z", "2026-11-27T08:00:00Z"),
            ("2h", "2026-11-27T18:00:00Z"),
            ("1w", "2026-11-20T20:00:00Z"),
        ] {
            assert_eq!(at(text, Side::Past).as_deref(), Some(expected), "{text}");
        }
        let later = at("30d", Side::Future);
        assert_eq!(later.as_deref(), Some("2026-12-27T20:00:00Z"));
        for text in [
            "",
            "soon",
            "2026-13-01",
            "-3d",
            "d",
            "99999999999999w",
            "研",
        ] {
            assert_eq!(at(text, Side::Past), None, "{text}");
        }
    }

    #[test]
    fn a_moment_is_shown_in_the_operator_s_time() {
        let clock = |text: &str| Clock {
            offset: offset(text).unwrap(),
        };
        let beijing = clock("+08:00");
        assert_eq!(
            beijing.show("2026-11-27T20:00:00.5Z"),
            "2026-11-28 04:00:00"
        );
        assert_eq!(beijing.show("later"), "later");
        assert_eq!(clock("-03:30").zone(), "-03:30");
        assert_eq!(clock("Z").zone(), "+00:00");
        for wrong in ["8", "CST", "+99:00", "", "+08:00:00x"] {
            assert!(offset(wrong).is_err(), "{wrong}");
        }
    }
}
