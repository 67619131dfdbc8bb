//! `port`.

use crate::error::{Result, message};
use crate::flags::Args;
use crate::format::text::address;
use crate::session::Session;
use crate::stdio;

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    let container = client.container_inspect(&args.rest[0]).await?;
    let ports = &container.network_settings.ports;
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
