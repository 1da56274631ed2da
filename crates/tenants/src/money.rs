//! Exact money: whole billionths of a currency's unit, and a fixed table of rates.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Serialize, Serializer};
use thiserror::Error;

/// Billionths in one unit. The cheapest published price, 0.15 yuan for a million tokens, is 150 of
/// them for one token.
const NANOS_PER_UNIT: u64 = 1_000_000_000;

/// A currency by its three letters, such as `CNY`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

/// An amount of money in whole billionths of the currency's unit, up to 18 billion units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    /// Billionths of the unit.
    pub nanos: u64,
    /// Of which currency.
    pub currency: Currency,
}

/// Costs in currencies that all have a rate; made by [`Rates::cost`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost(Vec<Money>);

/// The text is not three capital letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is not a currency of three capital letters, such as CNY")]
pub struct InvalidCurrency;

/// The amount is negative or above 18 billion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is not an amount between 0 and 18 billion")]
pub struct InvalidAmount;

/// The table of rates says nothing about a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("there is no rate for {currency}; add it to the table of rates")]
pub struct MissingRate {
    /// The currency without a rate.
    pub currency: Currency,
}

/// A rate cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidRate {
    /// It is zero or negative.
    #[error("the rate of {0} is not positive")]
    NotPositive(Currency),
    /// A currency has two.
    #[error("the rate of {0} is given twice")]
    Twice(Currency),
    /// Exact arithmetic would not hold it.
    #[error("the rate between {0} and {1} has too many digits; nine are plenty")]
    TooFine(Currency, Currency),
}

/// What currencies are worth in each other. A fixed table of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rates {
    currencies: Vec<Currency>,
    pairs: Vec<Pair>,
}

/// `amount * numerator / denominator` turns one into the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    from: Currency,
    to: Currency,
    numerator: u64,
    denominator: u64,
}

// === impl Currency ===

impl Currency {
    /// Yuan renminbi, the currency of the service's bills in China.
    pub const CNY: Self = Self(*b"CNY");
    /// The dollar of the United States.
    pub const USD: Self = Self(*b"USD");

    /// The three letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Currency {
    type Err = InvalidCurrency;

    fn from_str(text: &str) -> Result<Self, InvalidCurrency> {
        let letters: [u8; 3] = text.as_bytes().try_into().map_err(|_| InvalidCurrency)?;
        let is_currency = letters.iter().all(u8::is_ascii_uppercase);
        is_currency.then_some(Self(letters)).ok_or(InvalidCurrency)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

// === impl Money ===

impl Money {
    /// So many billionths.
    pub fn from_nanos(nanos: u64, currency: Currency) -> Self {
        Self { nanos, currency }
    }

    /// An amount of units, rounded up to a billionth.
    ///
    /// # Errors
    /// [`InvalidAmount`] when it is negative or too large.
    pub fn from_decimal_up(units: Decimal, currency: Currency) -> Result<Self, InvalidAmount> {
        if units.is_sign_negative() && !units.is_zero() {
            return Err(InvalidAmount);
        }
        let nanos = units.checked_mul(Decimal::from(NANOS_PER_UNIT));
        let nanos = nanos.and_then(|nanos| nanos.ceil().to_u64());
        nanos
            .map(|nanos| Self { nanos, currency })
            .ok_or(InvalidAmount)
    }

    /// The amount in units, exactly.
    pub fn to_decimal(self) -> Decimal {
        units(u128::from(self.nanos))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.to_decimal(), self.currency)
    }
}

/// Billionths as units, without zeros at the end.
pub(crate) fn units(nanos: u128) -> Decimal {
    let nanos = i128::try_from(nanos).unwrap_or(i128::MAX);
    Decimal::try_from_i128_with_scale(nanos, 9)
        .unwrap_or(Decimal::MAX)
        .normalize()
}

// === impl Cost ===

impl Cost {
    /// Nothing.
    pub fn zero() -> Self {
        Self::default()
    }

    /// The amounts, each in its currency.
    pub fn parts(&self) -> &[Money] {
        &self.0
    }
}

// === impl Rates ===

impl Default for Rates {
    /// Yuan only.
    fn default() -> Self {
        Self::only(Currency::CNY)
    }
}

impl Rates {
    /// One currency, so that nothing is converted.
    pub fn only(currency: Currency) -> Self {
        Self {
            currencies: vec![currency],
            pairs: Vec::new(),
        }
    }

    /// A table against one reference: with `(USD, 7.1)` and CNY as reference, one dollar is 7.1
    /// yuan.
    ///
    /// # Errors
    /// [`InvalidRate`] when a rate is not positive, stands there twice, or is too fine.
    pub fn new(
        reference: Currency,
        rates: impl IntoIterator<Item = (Currency, Decimal)>,
    ) -> Result<Self, InvalidRate> {
        let mut worth = vec![(reference, Decimal::ONE)];
        for (currency, rate) in rates {
            if rate <= Decimal::ZERO {
                return Err(InvalidRate::NotPositive(currency));
            }
            if worth.iter().any(|(other, _)| *other == currency) {
                return Err(InvalidRate::Twice(currency));
            }
            worth.push((currency, rate.normalize()));
        }
        let mut pairs = Vec::new();
        for &(from, worth_from) in &worth {
            for &(to, worth_to) in worth.iter().filter(|(to, _)| *to != from) {
                let pair = Pair::new((from, worth_from), (to, worth_to));
                pairs.push(pair.ok_or(InvalidRate::TooFine(from, to))?);
            }
        }
        Ok(Self {
            currencies: worth.into_iter().map(|(currency, _)| currency).collect(),
            pairs,
        })
    }

