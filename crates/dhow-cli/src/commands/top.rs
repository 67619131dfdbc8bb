//! `top`, `port`, `update`: small questions and changes to one container or some.

use dhow_api::{ContainerUpdateRequest, Resources};

use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::format::table::align_to;
use crate::format::units;
use crate::session::Session;
use crate::{spec, stdio};

/// The cells of a process list are wider than others, the gap not counted.
const NARROWEST: usize = 17;

pub async fn top(session: &Session, args: &Args) -> Result<()> {
    let arguments = args.rest[1..].join(" ");
    let client = session.client().await?;
    let arguments = Some(arguments.as_str()).filter(|text| !text.is_empty());
    let processes = client.container_top(&args.rest[0], arguments).await?;
    let mut out = processes.titles.join("\t") + "\n";
    for process in &processes.processes {
        out += &process.join("\t");
        out.push('\n');
    }
    Ok(stdio::print(&align_to(&out, NARROWEST))?)
}

pub async fn port(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    let container = client.container_inspect(&args.rest[0]).await?;
    let ports = &container.network_settings.ports;
    let address = |ip: &str, port: &str| match ip.contains(':') {
        true => format!("[{ip}]:{port}"),
        false => format!("{ip}:{port}"),
    };
    let Some(asked) = args.rest.get(1) else {
        let mut lines: Vec<String> = ports
            .iter()
            .flat_map(|(port, bindings)| {
                bindings.iter().flatten().map(move |binding| {
                    format!(
                        "{port} -> {}",
                        address(&binding.host_ip, &binding.host_port)
                    )
                })
            })
            .collect();
        lines.sort_by_key(|line| {
            let number = line.split('/').next().and_then(|n| n.parse::<u16>().ok());
            (number, line.clone())
        });
        for line in lines {
            stdio::println(&line)?;
        }
        return Ok(());
    };
    let wanted = match asked.contains('/') {
        true => asked.clone(),
        false => format!("{asked}/tcp"),
    };
    let number = wanted.split('/').next().unwrap_or_default();
    if number.parse::<u16>().is_err() {
        return Err(message(format!("Error: invalid port '{asked}'")));
    }
    match ports.get(&wanted) {
        Some(Some(bindings)) if !bindings.is_empty() => {
            for binding in bindings {
                stdio::println(&address(&binding.host_ip, &binding.host_port))?;
            }
            Ok(())
        }
        _ => Err(message(format!(
            "Error: No public port '{asked}' published for {}",
            args.rest[0]
        ))),
    }
}

pub const UPDATE: &[Flag] = &[
    Flag::new(
        "blkio-weight",
        Kind::Uint,
        "Share of block I/O, from 10 to 1000, or 0 for the default",
    ),
    Flag::new(
        "cpu-period",
        Kind::Int,
        "Period of the CPU quota, in microseconds",
    ),
    Flag::new(
        "cpu-quota",
        Kind::Int,
        "CPU time in each period, in microseconds",
    ),
    Flag::new(
        "cpu-rt-period",
        Kind::Int,
        "Period of the real-time scheduler, in microseconds",
    ),
    Flag::new(
        "cpu-rt-runtime",
        Kind::Int,
        "Real-time CPU time in each period, in microseconds",
    ),
    Flag::new(
        "cpu-shares",
        Kind::Int,
        "Share of the CPUs under contention",
    )
    .short('c'),
    Flag::new("cpus", Kind::Decimal, "Number of CPUs"),
    Flag::new("cpuset-cpus", Kind::String, "CPUs to run on (0-3, 0,1)"),
    Flag::new(
        "cpuset-mems",
        Kind::String,
        "Memory nodes to use (0-3, 0,1)",
    ),
    Flag::new("memory", Kind::Bytes, "Memory limit").short('m'),
    Flag::new(
        "memory-reservation",
        Kind::Bytes,
        "Memory that is left to the container under pressure",
    ),
    Flag::new(
        "memory-swap",
        Kind::BytesOrAll,
        "Limit of memory and swap together, or -1 for none",
    ),
    Flag::new("pids-limit", Kind::Int, "Limit of processes (-1 for none)"),
    Flag::new("restart", Kind::String, "When to start the container again"),
];

pub async fn update(session: &Session, args: &Args) -> Result<()> {
    if !UPDATE.iter().any(|flag| args.was_given(flag.long)) {
        return Err(message(
            "you must provide one or more flags when using this command",
        ));
    }
    let weight = args.int("blkio-weight").unwrap_or(0);
    let request = ContainerUpdateRequest {
        resources: Resources {
            blkio_weight: u16::try_from(weight)
                .map_err(|_| message(format!("the block I/O weight {weight} is out of range")))?,
            cpu_period: args.int("cpu-period").unwrap_or(0),
            cpu_quota: args.int("cpu-quota").unwrap_or(0),
            cpu_realtime_period: args.int("cpu-rt-period").unwrap_or(0),
            cpu_realtime_runtime: args.int("cpu-rt-runtime").unwrap_or(0),
            cpu_shares: args.int("cpu-shares").unwrap_or(0),
            nano_cpus: match args.nonempty("cpus") {
                Some(cpus) => units::parse_nano_cpus(cpus).map_err(message)?,
                None => 0,
            },
            cpuset_cpus: args.string("cpuset-cpus"),
            cpuset_mems: args.string("cpuset-mems"),
            memory: args.bytes("memory").unwrap_or(0),
            memory_reservation: args.bytes("memory-reservation").unwrap_or(0),
            memory_swap: args.bytes("memory-swap").unwrap_or(0),
            pids_limit: args.int("pids-limit"),
            ..Resources::default()
        },
        restart_policy: match args.nonempty("restart") {
            Some(text) => spec::restart_policy(text).map_err(message)?,
            None => Default::default(),
        },
    };
    let client = session.client().await?;
    let mut failures = Vec::new();
    for name in &args.rest {
        match client.container_update(name, &request).await {
            Ok(answer) => {
                for warning in answer.warnings.iter().flatten() {
                    eprintln!("{warning}");
                }
                stdio::println(name)?;
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(message(failures.join("\n"))),
    }
}
