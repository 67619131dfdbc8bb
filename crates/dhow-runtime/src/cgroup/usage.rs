//! What a group's processes have used, from the files of either version (the kernel's
//! Documentation/admin-guide/cgroup-v1: cpuacct.rst, memory.rst, blkio-controller.rst, pids.rst; cgroup-v2.rst).
//!
//! A controller that is not there, or a group that is gone, has used nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::{Cgroup, Version};

/// Nanoseconds in a tick of the kernel's clock as it shows it (`USER_HZ` is 100).
const TICK: u64 = 10_000_000;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu: CpuUsage,
    pub memory: MemoryUsage,
    pub pids: PidsUsage,
    pub block_io: BlockIoUsage,
}

/// Times are in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuUsage {
    pub total: u64,
    pub user: u64,
    pub system: u64,
    /// Of each processor that the kernel could have, those that are not there too. Version 1 only.
    pub per_cpu: Vec<u64>,
    /// Of the quota: how many periods there were, how many of them were cut short, and for how long.
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_time: u64,
}

/// In bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    pub usage: u64,
    /// The most that was used. Version 1 only.
    pub max_usage: u64,
    /// `None` where there is none; version 1 has a very large number then.
    pub limit: Option<u64>,
    /// How often the limit was met: on version 2, how often that led to an end for want of memory.
    pub limit_hits: u64,
    /// memory.stat, as it is.
    pub details: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PidsUsage {
    pub current: u64,
    pub limit: PidsLimit,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PidsLimit {
    /// There is no controller to have one.
    #[default]
    Unknown,
    None,
    Of(u64),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockIoUsage {
    pub bytes: Vec<BlockIo>,
    pub operations: Vec<BlockIo>,
}

/// What was done on one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockIo {
    pub major: u64,
    pub minor: u64,
    /// On version 1 the kernel's word, `Read` or `Write` or another; on version 2 `read` or `write`.
    pub operation: String,
    pub value: u64,
}

impl Cgroup {
    /// Reads what the group has used.
    pub fn usage(&self) -> Usage {
        let files = Files {
            of: &|controller| self.directory_of(controller),
        };
        match self.layout.version() {
            Version::V1 => files.usage_v1(),
            Version::V2 => files.usage_v2(),
        }
    }
}

/// The group's files, found by controller; "" is version 2's own.
struct Files<'a> {
    of: &'a dyn Fn(&str) -> Option<PathBuf>,
}

impl Files<'_> {
    fn read(&self, controller: &str, file: &str) -> Option<String> {
        fs::read_to_string((self.of)(controller)?.join(file)).ok()
    }

    fn number(&self, controller: &str, file: &str) -> Option<u64> {
        self.read(controller, file)?.trim().parse().ok()
    }

    fn table(&self, controller: &str, file: &str) -> BTreeMap<String, u64> {
        table(&self.read(controller, file).unwrap_or_default())
    }

    fn usage_v1(&self) -> Usage {
        let times = self.table("cpuacct", "cpuacct.stat");
        let throttled = self.table("cpu", "cpu.stat");
        let per_cpu = self
            .read("cpuacct", "cpuacct.usage_percpu")
            .unwrap_or_default();
        let memory = |file| self.number("memory", file);
        let block = |file| block_v1(&self.read("blkio", file).unwrap_or_default());
        Usage {
            cpu: CpuUsage {
                total: self.number("cpuacct", "cpuacct.usage").unwrap_or(0),
                user: of(&times, "user") * TICK,
                system: of(&times, "system") * TICK,
                per_cpu: per_cpu
                    .split_whitespace()
                    .filter_map(|time| time.parse().ok())
                    .collect(),
                periods: of(&throttled, "nr_periods"),
                throttled_periods: of(&throttled, "nr_throttled"),
                throttled_time: of(&throttled, "throttled_time"),
            },
            memory: MemoryUsage {
                usage: memory("memory.usage_in_bytes").unwrap_or(0),
                max_usage: memory("memory.max_usage_in_bytes").unwrap_or(0),
                limit: memory("memory.limit_in_bytes"),
                limit_hits: memory("memory.failcnt").unwrap_or(0),
                details: self.table("memory", "memory.stat"),
            },
            pids: self.pids(),
            block_io: BlockIoUsage {
                bytes: block("blkio.throttle.io_service_bytes"),
                operations: block("blkio.throttle.io_serviced"),
            },
        }
    }

    fn usage_v2(&self) -> Usage {
        let cpu = self.table("", "cpu.stat");
        let nanoseconds = |name| of(&cpu, name) * 1000;
        Usage {
            cpu: CpuUsage {
                total: nanoseconds("usage_usec"),
                user: nanoseconds("user_usec"),
                system: nanoseconds("system_usec"),
                per_cpu: Vec::new(),
                periods: of(&cpu, "nr_periods"),
                throttled_periods: of(&cpu, "nr_throttled"),
                throttled_time: nanoseconds("throttled_usec"),
            },
            memory: MemoryUsage {
                usage: self.number("", "memory.current").unwrap_or(0),
                max_usage: 0,
                // "max" is not a number.
                limit: self.number("", "memory.max"),
                limit_hits: of(&self.table("", "memory.events"), "oom"),
                details: self.table("", "memory.stat"),
            },
            pids: self.pids(),
            block_io: block_v2(&self.read("", "io.stat").unwrap_or_default()),
        }
    }

    fn pids(&self) -> PidsUsage {
        PidsUsage {
            current: self.number("pids", "pids.current").unwrap_or(0),
            limit: match self.read("pids", "pids.max").as_deref().map(str::trim) {
                Some("max") => PidsLimit::None,
                Some(limit) => limit.parse().map_or(PidsLimit::Unknown, PidsLimit::Of),
                None => PidsLimit::Unknown,
            },
        }
    }
}

