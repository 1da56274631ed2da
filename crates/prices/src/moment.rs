//! The moments at which prices change.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::Offset;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// The price pages speak Beijing time.
const BEIJING: Offset = Offset::constant(8);

/// A moment at which a price begins or ends to be true.
///
/// Written as a date (`2026-10-01`, midnight in Beijing) or as a moment with its offset
/// (`2026-10-01T00:00:00+08:00`), in TOML with or without quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Timestamp);

/// A text that is no [`Moment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is neither a date (`2026-10-01`) nor a moment with offset (`2026-10-01T00:00:00+08:00`)")]
pub struct InvalidMoment;

impl Moment {
    /// The same as the standard library's time.
    pub fn time(self) -> SystemTime {
        // What the platform's clock cannot say lies before all requests, or after them.
        SystemTime::try_from(self.0).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Whether `at` is before it.
    pub(crate) fn is_after(self, at: SystemTime) -> bool {
        at < self.time()
    }
}

impl FromStr for Moment {
    type Err = InvalidMoment;

    fn from_str(text: &str) -> Result<Self, InvalidMoment> {
        if text.len() > 10 {
            return text.parse().map(Self).map_err(|_| InvalidMoment);
        }
        let date: Date = text.parse().map_err(|_| InvalidMoment)?;
        let midnight = date.to_datetime(Time::midnight());
        BEIJING
            .to_timestamp(midnight)
            .map(Self)
            .map_err(|_| InvalidMoment)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = BEIJING.to_datetime(self.0);
        if local.time() == Time::midnight() {
            write!(f, "{}", local.date())
        } else {
            write!(f, "{}", self.0.display_with_offset(BEIJING))
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Moment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date such as 2026-10-01, or a moment with its offset")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Moment, E> {
                text.parse()
                    .map_err(|error| E::custom(format_args!("`{text}` {error}")))
            }

            // A TOML date without quotes arrives as a map of one entry, its text.
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Moment, A::Error> {
                match map.next_entry::<String, String>()? {
                    Some((key, text)) if key.starts_with("$__toml") => self.visit_str(&text),
                    _ => Err(de::Error::invalid_type(de::Unexpected::Map, &self)),
                }
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_begins_at_midnight_in_beijing() {
        let date: Moment = "2026-10-01".parse().unwrap();
        let utc: Moment = "2026-09-30T16:00:00Z".parse().unwrap();
        assert_eq!(date, utc);
        assert_eq!(date.to_string(), "2026-10-01");
        let noon: Moment = "2026-10-01T12:00:00+08:00".parse().unwrap();
        assert_eq!(noon.to_string(), "2026-10-01T12:00:00+08:00");
        assert!(noon.is_after(date.time()) && !date.is_after(date.time()));
        for text in ["", "2026-13-01", "2026-10-01T00:00:00", "国庆节"] {
            assert_eq!(text.parse::<Moment>(), Err(InvalidMoment), "{text}");
        }
    }
}
