//! Every documented error, in every phase and dialect: what becomes of it is a table, and each of
//! its cells is tried. The guide for people is made of the same table.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod cell;
mod scripted;

use std::fmt::Write as _;

use bailian_wire::Dialect;
use bailian_wire::error::{ErrorClass, ErrorEntry, ErrorTable, Surface};

use self::cell::{Cell, Phase};

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

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_error_in_every_phase_and_dialect_has_its_consequence() {
    let mut cells = Vec::new();
    for entry in entries() {
        for phase in Phase::OF_ERRORS {
            cells.extend(Dialect::ALL.map(|dialect| Cell::new(entry, phase, dialect)));
        }
    }
    assert!(cells.len() >= 1_000, "{}", cells.len());
    let mut trials = tokio::task::JoinSet::new();
    for cell in cells {
        trials.spawn(async move {
            let tried = cell.try_out().await;
            tried.map_err(|problem| format!("{cell}: {problem}"))
        });
    }
    let mut problems: Vec<String> = trials
        .join_all()
        .await
        .into_iter()
        .filter_map(Result::err)
        .collect();
    problems.sort();
    let shown = &problems[..problems.len().min(20)];
    assert!(problems.is_empty(), "{} cells: {shown:#?}", problems.len());
}

#[tokio::test]
async fn a_target_that_cannot_be_reached_or_says_nothing_has_its_consequence() {
    for phase in [Phase::Connect, Phase::Closed] {
        for dialect in Dialect::ALL {
            let cell = Cell::unreachable(phase, dialect);
            if let Err(problem) = cell.try_out().await {
                panic!("{cell}: {problem}");
            }
        }
    }
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
         ## By kind\n\n| kind | the gateway | what to do |\n|---|---|---|\n",
    );
    for class in ErrorClass::ALL {
        let _infallible = writeln!(
            text,
            "| `{class}` | {} | {} |",
            done_about(class),
            class.guidance()
        );
    }
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
