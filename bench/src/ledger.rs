//! What the ledger takes of a request: the calls that stand on its way, with the store at work
//! beside them.

use std::time::{Duration, Instant};

use bailian_ledger::{Begin, Currency, Estimate, Ledger, Settings, Settlement, Sqlite, Tokens};
use clap::Args;
use uuid::Uuid;

use crate::load::Percentiles;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Requests that are recorded.
    #[arg(long, default_value_t = 30_000)]
    requests: u32,
    /// Requests per second.
    #[arg(long, default_value_t = 3_000)]
    rate: u32,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let store = Sqlite::new(folder.path().join("ledger.db"));
    let ledger = Ledger::open(Settings::new(folder.path().join("spool")), store)?;
    let gap = Duration::from_secs(1) / options.rate.max(1);
    let (mut begins, mut settles, mut both) = (Vec::new(), Vec::new(), Vec::new());
    let start = Instant::now();
    for number in 0..options.requests {
        let due = gap * number;
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        let begin = a_beginning();
        let at = Instant::now();
        let entry = ledger.begin(&begin);
        let to_begin = at.elapsed();
        let end = an_end();
        let at = Instant::now();
        entry.settle(&end);
        let to_settle = at.elapsed();
        begins.push(to_begin);
        settles.push(to_settle);
        both.push(to_begin + to_settle);
    }
    println!(
        "{:16}{:>10}{:>10}{:>10}{:>10}",
        "µs", "p50", "p90", "p99", "max"
    );
    for (name, durations) in [("begin", begins), ("settle", settles), ("both", both)] {
        let Percentiles { p50, p90, p99, max } = Percentiles::of(durations);
        println!("{name:16}{p50:>10.1}{p90:>10.1}{p99:>10.1}{max:>10.1}");
    }
    anyhow::ensure!(
        ledger.flush(Duration::from_mins(1)),
        "not all is in the store"
    );
    Ok(())
}

fn a_beginning() -> Begin<'static> {
    let mut begin = Begin::new(Uuid::now_v7(), 1_800_000_000_000);
    begin.tenant = Some("0198c5b2-0c1c-7aa0-8f6e-1f2f3a4b5c6d".into());
    begin.project = Some("0198c5b2-0c1c-7aa0-8f6e-1f2f3a4b5c6e".into());
    begin.key_id = Some("0198c5b2-0c1c-7aa0-8f6e-1f2f3a4b5c6f".into());
    begin.surface = Some("chat".into());
    begin.dialect = Some("openai".into());
    begin.model = Some("qwen-plus".into());
    begin.estimate = Estimate::of_tokens(300, 512).with_cost(cost(), Currency::CNY);
    begin
}

fn an_end() -> Settlement<'static> {
    let mut end = Settlement::new("completed");
    end.account = Some("default".into());
    end.region = Some("cn-beijing".into());
    end.upstream_model = Some("qwen-plus".into());
    end.attempts = 1;
    end.tokens = Tokens::new(212, 98);
    end.cost = Some(cost());
    end.currency = Some(Currency::CNY);
    end.price_version = Some("2026-11-23+1a2b3c4d".into());
    end.queued_ms = Some(0);
    end.first_token_ms = Some(250);
    end.total_ms = Some(900);
    end.http_status = Some(200);
    end.upstream_request_id = Some("5f2c7a94-1c0e-4a53-9d1f-0b6c3f1e7a20".into());
    end.stream = true;
    end
}

fn cost() -> bailian_ledger::Decimal {
    bailian_ledger::Decimal::new(365, 6)
}
