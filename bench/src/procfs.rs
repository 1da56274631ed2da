//! CPU time and memory of a process and its children, as Linux counts them.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// Linux reports `/proc/PID/stat` times in hundredths of a second on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// CPU time that a process tree has used so far.
#[derive(Clone, Debug)]
pub(crate) struct CpuTime {
    /// Per thread, precise, but gone with the thread.
    threads: BTreeMap<u32, Duration>,
    /// Per process, coarse, including threads that have ended.
    processes: Duration,
}

impl CpuTime {
    pub(crate) fn of_tree(root: u32) -> anyhow::Result<Self> {
        let mut threads = BTreeMap::new();
        let mut ticks = 0;
        for process in tree(root)? {
            for entry in fs::read_dir(format!("/proc/{process}/task"))? {
                let entry = entry?;
                // A thread may end while it is looked at.
                if let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) {
                    let thread = entry.file_name().to_string_lossy().parse()?;
                    let spent = text.split(' ').next().context("an empty schedstat")?;
                    threads.insert(thread, Duration::from_nanos(spent.parse()?));
                }
            }
            ticks += stat(process)?.ticks;
        }
        Ok(Self {
            threads,
            processes: TICK * u32::try_from(ticks)?,
        })
    }

    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let all_there = earlier
            .threads
            .keys()
            .all(|thread| self.threads.contains_key(thread));
        if all_there && !earlier.threads.is_empty() {
            let total = |time: &Self| time.threads.values().sum::<Duration>();
            total(self).saturating_sub(total(earlier))
        } else {
            self.processes.saturating_sub(earlier.processes)
        }
    }
}

/// Memory of a process tree, in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Resident set size.
    pub(crate) resident: u64,
    /// Proportional set size: pages shared between processes counted once.
    pub(crate) proportional: u64,
}

impl Memory {
    pub(crate) fn of_tree(root: u32) -> anyhow::Result<Self> {
        let mut memory = Self {
            resident: 0,
            proportional: 0,
        };
        for process in tree(root)? {
            let path = format!("/proc/{process}/smaps_rollup");
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
            memory.resident += kib(&text, "Rss:")?;
            memory.proportional += kib(&text, "Pss:")?;
        }
        Ok(memory)
    }
}

fn kib(text: &str, name: &str) -> anyhow::Result<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"))
        .with_context(|| format!("smaps_rollup has no {name}"))?
        .parse()
        .context("a size that is not a number")
}

/// How many files a process of this user may have open.
pub(crate) fn most_open_files() -> anyhow::Result<usize> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let hard = line.and_then(|line| line.split_whitespace().nth(1));
    // "unlimited" is more than any number.
    Ok(hard
        .context("no limit of open files")?
        .parse()
        .unwrap_or(usize::MAX))
}

/// Share of all cores that is in use, by anybody, during `time`.
pub(crate) fn machine_busy(time: Duration) -> anyhow::Result<f64> {
    let sample = || parse_machine(&fs::read_to_string("/proc/stat")?);
    let (earlier_busy, earlier_total) = sample()?;
    std::thread::sleep(time);
    let (busy, total) = sample()?;
    let total = total.saturating_sub(earlier_total).max(1);
    Ok(busy.saturating_sub(earlier_busy) as f64 / total as f64)
}

/// Ticks of all cores since the machine's start: in use, and altogether.
fn parse_machine(text: &str) -> anyhow::Result<(u64, u64)> {
    let line = text.lines().next().context("an empty /proc/stat")?;
    // user nice system idle iowait irq softirq steal; guest time is part of user.
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .take(8)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    let total: u64 = ticks.iter().sum();
    Ok((total - idle, total))
}

struct Stat {
    parent: u32,
    /// User and system time of the whole process.
    ticks: u64,
}

fn stat(process: u32) -> anyhow::Result<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{process}/stat"))?)
}

fn parse_stat(text: &str) -> anyhow::Result<Stat> {
    // The name may hold spaces and parentheses; the fields after it may not.
    let (_, fields) = text.rsplit_once(") ").context("a stat without name")?;
    let field = |index: usize| {
        fields
            .split(' ')
            .nth(index)
            .context("a stat with too few fields")
    };
    Ok(Stat {
        parent: field(1)?.parse()?,
        ticks: field(11)?.parse::<u64>()? + field(12)?.parse::<u64>()?,
    })
}

/// The process and all its descendants.
fn tree(root: u32) -> anyhow::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").context("this needs Linux's /proc")? {
        let name = entry?.file_name();
        if let Some(process) = name.to_str().and_then(|name| name.parse().ok())
            && let Ok(stat) = stat(process)
        {
            parents.push((process, stat.parent));
        }
    }
    let mut tree = vec![root];
    let mut index = 0;
    while let Some(&parent) = tree.get(index) {
        tree.extend(
            parents
                .iter()
                .filter(|(_, other)| *other == parent)
                .map(|(process, _)| *process),
        );
        index += 1;
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_with_an_odd_name_is_read() {
        let text = "12 (a b) c) S 7 12 12 0 -1 4194560 1 0 0 0 30 12 0 0 20 0 1 0 5 0 0";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.parent, stat.ticks), (7, 42));
    }

    #[test]
    fn waiting_is_not_counted_as_being_busy() {
        let text = "cpu  10 1 5 70 4 1 2 7 99 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(parse_machine(text).unwrap(), (26, 100));
    }

    #[test]
    fn this_process_has_memory_and_cpu_time() {
        let process = std::process::id();
        assert!(Memory::of_tree(process).unwrap().resident > 0);
        let earlier = CpuTime::of_tree(process).unwrap();
        let later = CpuTime::of_tree(process).unwrap();
        assert!(later.since(&earlier) < Duration::from_mins(1));
    }
}
