//! Every documented error, in every phase and dialect: what becomes of it is a table, and each of
//! its cells is tried. The guide for people is made of the same table.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod bills;
mod booked;
mod cell;
mod house;
mod scripted;

use std::fmt::Write as _;
use std::sync::Arc;

use bailian_wire::Dialect;
use bailian_wire::error::{ErrorClass, ErrorEntry, ErrorTable, Surface};

use self::booked::{Amounts, Booked};
use self::cell::{Cell, Phase};
use self::house::{Behind, House};

/// Errors that an HTTP call can meet.
fn entries() -> impl Iterator<Item = &'static ErrorEntry> {
    ErrorTable::embedded().entries().iter().filter(|entry| {
        entry.surface == Surface::Http
            && entry.code.is_some()
            && entry.status.is_some_and(|s| s >= 400)
    })
}

/// Whether another target is asked instead of one that answered so (docs/gateway.md).
fn falls_back(class: ErrorClass) -> bool {
    !matches!(
        class,
        ErrorClass::InvalidRequest | ErrorClass::ContentFilter | ErrorClass::NotFound
    )
}

/// Whether a stream goes on after such an error.
fn goes_on(class: ErrorClass) -> bool {
    class.is_throttle() || is_fault(class)
}

/// Whether it speaks against the health of the target.
fn is_fault(class: ErrorClass) -> bool {
    matches!(
        class,
        ErrorClass::Server | ErrorClass::Unavailable | ErrorClass::Timeout
    )
}

/// All cells of the table.
fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for entry in entries() {
        for phase in Phase::OF_ERRORS {
            cells.extend(Dialect::ALL.map(|dialect| Cell::new(entry, phase, dialect)));
        }
    }
    for phase in [Phase::Connect, Phase::Closed] {
        cells.extend(Dialect::ALL.map(|dialect| Cell::unreachable(phase, dialect)));
    }
    cells
}

/// How many cells share a gateway: what looks at all accounts takes the longer the more there are.
const TOGETHER: usize = 128;

/// How many are tried at once: so few that no line which was told to wait goes on before its cell
/// was asked for the last time.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_error_in_every_phase_and_dialect_has_its_consequence() {
    let cells = cells();
    assert!(cells.len() >= 1_000, "{}", cells.len());
    let mut problems = Vec::new();
    for cells in cells.chunks(TOGETHER) {
        let cells: Arc<[Cell]> = cells.into();
        for behind in [Behind::Another, Behind::None] {
            problems.extend(try_out(&cells, behind).await);
        }
    }
    problems.sort();
    let shown = &problems[..problems.len().min(20)];
    assert!(problems.is_empty(), "{} cells: {shown:#?}", problems.len());
}

/// Tries cells in a gateway of their own, then holds its ledger against what it has to say.
async fn try_out(cells: &Arc<[Cell]>, behind: Behind) -> Vec<String> {
    let house = Arc::new(House::new(cells, behind));
    let mut running = tokio::task::JoinSet::new();
    let mut trials = Vec::new();
    for place in 0..cells.len() {
        if running.len() == AT_ONCE {
            trials.extend(running.join_next().await.unwrap());
        }
        let (cells, house) = (Arc::clone(cells), Arc::clone(&house));
        running.spawn(async move { (place, cells[place].try_out(place, &house, behind).await) });
    }
    trials.extend(running.join_all().await);
    let ledger = Arc::into_inner(house).unwrap().records();
    let mut asked = 0;
    let mut problems = Vec::new();
    for (place, tried) in trials {
        let cell = &cells[place];
        let checked = tried.and_then(|tried| {
            asked += tried.ids.len();
            tried.check(cell, place, &ledger)
        });
        problems.extend(checked.err().map(|problem| format!("{cell}: {problem}")));
    }
    if problems.is_empty() && ledger.len() != asked {
        problems.push(format!("{} records for {asked} requests", ledger.len()));
    }
    problems
}

/// What the ledger says of an error that comes instead of an answer.
fn booked_as(class: ErrorClass) -> String {
    let outcome = |behind| {
        let booked = Booked::of(Phase::Head, AS_SENT, falls_back(class), behind);
        (booked.outcome, booked.amounts)
    };
    let (alone, another) = (outcome(Behind::None), outcome(Behind::Another));
    assert_eq!(alone.1, Amounts::None, "errors cost nothing");
    if alone == another {
        format!("`{}`, costs nothing", alone.0)
    } else {
        format!(
            "`{}` if another target answers; else `{}`, costs nothing",
            another.0, alone.0
        )
    }
}

/// Stands for the status that upstream sent.
const AS_SENT: u16 = 0;

