//! The processes of a container: `docker top`. Read from /proc, without a `ps`; the columns are those of
//! `ps -ef`, or of `-o` and `aux` where they are asked for.

use std::collections::HashMap;

use dhow_api::TopResponse;

use crate::error::{EngineError, Result};

/// Clock ticks a second in /proc (`USER_HZ`), which the kernel's interface fixes.
const USER_HZ: u64 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    User,
    Uid,
    Pid,
    Ppid,
    Pgid,
    Sid,
    C,
    PercentCpu,
    PercentMem,
    Vsz,
    Rss,
    Stat,
    Stime,
    Start,
    Tty,
    Time,
    Comm,
    Command,
    Cmd,
}

/// The names that `-o` knows, and their headings.
const COLUMNS: [(&str, &str, Column); 26] = [
    ("user", "USER", Column::User),
    ("euser", "EUSER", Column::User),
    ("uname", "USER", Column::User),
    ("uid", "UID", Column::Uid),
    ("euid", "EUID", Column::Uid),
    ("pid", "PID", Column::Pid),
    ("ppid", "PPID", Column::Ppid),
    ("pgid", "PGID", Column::Pgid),
    ("sid", "SID", Column::Sid),
    ("sess", "SESS", Column::Sid),
    ("c", "C", Column::C),
    ("pcpu", "%CPU", Column::PercentCpu),
    ("%cpu", "%CPU", Column::PercentCpu),
    ("pmem", "%MEM", Column::PercentMem),
    ("%mem", "%MEM", Column::PercentMem),
    ("vsz", "VSZ", Column::Vsz),
    ("rss", "RSS", Column::Rss),
    ("stat", "STAT", Column::Stat),
    ("state", "S", Column::Stat),
    ("stime", "STIME", Column::Stime),
    ("start", "STARTED", Column::Start),
    ("tty", "TT", Column::Tty),
    ("time", "TIME", Column::Time),
    ("comm", "COMMAND", Column::Comm),
    ("args", "COMMAND", Column::Command),
    ("cmd", "CMD", Column::Cmd),
];

/// What was read of a process.
struct Process {
    pid: u32,
    uid: u32,
    comm: String,
    command: String,
    state: char,
    ppid: i64,
    pgid: i64,
    sid: i64,
    tty: u64,
    ticks: u64,
    started: u64,
    vsz: u64,
    rss: u64,
}

/// The processes with these ids, as `ps` shows them with `args`. Blocks.
pub fn processes(pids: Vec<u32>, columns: &Columns, memory: u64) -> Result<TopResponse> {
    let columns = &columns.0;
    let uptime = uptime().map_err(EngineError::io("/proc/uptime"))?;
    let mut users = HashMap::new();
    let mut processes: Vec<Process> = pids.into_iter().filter_map(read).collect();
    processes.sort_by_key(|p| p.pid);
    Ok(TopResponse {
        titles: columns.iter().map(|(title, _)| title.clone()).collect(),
        processes: processes
            .iter()
            .map(|p| {
                columns
                    .iter()
                    .map(|(_, c)| cell(p, *c, uptime, memory, &mut users))
                    .collect()
            })
            .collect(),
    })
}

/// The columns that `ps` shows with certain arguments.
pub struct Columns(Vec<(String, Column)>);

impl Columns {
    pub fn parse(args: &str) -> Result<Columns> {
        parse_args(args).map(Columns)
    }
}

fn columns(list: &[(&str, Column)]) -> Vec<(String, Column)> {
    list.iter().map(|(t, c)| (t.to_string(), *c)).collect()
}

/// `ps`'s own options, as far as they choose columns.
fn parse_args(args: &str) -> Result<Vec<(String, Column)>> {
    let mut chosen = Vec::new();
    let mut words = args.split_whitespace();
    let mut format = "full";
    while let Some(word) = words.next() {
        let list = if let Some(rest) = word
            .strip_prefix("-o")
            .or_else(|| word.strip_prefix("--format="))
        {
            if rest.is_empty() {
                words.next().unwrap_or("")
            } else {
                rest
            }
        } else if word == "o" || word == "--format" {
            words.next().unwrap_or("")
        } else {
            match word {
                w if w.starts_with("--") => {
                    return Err(EngineError::invalid(format!("ps: unknown option: {w}")));
                }
                w if w.trim_start_matches('-').contains('u') => format = "user",
                _ => {}
            }
            continue;
        };
        for name in list.split(',').filter(|n| !n.is_empty()) {
            let (name, title) = match name.split_once('=') {
                Some((name, title)) => (name, Some(title)),
                None => (name, None),
            };
            let lower = name.to_ascii_lowercase();
            let lower = if lower == "command" {
                "args".to_owned()
            } else {
                lower
            };
            let (_, heading, column) =
                COLUMNS
                    .iter()
                    .find(|(n, _, _)| *n == lower)
                    .ok_or_else(|| {
                        EngineError::invalid(format!(
                            "ps: unknown user-defined format specifier \"{name}\""
                        ))
                    })?;
            chosen.push((title.unwrap_or(heading).to_owned(), *column));
        }
    }
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    Ok(match format {
        "user" => columns(&[
            ("USER", Column::User),
            ("PID", Column::Pid),
            ("%CPU", Column::PercentCpu),
            ("%MEM", Column::PercentMem),
            ("VSZ", Column::Vsz),
            ("RSS", Column::Rss),
            ("TTY", Column::Tty),
            ("STAT", Column::Stat),
            ("START", Column::Stime),
            ("TIME", Column::Time),
            ("COMMAND", Column::Command),
        ]),
        _ => columns(&[
            ("UID", Column::User),
            ("PID", Column::Pid),
            ("PPID", Column::Ppid),
            ("C", Column::C),
            ("STIME", Column::Stime),
            ("TTY", Column::Tty),
            ("TIME", Column::Time),
            ("CMD", Column::Cmd),
        ]),
    })
}

