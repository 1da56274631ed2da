//! Whether a request went out, and whether upstream may have billed it.

/// How often a request went out, and what came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sendings {
    times: u32,
    may_be_billed: bool,
    /// What held before it went out last.
    might_be_before: bool,
}

impl Sendings {
    /// It goes out.
    pub(super) fn out(&mut self) {
        self.times += 1;
        self.might_be_before = self.may_be_billed;
        self.may_be_billed = true;
    }

    /// Nothing of it went out after all.
    pub(super) fn back(&mut self) {
        self.times = self.times.saturating_sub(1);
        self.refused();
    }

    /// An error came in the place of an answer, which is not billed.
    pub(super) fn refused(&mut self) {
        self.may_be_billed = self.might_be_before;
    }

    /// Whether it ever went out.
    pub(super) fn any(self) -> bool {
        self.times > 0
    }

    /// Whether an answer may have been made of it.
    pub(super) fn may_be_billed(self) -> bool {
        self.may_be_billed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_the_line_after_a_throttled_try_owes_nothing() {
        let mut sendings = Sendings::default();
        sendings.out();
        sendings.refused();
        assert!(sendings.any() && !sendings.may_be_billed());
    }

    #[test]
    fn what_never_reached_upstream_was_not_sent() {
        let mut sendings = Sendings::default();
        sendings.out();
        sendings.back();
        assert!(!sendings.any() && !sendings.may_be_billed());
    }

    #[test]
    fn a_lost_try_stays_owed_whatever_the_next_one_comes_to() {
        let mut sendings = Sendings::default();
        sendings.out();
        sendings.out();
        sendings.refused();
        assert!(sendings.may_be_billed());
        sendings.out();
        sendings.back();
        assert!(sendings.any() && sendings.may_be_billed());
    }
}
