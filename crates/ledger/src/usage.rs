//! Sums by group, merged from one row for each currency.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::query::UsageRow;
use crate::store::{MOST_GROUPS, SUMS, StoreError};
use crate::text::Currency;

/// `a + b`, or `None` if no decimal holds it digit for digit: [`Decimal::checked_add`] would
/// rather round.
pub(crate) fn add_exactly(a: Decimal, b: Decimal) -> Option<Decimal> {
    let sum = a.checked_add(b)?;
    let scale = a.normalize().scale().max(b.normalize().scale());
    (sum.scale() >= scale).then_some(sum)
}

/// Groups as they come from a database.
#[derive(Debug, Default)]
pub(crate) struct Groups(BTreeMap<Vec<Option<String>>, UsageRow>);

impl Groups {
    /// Adds a row of the statement about usage with `by` groups, by what reads its columns.
    pub(crate) fn read(
        &mut self,
        by: usize,
        text: impl Fn(usize) -> Result<Option<String>, StoreError>,
        number: impl Fn(usize) -> Result<Option<i64>, StoreError>,
    ) -> Result<(), StoreError> {
        let group = (0..by).map(&text).collect::<Result<Vec<_>, _>>()?;
        let currency = text(by)?;
        let mut sums = [0; SUMS.len()];
        for (index, sum) in sums.iter_mut().enumerate() {
            *sum = number(by + 1 + index)?.unwrap_or(0);
        }
        let costs = by + 1 + sums.len();
        self.add(group, currency, sums, text(costs)?, text(costs + 1)?)
    }

    /// Adds what one group has in one currency.
    fn add(
        &mut self,
        group: Vec<Option<String>>,
        currency: Option<String>,
        sums: [i64; SUMS.len()],
        cost: Option<String>,
        estimated_cost: Option<String>,
    ) -> Result<(), StoreError> {
        if self.0.len() >= MOST_GROUPS && !self.0.contains_key(&group) {
            return Err(StoreError::TooManyGroups);
        }
        let row = self.0.entry(group).or_default();
        let sums = sums.map(|sum| u64::try_from(sum).unwrap_or(0));
        let tokens = &mut row.tokens;
        for (sum, field) in sums.into_iter().zip([
            &mut row.requests,
            &mut row.unsettled,
            &mut row.estimated,
            &mut row.unpriced,
            &mut tokens.input,
            &mut tokens.cached,
            &mut tokens.cache_created,
            &mut tokens.output,
            &mut tokens.reasoning,
            &mut row.images,
            &mut row.media_ms,
            &mut row.characters,
        ]) {
            *field = field.saturating_add(sum);
        }
        let currency = match currency {
            Some(code) => Currency::from_code(&code).ok_or(StoreError::Unreadable("currency"))?,
            None => Currency::NONE,
        };
        for (text, costs) in [
            (cost, &mut row.cost),
            (estimated_cost, &mut row.estimated_cost),
        ] {
            if let Some(text) = text {
                let money =
                    Decimal::from_str_exact(&text).map_err(|_| StoreError::Unreadable("cost"))?;
                let sum = costs.entry(currency).or_default();
                *sum = add_exactly(*sum, money).ok_or(StoreError::Unreadable("cost"))?;
            }
        }
        Ok(())
    }

    pub(crate) fn into_rows(self) -> Vec<UsageRow> {
        self.0
            .into_iter()
            .map(|(group, row)| UsageRow { group, ..row })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_exact_or_none() {
        let tiny: Decimal = "0.0000000000000000000000000001".parse().unwrap();
        assert_eq!(
            add_exactly(tiny, tiny).unwrap().to_string(),
            "0.0000000000000000000000000002"
        );
        assert_eq!(add_exactly(Decimal::from(10), tiny), None);
        let one: Decimal = "0.1".parse().unwrap();
        assert_eq!(
            add_exactly(one, "0.2".parse().unwrap())
                .unwrap()
                .to_string(),
            "0.3"
        );
    }
}