/// Seconds since the host's start.
fn uptime() -> std::io::Result<f64> {
    let text = std::fs::read_to_string("/proc/uptime")?;
    text.split(' ')
        .next()
        .and_then(|t| t.parse().ok())
        .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidData))
}

/// `None` for a process that has ended meanwhile (proc_pid_stat(5)).
fn read(pid: u32) -> Option<Process> {
    use std::os::unix::fs::MetadataExt;
    let dir = format!("/proc/{pid}");
    let uid = std::fs::metadata(&dir).ok()?.uid();
    let stat = std::fs::read_to_string(format!("{dir}/stat")).ok()?;
    // The name is in parentheses, and may contain any character.
    let (before, after) = stat.rsplit_once(')')?;
    let comm = before.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let number = |n: usize| fields.get(n)?.parse::<i64>().ok();
    let raw = std::fs::read(format!("{dir}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&raw)
        .trim_end_matches('\0')
        .replace('\0', " ");
    Some(Process {
        pid,
        uid,
        command: if command.is_empty() {
            format!("[{comm}]")
        } else {
            command
        },
        comm,
        state: fields.first()?.chars().next()?,
        ppid: number(1)?,
        pgid: number(2)?,
        sid: number(3)?,
        tty: number(4)?.unsigned_abs(),
        ticks: number(11)?.unsigned_abs() + number(12)?.unsigned_abs(),
        started: number(19)?.unsigned_abs(),
        vsz: number(20)?.unsigned_abs() / 1024,
        rss: resident(&dir),
    })
}

/// Kibibytes in memory; none for a kernel thread (proc_pid_status(5)).
fn resident(dir: &str) -> u64 {
    std::fs::read_to_string(format!("{dir}/status"))
        .unwrap_or_default()
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .and_then(|l| l.trim().strip_suffix("kB")?.trim().parse().ok())
        .unwrap_or(0)
}

fn cell(
    p: &Process,
    column: Column,
    uptime: f64,
    memory: u64,
    users: &mut HashMap<u32, String>,
) -> String {
    let alive = (uptime - p.started as f64 / USER_HZ as f64).max(0.01);
    let cpu = p.ticks as f64 / USER_HZ as f64 / alive * 100.0;
    match column {
        Column::User => users
            .entry(p.uid)
            .or_insert_with(|| user_name(p.uid))
            .clone(),
        Column::Uid => p.uid.to_string(),
        Column::Pid => p.pid.to_string(),
        Column::Ppid => p.ppid.to_string(),
        Column::Pgid => p.pgid.to_string(),
        Column::Sid => p.sid.to_string(),
        Column::C => (cpu as u64).min(99).to_string(),
        Column::PercentCpu => format!("{cpu:.1}"),
        Column::PercentMem => {
            format!(
                "{:.1}",
                p.rss as f64 * 1024.0 / memory.max(1) as f64 * 100.0
            )
        }
        Column::Vsz => p.vsz.to_string(),
        Column::Rss => p.rss.to_string(),
        Column::Stat => p.state.to_string(),
        Column::Stime | Column::Start => start_time(alive),
        Column::Tty => tty_name(p.tty),
        Column::Time => {
            let s = p.ticks / USER_HZ;
            format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
        }
        Column::Comm => p.comm.clone(),
        Column::Command | Column::Cmd => p.command.clone(),
    }
}

/// The clock time of the start, or its day if it was not today.
fn start_time(alive: f64) -> String {
    let now = jiff::Zoned::now();
    let Ok(started) = now.checked_sub(jiff::SignedDuration::from_secs(alive as i64)) else {
        return "-".into();
    };
    if started.date() == now.date() {
        started.strftime("%H:%M").to_string()
    } else {
        started.strftime("%b%d").to_string()
    }
}

/// Device numbers of terminals (kernel `Documentation/admin-guide/devices.txt`).
fn tty_name(device: u64) -> String {
    let (major, minor) = (
        (device >> 8) & 0xfff,
        (device & 0xff) | ((device >> 12) & 0xfff00),
    );
    match major {
        136..=143 => format!("pts/{}", minor + (major - 136) * 256),
        4 if minor < 64 => format!("tty{minor}"),
        _ => "?".to_owned(),
    }
}

/// The host's name of a user, as a `ps` on the host shows it.
fn user_name(uid: u32) -> String {
    std::fs::read_to_string("/etc/passwd")
        .ok()
        .and_then(|text| {
            text.lines().find_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next()?;
                (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
            })
        })
        .unwrap_or_else(|| uid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(args: &str) -> Result<Vec<String>> {
        Ok(parse_args(args)?.into_iter().map(|(t, _)| t).collect())
    }

    #[test]
    fn columns_are_chosen_as_ps_does() {
        assert_eq!(
            titles("-ef").unwrap(),
            ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
        );
        assert_eq!(titles("").unwrap().len(), 8);
        assert_eq!(titles("aux").unwrap()[2], "%CPU");
        assert_eq!(titles("-o pid,comm").unwrap(), ["PID", "COMMAND"]);
        assert!(titles("-eo pid=ID,args").is_ok());
        assert!(titles("-o nonsense").is_err());
    }

    #[test]
    fn this_process_can_be_read() {
        let own = read(std::process::id()).unwrap();
        assert!(own.rss > 0 && !own.command.is_empty());
        assert_eq!(tty_name(34816), "pts/0");
        assert_eq!(tty_name(0), "?");
    }
}
