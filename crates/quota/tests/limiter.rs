//! Properties of the request limiter.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use bailian_quota::{RequestLimiter, RequestLimits};
use proptest::prelude::*;

fn limiter(per_minute: u32, per_day: u32) -> RequestLimiter {
    RequestLimiter::new(RequestLimits::new(
        NonZeroU32::new(per_minute),
        NonZeroU32::new(per_day),
    ))
}

#[test]
fn without_limits_every_request_goes_at_once() {
    let now = Instant::now();
    let limiter = limiter(0, 0);
    for _ in 0..1000 {
        assert_eq!(limiter.reserve(now, None).unwrap().at(), now);
    }
}

#[test]
fn one_per_minute_means_a_minute_between_requests() {
    let now = Instant::now();
    let limiter = limiter(1, 0);
    for minute in 0..5 {
        assert_eq!(
            limiter.reserve(now, None).unwrap().wait(now),
            Duration::from_mins(minute)
        );
    }
}

#[test]
fn a_full_day_sends_the_next_request_to_the_following_day() {
    let now = Instant::now();
    let limiter = limiter(0, 3);
    for _ in 0..3 {
        assert_eq!(limiter.reserve(now, None).unwrap().at(), now);
    }
    assert_eq!(
        limiter.reserve(now, None).unwrap().wait(now),
        Duration::from_hours(24)
    );
}

#[test]
fn a_caller_that_cannot_wait_is_refused_and_takes_no_place() {
    let now = Instant::now();
    let limiter = limiter(60, 0);
    let _first = limiter.reserve(now, None).unwrap();
    let refused = limiter.reserve(now, Some(now)).unwrap_err();
    assert_eq!(refused.at, now + Duration::from_secs(1));
    assert_eq!(limiter.reserve(now, None).unwrap().at(), refused.at);
}

#[test]
fn the_newest_place_can_be_given_back_and_an_older_one_cannot_be_taken_twice() {
    let now = Instant::now();
    let limiter = limiter(60, 0);
    let first = limiter.reserve(now, None).unwrap();
    let second = limiter.reserve(now, None).unwrap();
    let second_at = second.at();
    limiter.cancel(second);
    limiter.cancel(first);
    assert_eq!(limiter.reserve(now, None).unwrap().at(), second_at);
}

proptest! {
    #[test]
    fn no_window_of_a_minute_ever_holds_more_than_the_limit(
        per_minute in 1_u32..400,
        gaps in proptest::collection::vec(0_u64..2_000_000_000, 1..800),
    ) {
        let limiter = limiter(per_minute, 0);
        let mut now = Instant::now();
        let mut slots = Vec::new();
        for gap in gaps {
            now += Duration::from_nanos(gap);
            let at = limiter.reserve(now, None).unwrap().at();
            prop_assert!(at >= now);
            prop_assert!(slots.last().is_none_or(|last| *last <= at), "callers are served in order");
            slots.push(at);
        }
        let limit = per_minute as usize;
        for window in slots.windows(limit + 1) {
            prop_assert!(window[limit] - window[0] >= Duration::from_mins(1));
        }
    }

    #[test]
    fn a_caller_that_keeps_to_the_pace_never_waits(per_minute in 1_u32..100, count in 1_u32..200) {
        let limiter = limiter(per_minute, 0);
        let start = Instant::now();
        let burst = per_minute.div_ceil(60);
        let pace = Duration::from_mins(1).as_nanos().div_ceil(u128::from(per_minute - burst + 1));
        for turn in 0..count {
            let now = start + Duration::from_nanos(u64::try_from(pace).unwrap() * u64::from(turn));
            prop_assert_eq!(limiter.reserve(now, None).unwrap().at(), now);
        }
    }

    #[test]
    fn a_day_never_holds_more_than_its_limit(
        per_day in 1_u32..40, gaps in proptest::collection::vec(0_u64..9000, 1..300),
    ) {
        let limiter = limiter(50, per_day);
        let mut now = Instant::now();
        let mut day: Option<(Instant, u32)> = None;
        for gap in gaps {
            now += Duration::from_secs(gap);
            let at = limiter.reserve(now, None).unwrap().at();
            let (start, count) = match day {
                Some((start, count)) if at - start < Duration::from_hours(24) => (start, count + 1),
                _ => (at, 1),
            };
            prop_assert!(count <= per_day);
            day = Some((start, count));
        }
    }

    #[test]
    fn reserving_and_cancelling_leaves_no_trace(
        per_minute in 1_u32..100, per_day in 0_u32..20, tries in 1_usize..20,
    ) {
        let (probed, clean) = (limiter(per_minute, per_day), limiter(per_minute, per_day));
        let now = Instant::now();
        for _ in 0..30 {
            for _ in 0..tries {
                let slot = probed.reserve(now, None).unwrap();
                probed.cancel(slot);
            }
            prop_assert_eq!(probed.reserve(now, None).unwrap().at(), clean.reserve(now, None).unwrap().at());
        }
    }
}
