//! `bailian doctor`: what works, what does not, and what to do about it.

mod checks;

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use anyhow::Context as _;
use bailian::config::ConfigLoader;

use crate::failure::{self, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Also sends a request with the key, of a few tokens; it may cost a fraction of a cent.
    #[arg(long)]
    live: bool,
    /// The model that --live asks [default: DASHSCOPE_DEFAULT_MODEL, else qwen-plus].
    #[arg(short, long, requires = "live")]
    model: Option<String>,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    /// Works, but is probably not meant.
    Doubtful,
    Bad,
}

/// One line of the report.
#[derive(Debug)]
struct Finding {
    verdict: Verdict,
    subject: String,
    text: String,
}

impl Finding {
    fn good(subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Good,
            subject: subject.into(),
            text: text.into(),
        }
    }

    fn doubtful(subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Doubtful,
            subject: subject.into(),
            text: text.into(),
        }
    }

    fn bad(subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Bad,
            subject: subject.into(),
            text: text.into(),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let resolution = ConfigLoader::new().dotenv(true).resolve();
    let config = &resolution.config;
    let mut report = Report::default();
    report.section("configuration", checks::settings(&resolution))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .map_err(Failure::Run)?;
    let network = runtime.block_on(checks::network(config));
    let reachable = network
        .iter()
        .all(|finding| finding.verdict != Verdict::Bad);
    report.section("network", network)?;
    if arguments.live {
        let finding = if resolution.problems.is_empty() && reachable {
            runtime.block_on(checks::live(config, arguments.model.as_deref()))
        } else {
            Finding::bad("request", "not sent; mend what is said above first")
        };
        report.section("service", vec![finding])?;
    } else {
        let hint = "whether the service accepts the key is not checked; --live sends a request";
        print(&format!("\n{hint}\n"))?;
    }
    print(match report.bad {
        0 => "\nnothing to mend\n",
        _ => "\nmend the lines marked `fail`, then run this again\n",
    })?;
    if report.bad == 0 {
        Ok(())
    } else {
        Err(Failure::Reported)
    }
}

/// Prints findings as they come and counts the bad ones.
#[derive(Debug, Default)]
struct Report {
    bad: usize,
}

impl Report {
    fn section(&mut self, title: &str, findings: Vec<Finding>) -> Result<(), Failure> {
        let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let width = findings
            .iter()
            .map(|finding| finding.subject.len())
            .max()
            .unwrap_or(0);
        let mut text = format!("{title}\n");
        for Finding {
            verdict,
            subject,
            text: said,
        } in findings
        {
            let (word, shade) = match verdict {
                Verdict::Good => ("ok  ", 32),
                Verdict::Doubtful => ("warn", 33),
                Verdict::Bad => ("fail", 31),
            };
            self.bad += usize::from(verdict == Verdict::Bad);
            let word = if color {
                format!("\x1b[{shade}m{word}\x1b[0m")
            } else {
                word.to_owned()
            };
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "  {word}  {subject:width$}  {said}");
        }
        print(&text)
    }
}

fn print(text: &str) -> Result<(), Failure> {
    failure::written(std::io::stdout().write_all(text.as_bytes()))
}