    /// Makes sure that a currency of prices or budgets can be converted.
    ///
    /// # Errors
    /// [`MissingRate`] when the table does not have it.
    pub fn require(&self, currency: Currency) -> Result<(), MissingRate> {
        if self.currencies.contains(&currency) {
            Ok(())
        } else {
            Err(MissingRate { currency })
        }
    }

    /// A cost, checked once so that converting it never fails. A price table that was checked with
    /// [`require`](Self::require) when it was loaded always gives one.
    ///
    /// # Errors
    /// [`MissingRate`] when a currency is not in the table.
    pub fn cost(&self, parts: impl IntoIterator<Item = Money>) -> Result<Cost, MissingRate> {
        let mut cost = Vec::new();
        for part in parts {
            self.require(part.currency)?;
            cost.push(part);
        }
        Ok(Cost(cost))
    }

    /// A cost in billionths of one currency, each part rounded up. A currency that only another
    /// table has counts as more than any budget, so that a mistake refuses instead of spending.
    pub(crate) fn in_currency_up(&self, cost: &Cost, to: Currency) -> u64 {
        let parts = cost.0.iter().map(|part| self.convert_up(*part, to));
        parts.fold(0, u64::saturating_add)
    }

    fn convert_up(&self, money: Money, to: Currency) -> u64 {
        if money.currency == to {
            return money.nanos;
        }
        let mut pairs = self.pairs.iter();
        let Some(pair) = pairs.find(|pair| pair.from == money.currency && pair.to == to) else {
            return u64::MAX;
        };
        let scaled = u128::from(money.nanos) * u128::from(pair.numerator);
        u64::try_from(scaled.div_ceil(u128::from(pair.denominator))).unwrap_or(u64::MAX)
    }
}

impl Pair {
    fn new(
        (from, worth_from): (Currency, Decimal),
        (to, worth_to): (Currency, Decimal),
    ) -> Option<Self> {
        let part = |rate: Decimal, other: Decimal| {
            let mantissa = u128::try_from(rate.mantissa()).ok()?;
            mantissa.checked_mul(10u128.checked_pow(other.scale())?)
        };
        let numerator = part(worth_from, worth_to)?;
        let denominator = part(worth_to, worth_from)?;
        let common = greatest_common_divisor(numerator, denominator);
        Some(Self {
            from,
            to,
            numerator: u64::try_from(numerator / common).ok()?,
            denominator: u64::try_from(denominator / common).ok()?,
        })
    }
}

fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn rates() -> Rates {
        Rates::new(Currency::CNY, [(Currency::USD, decimal("7.1"))]).unwrap()
    }

    #[test]
    fn amounts_round_up_to_a_billionth() {
        let money = |text| Money::from_decimal_up(decimal(text), Currency::CNY);
        assert_eq!(money("0.0000000001").unwrap().nanos, 1);
        assert_eq!(money("12.5").unwrap().nanos, 12_500_000_000);
        assert_eq!(money("12.50").unwrap().to_string(), "12.5 CNY");
        assert_eq!(money("-0.1"), Err(InvalidAmount));
        assert_eq!(money("99999999999"), Err(InvalidAmount));
        assert_eq!(money("79228162514264337593543950335"), Err(InvalidAmount));
    }

    #[test]
    fn conversion_is_exact_and_rounds_up() {
        let rates = rates();
        let cost = |nanos, currency| rates.cost([Money::from_nanos(nanos, currency)]).unwrap();
        assert_eq!(
            rates.in_currency_up(&cost(10, Currency::USD), Currency::CNY),
            71
        );
        assert_eq!(
            rates.in_currency_up(&cost(71, Currency::CNY), Currency::USD),
            10
        );
        assert_eq!(
            rates.in_currency_up(&cost(72, Currency::CNY), Currency::USD),
            11
        );
        let huge = cost(u64::MAX, Currency::USD);
        assert_eq!(rates.in_currency_up(&huge, Currency::CNY), u64::MAX);
    }

    #[test]
    fn a_missing_rate_is_found_when_the_table_is_used_to_configure() {
        let euro: Currency = "EUR".parse().unwrap();
        assert_eq!(rates().require(euro), Err(MissingRate { currency: euro }));
        assert!(rates().cost([Money::from_nanos(1, euro)]).is_err());
    }

    #[test]
    fn rates_that_cannot_be_used_are_refused() {
        let table = |rate| Rates::new(Currency::CNY, [(Currency::USD, decimal(rate))]);
        assert_eq!(table("0"), Err(InvalidRate::NotPositive(Currency::USD)));
        assert_eq!(table("-7"), Err(InvalidRate::NotPositive(Currency::USD)));
        assert!(matches!(
            table("7.1234567890123456789012345"),
            Err(InvalidRate::TooFine(..))
        ));
        let twice = [(Currency::CNY, Decimal::TWO)];
        assert_eq!(
            Rates::new(Currency::CNY, twice),
            Err(InvalidRate::Twice(Currency::CNY))
        );
    }
}
