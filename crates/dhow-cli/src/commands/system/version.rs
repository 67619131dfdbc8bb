//! `version`.

use std::fmt::Write as _;

use dhow_api::{ApiVersion, Version};
use gotmpl::{MissingKey, Value};
use serde_json::json;

use crate::error::{Error, Result, message};
use crate::flags::{Args, Flag};
use crate::format::template::Format;
use crate::lists::FORMAT_SHORT;
use crate::session::Session;
use crate::stdio;

pub const VERSION: &[Flag] = &[FORMAT_SHORT];

/// The line of `--version`.
pub fn short() -> String {
    format!("Dhow version {}", env!("CARGO_PKG_VERSION"))
}

/// As Go calls this machine.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    session.client_as_is()?;
    // A client without a daemon still has a version.
    let answer = match session.client().await {
        Ok(client) => client.daemon_version().await.map_err(Error::from),
        Err(error) => Err(error),
    };
    let (server, failure) = match answer {
        Ok(version) => (Some(version), None),
        Err(error) => (None, Some(error)),
    };
    let spoken = session.client_as_is()?.version();
    let spoken = match &server {
        Some(server) => server
            .api_version
            .parse::<ApiVersion>()
            .map_or(ApiVersion::MAX, |v| v.min(ApiVersion::MAX)),
        None => spoken.unwrap_or(ApiVersion::MAX),
    };
    match args.nonempty("format") {
        Some(template) => {
            let template = if template == "json" {
                "{{json .}}"
            } else {
                template
            };
            let data = json!({
                "Client": {
                    "Platform": {"Name": "Dhow"},
                    "Version": env!("CARGO_PKG_VERSION"),
                    "ApiVersion": spoken.to_string(),
                    "DefaultAPIVersion": ApiVersion::MAX.to_string(),
                    "Os": std::env::consts::OS,
                    "Arch": architecture(),
                    "Context": session.choice.name(),
                },
                "Server": server,
            });
            let value: Value = gotmpl::to_value(&data).map_err(|e| message(e.to_string()))?;
            let text = Format::parse(template, MissingKey::Error)?.execute(&value)?;
            stdio::println(&text)?;
        }
        None => {
            let mut out = String::new();
            // Writing to a string does not fail, here and below.
            let _ = write!(
                out,
                "Client: Dhow\n Version:           {}\n API version:       {spoken}{}\n OS/Arch:           {}/{}\n Context:           {}\n",
                env!("CARGO_PKG_VERSION"),
                match spoken == ApiVersion::MAX {
                    true => String::new(),
                    false => format!(" (downgraded from {})", ApiVersion::MAX),
                },
                std::env::consts::OS,
                architecture(),
                session.choice.name(),
            );
            if let Some(server) = &server {
                server_version(&mut out, server);
            }
            stdio::print(&out)?;
        }
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn server_version(out: &mut String, server: &Version) {
    let platform = match server.platform.name.as_str() {
        "" => String::new(),
        name => format!(" {name}"),
    };
    let _ = writeln!(out, "\nServer:{platform}");
    for component in &server.components {
        let detail = |name: &str| component.details.get(name).map(String::as_str);
        let _ = writeln!(out, " {}:", component.name);
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(out, "  {name:<18}{value}");
        };
        line("Version:", &component.version);
        match detail("ApiVersion") {
            Some(api) => {
                let minimum = detail("MinAPIVersion").unwrap_or_default();
                line(
                    "API version:",
                    &format!("{api} (minimum version {minimum})"),
                );
                for (name, heading) in [
                    ("GoVersion", "Go version:"),
                    ("GitCommit", "Git commit:"),
                    ("BuildTime", "Built:"),
                ] {
                    if let Some(value) = detail(name).filter(|value| !value.is_empty()) {
                        line(heading, value);
                    }
                }
                let os = detail("Os").unwrap_or(&server.os);
                let arch = detail("Arch").unwrap_or(&server.arch);
                line("OS/Arch:", &format!("{os}/{arch}"));
                line("Experimental:", detail("Experimental").unwrap_or("false"));
            }
            None => {
                for (name, value) in &component.details {
                    line(&format!("{name}:"), value);
                }
            }
        }
    }
}
