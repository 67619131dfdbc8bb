//! `cargo xtask vm`
use anyhow::{Result, bail};
pub fn run(_args: &[String]) -> Result<()> {
    crate::packages::for_vm()?;
    bail!("later")
}
