//! Days and months of budgets, in the offset in which the service's bills are cut.

use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use serde::{Serialize, Serializer};
use thiserror::Error;

const DAY_SECONDS: i64 = 86_400;

/// The moment of a decision on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Wall time, for what has a date: expiry and the periods of budgets.
    pub wall: Timestamp,
    /// A clock that never goes back, for limits per minute.
    pub monotonic: Instant,
}

/// For how long a budget's amount lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// A calendar month.
    Month,
    /// For ever.
    Total,
}

/// A fixed distance from UTC, such as `+08:00`. The service's bills have no daylight saving.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UtcOffset {
    minutes: i16,
}

/// The text is no distance from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is not a distance from UTC between -14:00 and +14:00, such as +08:00")]
pub struct InvalidOffset;

// === impl Period ===

impl Period {
    /// The word for configuration, messages and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    /// Reads `day`, `month` or `total`.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Day, Self::Month, Self::Total]
            .into_iter()
            .find(|period| period.as_str() == text)
    }

    /// The number of the period that holds an instant; later periods have greater numbers.
    pub(crate) fn index(self, at: Timestamp, offset: UtcOffset) -> i64 {
        match self {
            Self::Day => (at.as_second() + i64::from(offset.seconds())).div_euclid(DAY_SECONDS),
            Self::Month => {
                let date = offset.as_jiff().to_datetime(at).date();
                i64::from(date.year()) * 12 + i64::from(date.month()) - 1
            }
            Self::Total => 0,
        }
    }

    /// When a period begins; `None` for what has no beginning.
    pub(crate) fn start(self, index: i64, offset: UtcOffset) -> Option<Timestamp> {
        match self {
            Self::Day => {
                let second = index
                    .checked_mul(DAY_SECONDS)?
                    .checked_sub(i64::from(offset.seconds()))?;
                Timestamp::from_second(second).ok()
            }
            Self::Month => {
                let year = i16::try_from(index.div_euclid(12)).ok()?;
                let month = i8::try_from(index.rem_euclid(12) + 1).ok()?;
                let first = Date::new(year, month, 1).ok()?;
                offset
                    .as_jiff()
                    .to_timestamp(first.to_datetime(jiff::civil::Time::midnight()))
                    .ok()
            }
            Self::Total => None,
        }
    }

    /// When a period ends and the next begins; `None` for what has no end.
    pub(crate) fn end(self, index: i64, offset: UtcOffset) -> Option<Timestamp> {
        self.start(index.checked_add(1)?, offset)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl UtcOffset ===

impl UtcOffset {
    /// Beijing's, in which the service's bills are cut.
    pub const BEIJING: Self = Self { minutes: 8 * 60 };
    /// None at all.
    pub const UTC: Self = Self { minutes: 0 };

    /// How many seconds clocks are ahead of UTC.
    pub fn seconds(self) -> i32 {
        i32::from(self.minutes) * 60
    }

    fn as_jiff(self) -> Offset {
        Offset::from_seconds(self.seconds()).unwrap_or(Offset::UTC)
    }
}

impl Default for UtcOffset {
    fn default() -> Self {
        Self::BEIJING
    }
}

impl FromStr for UtcOffset {
    type Err = InvalidOffset;

    fn from_str(text: &str) -> Result<Self, InvalidOffset> {
        let (sign, rest) = match text.as_bytes().first() {
            Some(b'+') => (1, &text[1..]),
            Some(b'-') => (-1, &text[1..]),
            _ => return Err(InvalidOffset),
        };
        let (hours, minutes) = rest.split_once(':').ok_or(InvalidOffset)?;
        let number = |part: &str, most: i16| {
            let is_number = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            let value: i16 = part.parse().map_err(|_| InvalidOffset)?;
            if is_number && value <= most {
                Ok(value)
            } else {
                Err(InvalidOffset)
            }
        };
        let minutes = number(hours, 14)? * 60 + number(minutes, 59)?;
        if minutes > 14 * 60 {
            return Err(InvalidOffset);
        }
        Ok(Self {
            minutes: sign * minutes,
        })
    }
}

impl fmt::Display for UtcOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.minutes < 0 { '-' } else { '+' };
        let minutes = self.minutes.unsigned_abs();
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl fmt::Debug for UtcOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for UtcOffset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn days_turn_at_midnight_in_beijing() {
        let index = |text| Period::Day.index(at(text), UtcOffset::BEIJING);
        let day = index("2026-03-01T15:59:59.999Z");
        assert_eq!(index("2026-03-01T16:00:00Z"), day + 1);
        assert_eq!(
            Period::Day.end(day, UtcOffset::BEIJING),
            Some(at("2026-03-01T16:00:00Z"))
        );
        assert_eq!(
            Period::Day.start(day, UtcOffset::BEIJING),
            Some(at("2026-02-28T16:00:00Z"))
        );
    }

    #[test]
    fn months_have_their_own_lengths() {
        for (inside, end) in [
            ("2026-02-15T00:00:00Z", "2026-02-28T16:00:00Z"),
            ("2028-02-28T16:00:00Z", "2028-02-29T16:00:00Z"),
            ("2026-12-31T15:59:59Z", "2026-12-31T16:00:00Z"),
            ("2026-04-30T15:59:59Z", "2026-04-30T16:00:00Z"),
        ] {
            let month = Period::Month.index(at(inside), UtcOffset::BEIJING);
            assert_eq!(
                Period::Month.end(month, UtcOffset::BEIJING),
                Some(at(end)),
                "{inside}"
            );
        }
        let leap_day = Period::Day.index(at("2028-02-29T00:00:00Z"), UtcOffset::BEIJING);
        let after = Period::Day.index(at("2028-03-01T00:00:00Z"), UtcOffset::BEIJING);
        assert_eq!(after, leap_day + 1);
    }

    #[test]
    fn offsets_survive_their_text() {
        for text in ["+08:00", "-03:30", "+00:00", "+14:00", "-14:00"] {
            assert_eq!(text.parse::<UtcOffset>().unwrap().to_string(), text);
        }
        for wrong in [
            "", "08:00", "+8:00", "+15:00", "+14:01", "+08:60", "+0a:00", "+08-00", "＋08:00",
        ] {
            assert!(wrong.parse::<UtcOffset>().is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn every_instant_lies_in_its_period(
            second in -30_000_000_000i64..200_000_000_000,
            minutes in -840i16..=840,
        ) {
            let (at, offset) = (Timestamp::from_second(second).unwrap(), UtcOffset { minutes });
            for period in [Period::Day, Period::Month] {
                let index = period.index(at, offset);
                prop_assert!(period.start(index, offset).unwrap() <= at);
                prop_assert!(at < period.end(index, offset).unwrap());
            }
        }
    }
}
