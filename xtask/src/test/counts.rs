//! Reading the counts that each test runner prints, and the table at the end.

use std::ops::AddAssign;
use std::process::ExitStatus;
use std::time::Duration;

/// How many tests of a suite ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl Counts {
    /// Refuses the two ways in which a runner's figures can look better than the run was.
    pub(super) fn checked(mut self, status: ExitStatus) -> anyhow::Result<Self> {
        if !status.success() && self.failed == 0 {
            // A crash, or a suite that does not compile: at least one thing failed.
            self.failed = 1;
        }
        anyhow::ensure!(self.passed + self.failed > 0, "the suite ran no test");
        Ok(self)
    }
}

/// Counts of a line like `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; …`.
pub(super) fn of_libtest(line: &str) -> Counts {
    let Some((_, figures)) = line.split_once("test result: ") else {
        return Counts::default();
    };
    let figures = figures
        .split_once(". ")
        .map_or(figures, |(_, figures)| figures);
    of_pairs(figures.split(';'))
}

/// Counts of pytest's last line, like `3 failed, 12 passed in 0.12s`.
pub(super) fn of_pytest(line: &str) -> Counts {
    let Some((figures, seconds)) = line.trim_matches(['=', ' ']).rsplit_once(" in ") else {
        return Counts::default();
    };
    if !seconds.starts_with(|c: char| c.is_ascii_digit()) {
        return Counts::default();
    }
    of_pairs(figures.split(','))
}

/// Counts of a summary line of Node's reporter, like `ℹ pass 12`.
pub(super) fn of_node(line: &str) -> Counts {
    let mut words = line.split(' ');
    let (Some("ℹ"), Some(word), Some(number), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Counts::default();
    };
    number
        .parse()
        .map_or_else(|_| Counts::default(), |number| of_pair(number, word))
}

fn of_pairs<'a>(pairs: impl Iterator<Item = &'a str>) -> Counts {
    let mut counts = Counts::default();
    for pair in pairs {
        let mut words = pair.split_whitespace();
        if let (Some(number), Some(word)) = (words.next(), words.next())
            && let Ok(number) = number.parse()
        {
            counts += of_pair(number, word);
        }
    }
    counts
}

fn of_pair(number: u64, word: &str) -> Counts {
    let mut counts = Counts::default();
    match word {
        "passed" | "pass" => counts.passed = number,
        "failed" | "fail" | "error" | "errors" | "cancelled" => counts.failed = number,
        "ignored" | "skipped" | "todo" => counts.skipped = number,
        _ => {}
    }
    counts
}

/// What all suites gave.
#[derive(Debug, Default)]
pub(super) struct Report {
    suites: Vec<(String, Counts, Duration)>,
    errors: Vec<String>,
    notes: Vec<String>,
}

impl Report {
    pub(super) fn add(&mut self, name: &str, counts: Counts, took: Duration) {
        self.suites.push((name.to_owned(), counts, took));
    }

    /// A suite that could not run at all is a failure, never a silent absence.
    pub(super) fn failed_to_run(&mut self, name: &str, error: &anyhow::Error) {
        let failed = Counts {
            failed: 1,
            ..Counts::default()
        };
        self.suites.push((name.to_owned(), failed, Duration::ZERO));
        self.errors.push(format!("{name}: {error:#}"));
    }

    pub(super) fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }

    pub(super) fn total(&self) -> Counts {
        self.suites
            .iter()
            .fold(Counts::default(), |mut total, (_, counts, _)| {
                total += *counts;
                total
            })
    }

    /// Prints problems, the table, notes, and the totals as the very last line.
    pub(super) fn print(&self) {
        for error in &self.errors {
            println!("\nerror: {error}");
        }
        let width = self
            .suites
            .iter()
            .map(|(name, ..)| name.len())
            .max()
            .unwrap_or(0)
            .max(5);
        println!(
            "\n{:width$}  {:>6} {:>6} {:>7} {:>8}",
            "suite", "passed", "failed", "skipped", "seconds"
        );
        for (name, counts, took) in &self.suites {
            println!(
                "{name:width$}  {:>6} {:>6} {:>7} {:>8.1}",
                counts.passed,
                counts.failed,
                counts.skipped,
                took.as_secs_f64()
            );
        }
        for note in &self.notes {
            println!("{note}");
        }
        let total = self.total();
        let skipped = match total.skipped {
            0 => String::new(),
            skipped => format!(", {skipped} skipped"),
        };
        println!("{} passed, {} failed{skipped}", total.passed, total.failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, skipped: u64) -> Counts {
        Counts {
            passed,
            failed,
            skipped,
        }
    }

    #[test]
    fn libtest_result_lines_are_read() {
        let line = "test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.05s";
        assert_eq!(of_libtest(line), counts(12, 2, 1));
        assert_eq!(of_libtest("test a::passed ... ok"), counts(0, 0, 0));
    }

    #[test]
    fn pytest_summary_lines_are_read() {
        assert_eq!(
            of_pytest("3 failed, 12 passed, 1 skipped in 0.12s"),
            counts(12, 3, 1)
        );
        assert_eq!(
            of_pytest("==== 5 passed, 2 errors in 61.20s (0:01:01) ===="),
            counts(5, 2, 0)
        );
        assert_eq!(
            of_pytest("FAILED test_chat.py::test_a - 1 failed in transit"),
            counts(0, 0, 0)
        );
    }

    #[test]
    fn node_summary_lines_are_read() {
        assert_eq!(of_node("ℹ pass 7"), counts(7, 0, 0));
        assert_eq!(of_node("ℹ cancelled 1"), counts(0, 1, 0));
        assert_eq!(of_node("✔ pass 7 (0.4ms)"), counts(0, 0, 0));
    }

    #[test]
    fn a_suite_without_tests_is_an_error() {
        let success = ExitStatus::default();
        assert!(counts(0, 0, 4).checked(success).is_err());
        assert_eq!(counts(3, 0, 0).checked(success).unwrap(), counts(3, 0, 0));
    }
}
