//! Programs that are run: those that are built with the benchmarks, and others.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// One of those that are built with the benchmarks.
pub fn beside(name: &str) -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

/// Runs to the end; what it prints.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("can't run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
