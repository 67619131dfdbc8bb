//! `top`, `port`, `update`: small questions and changes to one container or some.

use dhow_api::ContainerUpdateRequest;

use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::format::table::align_to;
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

/// What can be changed beside the limits.
pub const UPDATE: &[Flag] = &[Flag::new(
    "restart",
    Kind::String,
    "When to start the container again",
)];

pub async fn update(session: &Session, args: &Args) -> Result<()> {
    let mut flags = spec::flags::LIMITS.iter().chain(UPDATE);
    if !flags.any(|flag| args.was_given(flag.long)) {
        return Err(message(
            "you must provide one or more flags when using this command",
        ));
    }
    let request = ContainerUpdateRequest {
        resources: spec::limits(args).map_err(message)?,
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
