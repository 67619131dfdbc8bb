//! Programs that are built with the benchmarks.

use std::path::PathBuf;

use anyhow::Result;

pub fn beside(name: &str) -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}
