//! `info`.

use std::fmt::Write as _;

use dhow_api::{ApiVersion, SystemInfo};
use gotmpl::MissingKey;
use serde_json::json;

use super::version::architecture;
use crate::error::{Result, message};
use crate::flags::{Args, Flag};
use crate::format::json::Json;
use crate::format::template::Format;
use crate::format::units;
use crate::lists::FORMAT_SHORT;
use crate::session::Session;
use crate::stdio;

pub const INFO: &[Flag] = &[FORMAT_SHORT];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    session.client_as_is()?;
    match args.nonempty("format") {
        Some(template) => formatted(session, template).await,
        None => described(session).await,
    }
}

async fn formatted(session: &Session, template: &str) -> Result<()> {
    let client_info = json!({
        "Debug": session.debug,
        "Version": env!("CARGO_PKG_VERSION"),
        "DefaultAPIVersion": ApiVersion::MAX.to_string(),
        "Os": std::env::consts::OS,
        "Arch": architecture(),
        "Context": session.choice.name(),
        "Plugins": [],
        "Warnings": null,
    });
    let (mut info, failure) = match ask(session).await {
        Ok(info) => (info, None),
        // What the client is, it knows by itself.
        Err(error) => (Json::Map(Vec::new()), Some(error)),
    };
    let client_info = serde_json::from_value(client_info);
    info.insert_missing(
        "ClientInfo",
        client_info.map_err(|e| message(e.to_string()))?,
    );
    let missing = match failure {
        Some(_) => MissingKey::ZeroValue,
        None => MissingKey::Error,
    };
    let text = match template {
        "json" => serde_json::to_string(&info).map_err(|e| message(e.to_string()))?,
        template => Format::parse(template, missing)?.execute(&info.to_template())?,
    };
    stdio::println(&text)?;
    match failure {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

async fn ask(session: &Session) -> Result<Json> {
    Ok(session.client().await?.get("/info").read().await?)
}

async fn described(session: &Session) -> Result<()> {
    stdio::print(&format!(
        "Client: Dhow\n Version:    {}\n Context:    {}\n Debug Mode: {}\n\nServer:\n",
        env!("CARGO_PKG_VERSION"),
        session.choice.name(),
        session.debug
    ))?;
    let info = session.client().await?.info().await?;
    stdio::print(&describe(&info))?;
    for warning in info.warnings.iter().flatten() {
        eprintln!("{warning}");
    }
    Ok(())
}

fn describe(info: &SystemInfo) -> String {
    // Writing to a string does not fail, here and below.
    let mut out = String::new();
    let mut line = |indent: usize, name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(out, "{:indent$}{name}: {value}", "");
        }
    };
    line(1, "Containers", &info.containers.to_string());
    line(2, "Running", &info.containers_running.to_string());
    line(2, "Paused", &info.containers_paused.to_string());
    line(2, "Stopped", &info.containers_stopped.to_string());
    line(1, "Images", &info.images.to_string());
    line(1, "Server Version", &info.server_version);
    line(1, "Storage Driver", &info.driver);
    for [name, value] in &info.driver_status {
        line(2, name, value);
    }
    line(1, "Logging Driver", &info.logging_driver);
    line(1, "Cgroup Driver", &info.cgroup_driver);
    line(1, "Cgroup Version", &info.cgroup_version);
    let plugins =
        |list: &Option<Vec<String>>| list.iter().flatten().cloned().collect::<Vec<_>>().join(" ");
    let heading = |out: &mut String, text: &str| {
        let _ = writeln!(out, " {text}:");
    };
    heading(&mut out, "Plugins");
    for (name, list) in [
        ("Volume", &info.plugins.volume),
        ("Network", &info.plugins.network),
        ("Authorization", &info.plugins.authorization),
        ("Log", &info.plugins.log),
    ] {
        let text = plugins(list);
        if !text.is_empty() {
            let _ = writeln!(out, "  {name}: {text}");
        }
    }
    if !info.cdi_spec_dirs.is_empty() {
        heading(&mut out, "CDI spec directories");
        for directory in &info.cdi_spec_dirs {
            let _ = writeln!(out, "  {directory}");
        }
    }
    if !info.discovered_devices.is_empty() {
        heading(&mut out, "Discovered Devices");
        for device in &info.discovered_devices {
            let _ = writeln!(out, "  {}: {}", device.source, device.id);
        }
    }
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(out, " {name}: {value}");
        }
    };
    line("Swarm", &info.swarm.local_node_state);
    let runtimes: Vec<&str> = info.runtimes.keys().map(String::as_str).collect();
    line("Runtimes", &runtimes.join(" "));
    line("Default Runtime", &info.default_runtime);
    line("Init Binary", &info.init_binary);
    if !info.security_options.is_empty() {
        let _ = writeln!(out, " Security Options:");
        for option in &info.security_options {
            for (at, pair) in option.split(',').enumerate() {
                match pair.split_once('=') {
                    Some(("name", name)) if at == 0 => {
                        let _ = writeln!(out, "  {name}");
                    }
                    Some((key, value)) => {
                        let key: String = key
                            .char_indices()
                            .map(|(i, c)| if i == 0 { c.to_ascii_uppercase() } else { c })
                            .collect();
                        let _ = writeln!(out, "   {key}: {value}");
                    }
                    None => {}
                }
            }
        }
    }
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(out, " {name}: {value}");
        }
    };
    line("Kernel Version", &info.kernel_version);
    line("Operating System", &info.operating_system);
    line("OSType", &info.os_type);
    line("Architecture", &info.architecture);
    line("CPUs", &info.n_cpu.to_string());
    line("Total Memory", &units::binary_size(info.mem_total as f64));
    line("Name", &info.name);
    line("ID", &info.id);
    line("Docker Root Dir", &info.docker_root_dir);
    line("Debug Mode", &info.debug.to_string());
    line("HTTP Proxy", &info.http_proxy);
    line("HTTPS Proxy", &info.https_proxy);
    line("No Proxy", &info.no_proxy);
    if !info.labels.is_empty() {
        let _ = writeln!(out, " Labels:");
        for label in &info.labels {
            let _ = writeln!(out, "  {label}");
        }
    }
    let _ = writeln!(out, " Experimental: {}", info.experimental_build);
    let insecure: Vec<&str> = info
        .registry_config
        .index_configs
        .values()
        .filter(|index| !index.secure)
        .map(|index| index.name.as_str())
        .chain(
            info.registry_config
                .insecure_registry_cidrs
                .iter()
                .map(String::as_str),
        )
        .collect();
    for (name, list) in [
        ("Insecure Registries", insecure),
        (
            "Registry Mirrors",
            info.registry_config
                .mirrors
                .iter()
                .flatten()
                .map(String::as_str)
                .collect(),
        ),
    ] {
        if !list.is_empty() {
            let _ = writeln!(out, " {name}:");
            for entry in list {
                let _ = writeln!(out, "  {entry}");
            }
        }
    }
    let _ = writeln!(out, " Live Restore Enabled: {}", info.live_restore_enabled);
    out
}
