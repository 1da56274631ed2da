//! Reference streams of every surface, broken at every byte and at random places: each gives its
//! client one well-formed answer or one well-formed error, and what went on equals the uncut text.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod broken;
mod judge;
mod references;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use self::broken::{Break, How};
use self::judge::judge;
use self::references::{Reference, references};

/// How many breaks at random places; `cargo xtask test` asks for the whole number.
const RANDOM_BREAKS: &str = "BAILIAN_RANDOM_BREAKS";
/// Every how many bytes a stream is broken; `cargo xtask test` asks for every one.
const BREAK_STEP: &str = "BAILIAN_BREAK_STEP";

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(otherwise)
}

/// Runs as many workers as there are cores, each with a gateway of its own, until `next` has no
/// more.
fn in_parallel(
    references: Vec<Reference>,
    next: impl Fn(&[Reference]) -> Option<(usize, Break)> + Send + Sync + 'static,
) {
    let references = Arc::new(references);
    let next = Arc::new(next);
    // The first of each stream; the others are mostly the same.
    let problems = Arc::new(Mutex::new(BTreeMap::new()));
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let workers: Vec<_> = (0..workers)
        .map(|_| {
            let (references, next) = (Arc::clone(&references), Arc::clone(&next));
            let problems = Arc::clone(&problems);
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let place = broken::Place::new();
                    while let Some((index, cut)) = next(&references) {
                        let reference = &references[index];
                        let got = place.ask(reference, cut.clone()).await;
                        if let Err(problem) = judge(reference, &cut, &got) {
                            problems.lock().unwrap().entry(index).or_insert(problem);
                        }
                    }
                });
            })
        })
        .collect();
    for worker in workers {
        if let Err(panic) = worker.join() {
            std::panic::resume_unwind(panic);
        }
    }
    let problems = problems.lock().unwrap();
    let shown: Vec<&String> = problems.values().collect();
    assert!(shown.is_empty(), "{} streams: {shown:#?}", shown.len());
}

#[test]
fn a_stream_that_breaks_at_any_byte_gives_one_answer_or_one_error() {
    let references = references();
    assert!(references.len() >= 20, "{}", references.len());
    let step = setting(BREAK_STEP, 41).max(1);
    let places: Vec<(usize, usize)> = references
        .iter()
        .enumerate()
        .flat_map(|(index, reference)| {
            let first = index % usize::try_from(step).unwrap();
            (first..=reference.bytes.len())
                .step_by(usize::try_from(step).unwrap())
                .map(move |at| (index, at))
        })
        .collect();
    let taken = AtomicU64::new(0);
    in_parallel(references, move |_| {
        let number = usize::try_from(taken.fetch_add(1, Ordering::Relaxed)).unwrap();
        let (index, at) = *places.get(number)?;
        // A connection can end with an error, or as if that were all.
        let how = if number.is_multiple_of(2) {
            How::Reset
        } else {
            How::End
        };
        Some((index, Break::once(at, how)))
    });
}

#[test]
fn streams_that_break_at_random_places_again_and_again_give_one_answer_or_one_error() {
    let most = setting(RANDOM_BREAKS, 400);
    let taken = AtomicU64::new(0);
    in_parallel(references(), move |references| {
        let number = taken.fetch_add(1, Ordering::Relaxed);
        if number >= most {
            return None;
        }
        let mut random = fastrand::Rng::with_seed(number);
        let index = random.usize(..references.len());
        Some((
            index,
            Break::random(&mut random, references[index].bytes.len()),
        ))
    });
}
