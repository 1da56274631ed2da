//! What a permit costs, and what a place in line does.
//!
//! `cargo bench -p bailian-bench --bench pacing`

use std::hint::black_box;
use std::time::Duration;

use bailian_quota::{Demand, LaneConfig, Layer, Limit, Pacer, Permit, Usage, Wait};
use bailian_wire::tokens::estimate_request;
use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt as _;

/// A chain of five limits, all far away.
fn five_limits() -> Vec<Limit> {
    let (second, minute) = (Duration::from_secs(1), Duration::from_mins(1));
    vec![
        Limit::requests(1_000_000_000, second),
        Limit::requests(60_000_000_000, minute),
        Limit::tokens(1_000_000_000_000, Duration::from_secs(6)),
        Limit::tokens(10_000_000_000_000, minute),
        Limit::requests(60_000_000_000, minute).of(Layer::Workspace),
    ]
}

fn permits(criterion: &mut Criterion) {
    let lane = Pacer::new().lane("bench", || {
        let mut config = LaneConfig::new(five_limits());
        config.ramp = None;
        config
    });
    let tenant: std::sync::Arc<str> = "tenant".into();
    criterion.bench_function("acquire, admitted, settle: five limits", |bencher| {
        bencher.iter(|| {
            let demand = Demand::new(std::sync::Arc::clone(&tenant), 500);
            let permit: Option<Permit> = lane.acquire(demand).now_or_never().and_then(Result::ok);
            if let Some(permit) = permit {
                permit.admitted();
                permit.settle(Usage::new(500, 200));
            }
        });
    });
}

fn estimates(criterion: &mut Criterion) {
    let body = |text: &str, times: usize| {
        let content = text.repeat(times);
        format!(r#"{{"model":"qwen-plus","messages":[{{"role":"user","content":"{content}"}}]}}"#)
    };
    for (name, text) in [
        (
            "English",
            "A request waits for its turn below the limits of the account. ",
        ),
        ("Chinese", "请求在账户的限额之内排队，轮到它时才会发送。"),
    ] {
        for (size, times) in [("2 KB", 30), ("200 KB", 3_000)] {
            let body = body(text, times);
            criterion.bench_function(&format!("estimate tokens: {size}, {name}"), |bencher| {
                bencher.iter(|| estimate_request(black_box(body.as_bytes())));
            });
        }
    }
}

/// Resident memory, in bytes.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) * 1024.0
}

fn memory(_: &mut Criterion) {
    const WAITING: usize = 200_000;
    let lane = Pacer::new().lane("waiting", || {
        let mut config = LaneConfig::new(vec![Limit::requests(1, Duration::from_hours(1))]);
        config.max_waiting = 2 * WAITING;
        config.max_waiting_per_tenant = WAITING;
        config
    });
    let tenants: Vec<std::sync::Arc<str>> = (0..50).map(|n| format!("tenant-{n}").into()).collect();
    let mut waits: Vec<Wait> = Vec::with_capacity(WAITING);
    // Touched, so that the list itself is not counted.
    waits.extend((0..1).map(|_| lane.acquire(Demand::new("first", 1))));
    let before = resident();
    for number in 0..WAITING - 1 {
        let tenant = std::sync::Arc::clone(&tenants[number % tenants.len()]);
        let demand = Demand::new(tenant, 500).patience(Some(Duration::from_hours(1_000_000)));
        waits.push(lane.acquire(demand));
    }
    let each = (resident() - before) / WAITING as f64;
    let future = size_of::<Wait>();
    #[expect(clippy::print_stdout, reason = "a figure of the benchmark")]
    {
        println!(
            "memory per waiting request: {each:.0} bytes resident, {future} of them its future"
        );
    }
    drop(waits);
}

criterion_group!(benches, memory, permits, estimates);
criterion_main!(benches);