/// A file of lines "name number".
fn table(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

fn of(table: &BTreeMap<String, u64>, name: &str) -> u64 {
    table.get(name).copied().unwrap_or(0)
}

/// Lines "8:0 Read 4096", and a total that is of no device.
fn block_v1(text: &str) -> Vec<BlockIo> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (major, minor) = device(words.next()?)?;
            Some(BlockIo {
                major,
                minor,
                operation: words.next()?.to_owned(),
                value: words.next()?.parse().ok()?,
            })
        })
        .collect()
}

/// Lines "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6".
fn block_v2(text: &str) -> BlockIoUsage {
    let mut usage = BlockIoUsage::default();
    for line in text.lines() {
        let mut words = line.split(' ');
        let Some((major, minor)) = words.next().and_then(device) else {
            continue;
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let Ok(value) = value.parse() else { continue };
            let (list, operation) = match key {
                "rbytes" => (&mut usage.bytes, "read"),
                "wbytes" => (&mut usage.bytes, "write"),
                "rios" => (&mut usage.operations, "read"),
                "wios" => (&mut usage.operations, "write"),
                _ => continue,
            };
            list.push(BlockIo {
                major,
                minor,
                operation: operation.into(),
                value,
            });
        }
    }
    usage
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_files(files: &[(&str, &str)], usage: impl Fn(&Files<'_>) -> Usage) -> Usage {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        usage(&Files {
            of: &|_| Some(dir.path().to_owned()),
        })
    }

    fn block(minor: u64, operation: &str, value: u64) -> BlockIo {
        BlockIo {
            major: 8,
            minor,
            operation: operation.into(),
            value,
        }
    }

    #[test]
    fn version_1() {
        let usage = of_files(
            &[
                ("cpuacct.usage", "1234567\n"),
                ("cpuacct.stat", "user 3\nsystem 4\n"),
                ("cpuacct.usage_percpu", "1000000 234567 0 0 \n"),
                (
                    "cpu.stat",
                    "nr_periods 5\nnr_throttled 2\nthrottled_time 77\n",
                ),
                ("memory.usage_in_bytes", "4096\n"),
                ("memory.max_usage_in_bytes", "8192\n"),
                ("memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory.failcnt", "3\n"),
                ("memory.stat", "cache 1\nrss 2\ntotal_rss 2\n"),
                ("pids.current", "6\n"),
                ("pids.max", "max\n"),
                (
                    "blkio.throttle.io_service_bytes",
                    "8:0 Read 4096\n8:0 Write 0\n8:16 Total 5\nTotal 4096\n",
                ),
                ("blkio.throttle.io_serviced", "8:0 Read 1\nTotal 1\n"),
            ],
            |files| files.usage_v1(),
        );
        let expected = Usage {
            cpu: CpuUsage {
                total: 1_234_567,
                user: 30_000_000,
                system: 40_000_000,
                per_cpu: vec![1_000_000, 234_567, 0, 0],
                periods: 5,
                throttled_periods: 2,
                throttled_time: 77,
            },
            memory: MemoryUsage {
                usage: 4096,
                max_usage: 8192,
                limit: Some(9_223_372_036_854_771_712),
                limit_hits: 3,
                details: [("cache", 1), ("rss", 2), ("total_rss", 2)]
                    .map(|(name, value)| (name.to_owned(), value))
                    .into(),
            },
            pids: PidsUsage {
                current: 6,
                limit: PidsLimit::None,
            },
            block_io: BlockIoUsage {
                bytes: vec![
                    block(0, "Read", 4096),
                    block(0, "Write", 0),
                    block(16, "Total", 5),
                ],
                operations: vec![block(0, "Read", 1)],
            },
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn version_2() {
        let usage = of_files(
            &[
                (
                    "cpu.stat",
                    "usage_usec 12\nuser_usec 8\nsystem_usec 4\nnr_periods 5\nnr_throttled 2\nthrottled_usec 7\n",
                ),
                ("memory.current", "4096\n"),
                ("memory.max", "max\n"),
                ("memory.events", "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\n"),
                ("memory.stat", "anon 1\nfile 2\n"),
                ("pids.current", "6\n"),
                ("pids.max", "100\n"),
                (
                    "io.stat",
                    "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n8:16 \nodd\n",
                ),
            ],
            |files| files.usage_v2(),
        );
        let expected = Usage {
            cpu: CpuUsage {
                total: 12_000,
                user: 8_000,
                system: 4_000,
                per_cpu: Vec::new(),
                periods: 5,
                throttled_periods: 2,
                throttled_time: 7_000,
            },
            memory: MemoryUsage {
                usage: 4096,
                max_usage: 0,
                limit: None,
                limit_hits: 2,
                details: [("anon", 1), ("file", 2)]
                    .map(|(name, value)| (name.to_owned(), value))
                    .into(),
            },
            pids: PidsUsage {
                current: 6,
                limit: PidsLimit::Of(100),
            },
            block_io: BlockIoUsage {
                bytes: vec![block(0, "read", 1), block(0, "write", 2)],
                operations: vec![block(0, "read", 3), block(0, "write", 4)],
            },
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn what_is_not_there_has_used_nothing() {
        assert_eq!(of_files(&[], |files| files.usage_v1()), Usage::default());
        assert_eq!(of_files(&[], |files| files.usage_v2()), Usage::default());
        let gone = Cgroup::open("/dhow-unit-never-made").unwrap();
        assert_eq!(gone.usage(), Usage::default());
    }
}
