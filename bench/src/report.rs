//! The figures of a run: a table to read and a JSON file to keep.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use crate::load::Percentiles;
use crate::target::Target;

/// What one round measured on one target. Direct calls have neither CPU time nor memory.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) cpu_us_per_request: Option<f64>,
    /// Share of its core that the proxy used while requests came as fast as they could.
    pub(crate) busy_at_saturation: Option<f64>,
    pub(crate) requests_per_second: f64,
    pub(crate) cpu_us_per_frame: Option<f64>,
    pub(crate) frames_received: usize,
    pub(crate) frames_per_read: f64,
    pub(crate) latency_alone_us: Percentiles,
    pub(crate) latency_among_32_us: Percentiles,
    pub(crate) first_frame_us: Percentiles,
    pub(crate) first_frame_among_50_us: Percentiles,
    pub(crate) kib_per_stream: Option<f64>,
    pub(crate) proportional_kib_per_stream: Option<f64>,
    pub(crate) idle_kib: Option<f64>,
    pub(crate) fresh_kib: Option<f64>,
    pub(crate) cold_start_ms: Option<f64>,
    pub(crate) crowd_lost: Option<f64>,
}

/// How a figure is set against others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// As a multiple of nginx's.
    Nginx,
    /// Less what direct calls take in the same round, then as a multiple of nginx's.
    AddedToDirect,
    /// Not at all.
    None,
}

/// A row's title, its value in one round, and what it is compared with.
struct Row {
    title: &'static str,
    value: fn(&Figures) -> Option<f64>,
    comparison: Comparison,
}

const ROWS: [Row; 18] = [
    Row {
        title: "CPU µs per request (32 connections)",
        value: |figures| figures.cpu_us_per_request,
        comparison: Comparison::Nginx,
    },
    Row {
        title: "CPU µs per frame (50 streams)",
        value: |figures| figures.cpu_us_per_frame,
        comparison: Comparison::Nginx,
    },
    Row {
        title: "KiB per open stream, RSS",
        value: |figures| figures.kib_per_stream,
        comparison: Comparison::Nginx,
    },
    Row {
        title: "KiB per open stream, PSS",
        value: |figures| figures.proportional_kib_per_stream,
        comparison: Comparison::Nginx,
    },
    Row {
        title: "KiB RSS idle after warm-up",
        value: |figures| figures.idle_kib,
        comparison: Comparison::None,
    },
    Row {
        title: "KiB RSS after the first answer",
        value: |figures| figures.fresh_kib,
        comparison: Comparison::None,
    },
    Row {
        title: "ms from start to first answer",
        value: |figures| figures.cold_start_ms,
        comparison: Comparison::None,
    },
    Row {
        title: "slow streams lost of 10,000 at once",
        value: |figures| figures.crowd_lost,
        comparison: Comparison::None,
    },
    Row {
        title: "added latency µs, 1 connection, p50",
        value: |figures| Some(figures.latency_alone_us.p50),
        comparison: Comparison::AddedToDirect,
    },
    Row {
        title: "added latency µs, 1 connection, p99",
        value: |figures| Some(figures.latency_alone_us.p99),
        comparison: Comparison::AddedToDirect,
    },
    Row {
        title: "added latency µs, 32 at 3,000/s, p50",
        value: |figures| Some(figures.latency_among_32_us.p50),
        comparison: Comparison::AddedToDirect,
    },
    Row {
        title: "added latency µs, 32 at 3,000/s, p99",
        value: |figures| Some(figures.latency_among_32_us.p99),
        comparison: Comparison::AddedToDirect,
    },
    Row {
        title: "added time to first frame µs, p50",
        value: |figures| Some(figures.first_frame_us.p50),
        comparison: Comparison::AddedToDirect,
    },
    Row {
        title: "added time to first frame µs, p99",
        value: |figures| Some(figures.first_frame_us.p99),
        comparison: Comparison::AddedToDirect,
    },
    Row {
        title: "requests per second at saturation",
        value: |figures| Some(figures.requests_per_second),
        comparison: Comparison::None,
    },
    Row {
        title: "share of its core at saturation",
        value: |figures| figures.busy_at_saturation,
        comparison: Comparison::None,
    },
    Row {
        title: "frames received in a round",
        value: |figures| Some(figures.frames_received as f64),
        comparison: Comparison::None,
    },
    Row {
        title: "frames per read of the client",
        value: |figures| Some(figures.frames_per_read),
        comparison: Comparison::None,
    },
];

/// A run's outcome.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    settings: serde_json::Value,
    /// Share of the machine in others' use before each round.
    busy_before: Vec<f64>,
    targets: Vec<TargetReport>,
    table: Vec<RowReport>,
}

#[derive(Debug, Serialize)]
struct TargetReport {
    name: String,
    description: String,
    rounds: Vec<Figures>,
}

#[derive(Debug, Serialize)]
struct RowReport {
    title: &'static str,
    /// One per target, in the order of the targets.
    cells: Vec<Option<Cell>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Cell {
    median: f64,
    least: f64,
    most: f64,
    times_nginx: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    optimised: bool,
}

impl Machine {
    fn look() -> Self {
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or("unknown", |(_, name)| name.trim());
        Self {
            processor: processor.to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            optimised: !cfg!(debug_assertions),
        }
    }
}

impl Report {
    /// `rounds` has the figures of each round, in the order of `targets`.
    pub(crate) fn new(
        targets: &[Target],
        settings: serde_json::Value,
        rounds: &[Vec<Figures>],
        busy_before: &[f64],
    ) -> Self {
        let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        let table = ROWS
            .iter()
            .map(|row| RowReport {
                title: row.title,
                cells: row.cells(&names, rounds),
            })
            .collect();
        Self {
            machine: Machine::look(),
            settings,
            busy_before: busy_before.to_vec(),
            targets: targets
                .iter()
                .enumerate()
                .map(|(index, target)| TargetReport {
                    name: target.name.clone(),
                    description: target.description(),
                    rounds: rounds
                        .iter()
                        .filter_map(|round| round.get(index).cloned())
                        .collect(),
                })
                .collect(),
            table,
        }
    }

