//! Names that a caller may use: exact, or by how they begin.

use std::fmt;

use ipnet::{IpNet, Ipv4Net};
use serde::{Serialize, Serializer};
use std::net::{IpAddr, Ipv6Addr};

const MAX_CHARS: usize = 200;

/// A name of a model or endpoint, or `prefix*` for all that begin so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    is_prefix: bool,
}

impl Pattern {
    /// Reads a name or `prefix*`.
    ///
    /// # Errors
    /// What is wrong with the text, for whoever wrote it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (name, is_prefix) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        if text.is_empty() {
            Err("is empty; `*` stands for all")
        } else if name.contains('*') {
            Err("has a `*` that is not at the end")
        } else if text.chars().count() > MAX_CHARS {
            Err("has more than 200 characters")
        } else if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            Err("holds blanks or control characters")
        } else {
            Ok(Self {
                text: name.into(),
                is_prefix,
            })
        }
    }

    /// Whether a name is meant.
    pub fn matches(&self, name: &str) -> bool {
        if self.is_prefix {
            name.starts_with(&*self.text)
        } else {
            *name == *self.text
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        f.write_str(if self.is_prefix { "*" } else { "" })
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads a range of addresses or one address. A range of IPv4 that is written inside IPv6
/// (`::ffff:10.0.0.0/104`) is the IPv4 range.
pub(crate) fn parse_range(text: &str) -> Result<IpNet, &'static str> {
    const WRONG: &str = "is neither an address nor a range such as 10.0.0.0/8 or 2001:db8::/32";
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let range: IpNet = text.parse().map_err(|_| WRONG)?;
    if range.addr() != range.network() {
        return Err("is a range with bits set behind its prefix; write its first address");
    }
    let IpNet::V6(v6) = range else {
        return Ok(range);
    };
    let mapped: Option<IpNet> = as_mapped(v6.addr())
        .and_then(|v4| Ipv4Net::new(v4, v6.prefix_len().checked_sub(96)?).ok())
        .map(IpNet::V4);
    Ok(mapped.unwrap_or(range))
}

fn as_mapped(address: Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    address.to_ipv4_mapped()
}

/// Whether an address lies in one of the ranges. An IPv4 caller that reached a socket of both
/// families counts as what it is.
pub(crate) fn is_within(ranges: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    ranges.iter().any(|range| range.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_a_name_or_a_beginning() {
        let matches = |pattern: &str, name: &str| Pattern::parse(pattern).unwrap().matches(name);
        assert!(matches("qwen-plus", "qwen-plus"));
        assert!(!matches("qwen-plus", "qwen-plus-latest"));
        assert!(matches("qwen*", "qwen-plus"));
        assert!(!matches("qwen*", "deepseek-v3"));
        assert!(matches("*", "通义"));
        for wrong in ["", "a*b", "**", "a b", "a\n", "a\0", &"x".repeat(201)] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn ranges_know_both_families_and_mapped_addresses() {
        let within =
            |range: &str, ip: &str| is_within(&[parse_range(range).unwrap()], ip.parse().unwrap());
        assert!(within("10.0.0.0/8", "10.255.0.1"));
        assert!(within("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(!within("10.0.0.0/8", "11.0.0.1"));
        assert!(within("::ffff:10.0.0.0/104", "10.1.2.3"));
        assert!(within("192.0.2.7", "192.0.2.7"));
        assert!(within("::ffff:192.0.2.7", "192.0.2.7"));
        assert!(within("2001:db8::/32", "2001:db8:1::9"));
        assert!(!within("2001:db8::/32", "2001:db9::1"));
        assert!(!within("::/0", "10.0.0.1"), "IPv6 only");
        for wrong in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0",
            "localhost",
            "::/129",
        ] {
            assert!(parse_range(wrong).is_err(), "{wrong:?}");
        }
    }
}
