//! A ledger over a real PostgreSQL server, which each test starts for itself.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper that fails is a test that fails"
)]

mod outages;
mod records;
mod server;

use std::time::{Duration, Instant};

use bailian_ledger::{Begin, Currency, Estimate, Settlement, Tokens};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_mins(1);

fn begin() -> Begin<'static> {
    let mut begin = Begin::new(Uuid::now_v7(), 1_800_000_000_000);
    begin.tenant = Some("研发部".into());
    begin.key_id = Some("key\0-1".into());
    begin.estimate = Estimate::of_tokens(100, 50).with_cost("0.25".parse().unwrap(), Currency::CNY);
    begin
}

fn completed() -> Settlement<'static> {
    let mut end = Settlement::new("completed");
    end.tokens = Tokens::new(120, 40);
    end.cost = Some("0.000000000000000000001".parse().unwrap());
    end.currency = Some(Currency::CNY);
    end.http_status = Some(200);
    end.stream = true;
    end
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