    /// Writes the JSON; a bare file name goes to the folder for results.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<PathBuf> {
        let path = if path.parent() == Some(Path::new("")) {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
            fs::create_dir_all(&folder)?;
            folder.join(path)
        } else {
            path.to_owned()
        };
        fs::write(&path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Row {
    fn cells(&self, names: &[&str], rounds: &[Vec<Figures>]) -> Vec<Option<Cell>> {
        let place = |wanted| names.iter().position(|name| *name == wanted);
        let direct = match self.comparison {
            Comparison::AddedToDirect => place("direct"),
            Comparison::Nginx | Comparison::None => None,
        };
        let mut cells: Vec<Option<Cell>> = (0..names.len())
            .map(|index| {
                let values = rounds.iter().filter_map(|round| {
                    let value = (self.value)(round.get(index)?)?;
                    // Direct calls are shown as they are: they are what the others add to.
                    let base = direct
                        .filter(|direct| *direct != index)
                        .and_then(|direct| (self.value)(round.get(direct)?));
                    Some(value - base.unwrap_or(0.0))
                });
                Cell::of(values.collect())
            })
            .collect();
        if self.comparison == Comparison::None {
            return cells;
        }
        let nginx = place("nginx").and_then(|nginx| *cells.get(nginx)?);
        for (index, cell) in cells.iter_mut().enumerate() {
            if let (Some(cell), Some(nginx)) = (cell, nginx)
                && nginx.median > 0.0
                && Some(index) != place("direct")
            {
                cell.times_nginx = Some(cell.median / nginx.median);
            }
        }
        cells
    }
}

impl Cell {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self {
            median,
            least,
            most,
            times_nginx: None,
        })
    }
}

/// Width of a row's title and of a target's column, in characters.
const TITLE: usize = 38;
const COLUMN: usize = 28;

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(
            out,
            "\n{}, {} cores, Linux {}",
            machine.processor, machine.cores, machine.kernel
        )?;
        for target in &self.targets {
            writeln!(out, "  {}: {}", target.name, target.description)?;
        }
        writeln!(
            out,
            "\nMedian of rounds (least–most), × nginx. Direct calls' times are whole, others' are \
             what they add."
        )?;
        write!(out, "{:TITLE$}", "")?;
        for target in &self.targets {
            write!(out, "{:>COLUMN$}", target.name)?;
        }
        writeln!(out)?;
        for row in &self.table {
            write!(out, "{:TITLE$}", row.title)?;
            for cell in &row.cells {
                let text = cell.map_or_else(|| "–".to_owned(), |cell| cell.to_string());
                write!(out, "{text:>COLUMN$}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.most.abs() < 10.0 {
            2
        } else {
            usize::from(self.most.abs() < 1000.0)
        };
        write!(out, "{:.digits$}", self.median)?;
        if self.most - self.least > f64::EPSILON {
            write!(out, " ({:.digits$}–{:.digits$})", self.least, self.most)?;
        }
        if let Some(times) = self.times_nginx {
            write!(out, " {times:.2}×")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(direct: f64, nginx: f64, gateway: f64) -> Vec<Figures> {
        [direct, nginx, gateway]
            .map(|value| Figures {
                cpu_us_per_request: Some(value),
                latency_alone_us: Percentiles {
                    p50: value,
                    ..Percentiles::default()
                },
                ..Figures::default()
            })
            .to_vec()
    }

    fn row(title: &str) -> &'static Row {
        ROWS.iter()
            .find(|row| row.title.starts_with(title))
            .unwrap()
    }

    #[test]
    fn latency_is_compared_after_direct_calls_are_taken_off_in_each_round() {
        let rounds = [round(10.0, 20.0, 30.0), round(20.0, 32.0, 40.0)];
        let cells = row("added latency µs, 1 connection, p50")
            .cells(&["direct", "nginx", "gateway"], &rounds);
        let medians: Vec<f64> = cells.iter().map(|cell| cell.unwrap().median).collect();
        assert_eq!(medians, [15.0, 11.0, 20.0]);
        assert_eq!(cells[0].unwrap().times_nginx, None);
        assert_eq!(cells[2].unwrap().times_nginx, Some(20.0 / 11.0));
    }

    #[test]
    fn cpu_time_is_the_median_of_rounds_and_a_multiple_of_nginx() {
        let rounds = [
            round(0.0, 10.0, 30.0),
            round(0.0, 20.0, 26.0),
            round(0.0, 90.0, 20.0),
        ];
        let cells = row("CPU µs per request").cells(&["direct", "nginx", "gateway"], &rounds);
        let gateway = cells[2].unwrap();
        assert_eq!((gateway.least, gateway.most), (20.0, 30.0));
        assert_eq!(gateway.to_string(), "26.0 (20.0–30.0) 1.30×");
    }

    #[test]
    fn without_nginx_there_is_no_ratio() {
        let cells = row("CPU µs per request").cells(&["direct", "relay"], &[round(0.0, 1.0, 0.0)]);
        assert_eq!(cells[1].unwrap().times_nginx, None);
    }
}
