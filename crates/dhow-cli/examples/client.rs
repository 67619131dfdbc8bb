//! The client alone, without the daemon's side: what `dhow` is when called with a client's command.

use std::process::ExitCode;

fn main() -> ExitCode {
    dhow_cli::main(std::env::args_os().collect())
}
