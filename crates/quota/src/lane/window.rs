//! What was used in the last period, exactly.

use std::collections::VecDeque;

use crate::time::{NEVER, Nanos};

/// So many entries share a period at most; uses that fall closer together are one entry, dated by
/// the latest, so that what is remembered is bounded and errs towards waiting.
const ENTRIES: Nanos = 2048;

/// A sliding window over uses.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    period: Nanos,
    entries: VecDeque<Entry>,
    used: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    first: Nanos,
    last: Nanos,
    amount: u64,
}

impl Window {
    pub(crate) fn new(period: Nanos) -> Self {
        Self {
            period: period.max(1),
            entries: VecDeque::new(),
            used: 0,
        }
    }

    pub(crate) fn period(&self) -> Nanos {
        self.period
    }

    /// What was used in the period that ends now.
    pub(crate) fn used(&mut self, now: Nanos) -> u64 {
        while let Some(entry) = self.entries.front()
            && entry.last.saturating_add(self.period) <= now
        {
            self.used -= entry.amount;
            self.entries.pop_front();
        }
        self.used
    }

    pub(crate) fn add(&mut self, now: Nanos, amount: u64) {
        if amount == 0 {
            return;
        }
        self.used(now);
        self.used = self.used.saturating_add(amount);
        let grain = self.period / ENTRIES;
        if let Some(entry) = self.entries.back_mut()
            && now.saturating_sub(entry.first) <= grain
        {
            entry.last = entry.last.max(now);
            entry.amount = entry.amount.saturating_add(amount);
        } else {
            self.entries.push_back(Entry {
                first: now,
                last: now,
                amount,
            });
        }
    }

    /// What was added after an instant.
    pub(crate) fn added_after(&self, at: Nanos) -> u64 {
        let later = self
            .entries
            .iter()
            .rev()
            .take_while(|entry| entry.first > at);
        later.map(|entry| entry.amount).sum()
    }

    /// Takes back what was added at an instant and turned out not to be used. What has left the
    /// window is gone: then nothing is taken back, since all that is left belongs to others.
    pub(crate) fn take_back(&mut self, now: Nanos, added_at: Nanos, amount: u64) {
        self.used(now);
        let index = self.entries.partition_point(|entry| entry.last < added_at);
        if let Some(entry) = self.entries.get_mut(index)
            && entry.first <= added_at
        {
            let taken = entry.amount.min(amount);
            entry.amount -= taken;
            self.used -= taken;
        }
    }

    /// Takes back what was added bit by bit since an instant, latest first.
    pub(crate) fn take_back_since(&mut self, now: Nanos, since: Nanos, mut amount: u64) {
        self.used(now);
        let later = self.entries.iter_mut().rev();
        for entry in later.take_while(|entry| entry.last >= since) {
            let taken = entry.amount.min(amount);
            entry.amount -= taken;
            self.used -= taken;
            amount -= taken;
            if amount == 0 {
                break;
            }
        }
    }

    /// When so much of what is used now will have left the window: `now` for nothing, [`NEVER`]
    /// for more than is used.
    pub(crate) fn freed_at(&mut self, now: Nanos, amount: u64) -> Nanos {
        if amount == 0 {
            return now;
        }
        if amount > self.used(now) {
            return NEVER;
        }
        let mut freed = 0u64;
        for entry in &self.entries {
            freed = freed.saturating_add(entry.amount);
            if freed >= amount {
                return entry.last.saturating_add(self.period);
            }
        }
        NEVER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_use_leaves_after_exactly_one_period() {
        let mut window = Window::new(1_000_000);
        window.add(5, 3);
        assert_eq!(window.used(1_000_004), 3);
        assert_eq!(window.freed_at(6, 3), 1_000_005);
        assert_eq!(window.used(1_000_005), 0);
    }

    #[test]
    fn what_was_not_used_is_taken_back_where_it_was_added() {
        let mut window = Window::new(1_000_000);
        window.add(0, 3);
        window.add(500_000, 3);
        window.take_back(500_001, 0, 2);
        assert_eq!(window.used(500_001), 4);
        assert_eq!(window.used(1_000_000), 3);
        window.take_back(1_000_000, 0, 1);
        assert_eq!(window.used(1_000_000), 3);
    }

    #[test]
    fn what_came_bit_by_bit_is_taken_back_latest_first_and_from_nobody_before() {
        let mut window = Window::new(1_000_000);
        window.add(0, 3);
        window.add(400_000, 2);
        window.add(500_000, 2);
        window.take_back_since(500_001, 400_000, 9);
        assert_eq!(window.used(500_001), 3);
    }

    proptest! {
        #[test]
        fn it_never_forgets_a_use_early_and_stays_small(
            steps in prop::collection::vec((0u64..3_000, 0u64..5), 1..400)
        ) {
            let period = 100_000;
            let mut window = Window::new(period);
            let mut all = Vec::new();
            let mut now = 0;
            for (wait, amount) in steps {
                now += wait;
                window.add(now, amount);
                all.push((now, amount));
                let exact: u64 = all.iter().filter(|(at, _)| at + period > now).map(|(_, n)| n).sum();
                let grain = period / ENTRIES;
                let lenient: u64 = all.iter().filter(|(at, _)| at + period + grain > now).map(|(_, n)| n).sum();
                let used = window.used(now);
                prop_assert!(exact <= used && used <= lenient);
                prop_assert!(window.entries.len() as u64 <= ENTRIES + 2);
            }
        }
    }
}
