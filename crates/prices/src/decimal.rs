//! Arithmetic that is exact or refused.
//!
//! `Decimal`'s own operators round when 28 digits are not enough. A bill must not be rounded in
//! silence, so products and sums are taken here, over the integers inside.

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serializer, de};

/// Reads a number as JSON spells it, exactly. `None` if it is none, or has too many digits.
pub(crate) fn parse(text: &str) -> Option<Decimal> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if !plain {
        return None;
    }
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    shift(Decimal::from_str_exact(digits).ok()?, exponent)
}

/// `value` times ten to the power of `exponent`.
pub(crate) fn shift(value: Decimal, exponent: i32) -> Option<Decimal> {
    let value = value.normalize();
    let scale = i32::try_from(value.scale()).ok()?.checked_sub(exponent)?;
    match u32::try_from(scale) {
        Ok(scale) => build(value.mantissa(), scale),
        Err(_) => {
            let factor = 10_i128.checked_pow(scale.unsigned_abs())?;
            build(value.mantissa().checked_mul(factor)?, 0)
        }
    }
}

/// `a` times `b`.
pub(crate) fn multiply(a: Decimal, b: Decimal) -> Option<Decimal> {
    let product = |a: Decimal, b: Decimal| {
        build(
            a.mantissa().checked_mul(b.mantissa())?,
            a.scale() + b.scale(),
        )
    };
    // Zeros at the ends may be what makes it too long.
    product(a, b).or_else(|| product(a.normalize(), b.normalize()))
}

/// `a` plus `b`.
pub(crate) fn add(a: Decimal, b: Decimal) -> Option<Decimal> {
    let scale = a.scale().max(b.scale());
    let widen = |value: Decimal| {
        let factor = 10_i128.checked_pow(scale - value.scale())?;
        value.mantissa().checked_mul(factor)
    };
    build(widen(a)?.checked_add(widen(b)?)?, scale)
}

/// The decimal `mantissa` / 10^`scale`, without zeros at its end.
fn build(mut mantissa: i128, mut scale: u32) -> Option<Decimal> {
    // Most bills fit 64 bits, in which to divide is much cheaper.
    if let Ok(mut short) = i64::try_from(mantissa) {
        while scale > 0 && short % 10 == 0 {
            short /= 10;
            scale -= 1;
        }
        mantissa = short.into();
    }
    while scale > 0 && mantissa % 10 == 0 {
        mantissa /= 10;
        scale -= 1;
    }
    Decimal::try_from_i128_with_scale(mantissa, scale).ok()
}

/// A decimal in a configuration: an integer, or a string such as `"0.8"`.
///
/// A bare `0.8` would arrive as a binary fraction, which is not 0.8, so it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exact(pub(crate) Decimal);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Exact;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number in quotes, such as \"0.8\", or a whole number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Exact, E> {
                let value = parse(text)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))?;
                Ok(Exact(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Exact, E> {
                Ok(Exact(Decimal::from(value)))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Exact, E> {
                Ok(Exact(Decimal::from(value)))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Exact, E> {
                Err(E::custom(format_args!(
                    "write {value} in quotes: without them it is a binary fraction and not exact"
                )))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Exact {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};

        let text = ObjectBuilder::new().schema_type(Type::String);
        let whole = ObjectBuilder::new().schema_type(Type::Integer);
        OneOfBuilder::new().item(text).item(whole).into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Exact {}

impl serde::Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// `#[serde(with = …)]` for a decimal that is only written.
pub(crate) mod exact {
    use super::{Decimal, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        value: &Decimal,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }
}

/// `#[serde(with = …)]` for a decimal that may be left out.
pub(crate) mod exact_option {
    use super::{Decimal, Deserialize, Deserializer, Exact, Serializer};

    // Serde's attribute hands the field over by reference.
    #[allow(clippy::ref_option, reason = "the signature is serde's")]
    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Decimal>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Decimal>, D::Error> {
        Ok(Option::<Exact>::deserialize(deserializer)?.map(|exact| exact.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Decimal {
        parse(text).unwrap()
    }

    #[test]
    fn numbers_are_read_as_they_are_spelled() {
        for (text, same) in [
            ("0.1", "0.1"),
            ("9e-05", "0.00009"),
            ("3.5E-05", "0.000035"),
            ("12.0", "12"),
            ("1e3", "1000"),
            ("0.0", "0"),
        ] {
            assert_eq!(number(text).normalize().to_string(), same, "{text}");
        }
        for text in [
            "",
            "x",
            "1_000",
            "1e",
            "NaN",
            "1e400",
            "0.12345678901234567890123456789012",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn products_and_sums_are_exact_or_refused() {
        assert_eq!(multiply(number("0.1"), number("0.2")), Some(number("0.02")));
        assert_eq!(add(number("0.1"), number("0.2")), Some(number("0.3")));
        let fine = number("0.00000000000001");
        assert_eq!(multiply(fine, number("0.000000000000001")), None);
        let large = number("79228162514264337593543950335");
        assert_eq!(add(large, number("1")), None);
        assert_eq!(add(large, number("0.1")), None);
        assert_eq!(multiply(large, large), None);
        assert_eq!(shift(number("5"), -28).map(|value| value.scale()), Some(28));
        assert_eq!(shift(number("5"), -29), None);
    }
}
