//! One binary with several faces: `dhow` is the client, `dhow daemon` (or `dhowd`) the daemon, and
//! `dhow registry serve` the registry. Called as `docker` it is the client and nothing else, as `dockerd` the daemon.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use dhow_daemon::Called;
use dhow_daemon::config::{LogFormat, LogLevel};
use dhow_registry::ServeArgs;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let called = arguments
        .first()
        .and_then(|path| Path::new(path).file_name())
        .unwrap_or(OsStr::new("dhow"));
    let word = |n: usize| arguments.get(n).and_then(|word| word.to_str());
    match (called.to_str(), word(1), word(2)) {
        (Some("docker"), ..) => dhow_cli::main(arguments),
        (Some("dhowd"), ..) => daemon(Called::Dhow, arguments, 1),
        (Some("dockerd"), ..) => daemon(Called::Dockerd, arguments, 1),
        (_, Some("daemon"), _) => daemon(Called::Dhow, arguments, 2),
        // A face that only the daemon calls.
        (_, Some(dhow_daemon::SPAWNER), None) => dhow_daemon::spawner_main(),
        (_, Some("registry"), Some("serve")) => registry(arguments.into_iter().skip(3)),
        _ => dhow_cli::main(arguments),
    }
}

fn daemon(called: Called, arguments: Vec<OsString>, words: usize) -> ExitCode {
    dhow_daemon::main(called, arguments.into_iter().skip(words))
}

/// Serve a registry: the OCI distribution specification over a directory.
#[derive(Debug, Parser)]
#[command(name = "dhow registry serve", version)]
struct RegistryCommand {
    #[command(flatten)]
    serve: ServeArgs,
    /// Log at level debug
    #[arg(short = 'D', long)]
    debug: bool,
}

fn registry(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let name = OsString::from("dhow registry serve");
    let command = RegistryCommand::parse_from(std::iter::once(name).chain(arguments));
    let level = if command.debug {
        LogLevel::Debug
    } else {
        LogLevel::Info
    };
    dhow_daemon::logging::start(level, LogFormat::Text, false);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("failed to start registry: {e}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(dhow_registry::serve(command.serve)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("failed to start registry: {e}");
            ExitCode::FAILURE
        }
    }
}