/// How the ledger tells of each way in which a request can go wrong.
fn ledger_guide() -> String {
    let mut text = String::from(
        "\n## In the ledger\n\n\
         Every request that is sent has one record, whatever becomes of it. What was held of limits and budgets is given back but for what is billed;\n\
         a request that could not be sent takes no place in its minute. An error that comes instead of an answer costs nothing; what was said before one is paid for.\n\
         An attempt that another one replaced is listed, and not billed, unless the caller has a part of its answer.\n\n\
         | what happens | in its place | `outcome` | `http_status` | `error_code` | `attempt_list` | billed | `estimated` |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for (phase, what) in [
        (Phase::Connect, "no connection"),
        (Phase::Closed, "sent, and no answer comes"),
        (Phase::Head, "an error instead of an answer"),
        (Phase::FirstEvent, "an error as the first event of a stream"),
        (Phase::MidStream, "an error, or a break, after some text"),
        (Phase::End, "an error, or a break, after the reason to end"),
    ] {
        let instead = match phase {
            Phase::MidStream => "the stream goes on",
            _ => "another target answers",
        };
        for (behind, place) in [(Behind::None, "nothing"), (Behind::Another, instead)] {
            if (phase, behind) == (Phase::End, Behind::Another) {
                continue;
            }
            let booked = Booked::of(phase, AS_SENT, true, behind);
            let status = |status| match status {
                None => "none".to_owned(),
                Some(AS_SENT) => "the error's".to_owned(),
                Some(status) => status.to_string(),
            };
            let tries: Vec<String> = booked
                .tries
                .iter()
                .map(|(outcome, answered)| format!("`{outcome}` ({})", status(*answered)))
                .collect();
            let code = match phase {
                _ if !booked.has_code => "",
                Phase::Connect | Phase::Closed => "`ServiceUnavailable`",
                _ => "the error's",
            };
            let _infallible = writeln!(
                text,
                "| {what} | {place} | `{}` | {} | {code} | {} | {} |",
                booked.outcome,
                status(Some(booked.status)),
                tries.join(", "),
                booked.amounts.as_words(phase, booked.tries.len()),
            );
        }
    }
    text.push_str(
        "\nA break is `upstream_lost` with `ServiceUnavailable` (or `RequestTimeOut`) where an error is `upstream_error` with its code. The code is the service's own (native) one where\n\
         upstream's words tell it, and as upstream wrote it else. Refusals of the gateway itself are `refused`; those for a key, its limits and its budgets have no record.\n",
    );
    text
}

/// What the gateway does about an error, in a few words.
fn done_about(class: ErrorClass) -> String {
    let mut done = Vec::new();
    if class.is_throttle() {
        done.push("asks the next target, else waits in line and sends it again");
    } else if falls_back(class) {
        done.push("asks the next target, else passes it on");
    } else {
        done.push("passes it on");
    }
    if goes_on(class) {
        done.push("a stream goes on");
    }
    if is_fault(class) {
        done.push("counts against the target's health");
    }
    done.join("; ")
}

fn guide() -> String {
    let mut text = String::from(
        "# Errors\n\n\
         What each error of the service means, what the gateway does, and what to do. Made from the error catalogue by a test\n\
         (`BLESS=1 cargo test -p bailian-gateway --test errors` writes it anew). In OpenAI's dialect the code stands in `error.code`, in Anthropic's there are types only.\n\n\
         ## By kind\n\n| kind | the gateway | in the ledger | what to do |\n|---|---|---|---|\n",
    );
    for class in ErrorClass::ALL {
        let _infallible = writeln!(
            text,
            "| `{class}` | {} | {} | {} |",
            done_about(class),
            booked_as(class),
            class.guidance()
        );
    }
    text.push_str(&ledger_guide());
    text.push_str(
        "\n## By code\n\n| code | OpenAI's `code` | HTTP | kind | retry |\n|---|---|---|---|---|\n",
    );
    let mut rows: Vec<String> = entries()
        .map(|entry| {
            let retry = match entry.retry {
                Some(_) => "yes",
                None => "no",
            };
            format!(
                "| `{}` | {} | {} | `{}` | {retry} |",
                entry.code.as_deref().unwrap(),
                entry
                    .compat_code
                    .as_ref()
                    .map_or(String::new(), |code| format!("`{code}`")),
                entry.status.unwrap(),
                entry.class
            )
        })
        .collect();
    rows.sort();
    rows.dedup();
    text.push_str(&rows.join("\n"));
    text.push_str(
        "\n\nThe gateway's own refusals have `x-bailian-error-source: gateway` and these codes: `InvalidApiKey` (no or a wrong key), `InvalidParameter` (the request cannot be read,\n\
         or not be translated), `BadRequest.TooLarge`, `RequestTimeOut` (the request's body, or upstream's answer, did not come in time), `NotFound`, `Throttling.RateQuota`\n\
         (the line is longer than the request would wait; `retry-after` says how long), `ServiceUnavailable` (upstream cannot be reached or broke off).\n",
    );
    text
}

#[test]
fn the_error_guide_is_what_the_catalogue_says() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, guide()).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap();
    assert!(
        known == guide(),
        "docs/errors.md is stale: run this test with BLESS=1"
    );
}
