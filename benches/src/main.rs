//! `dhow-bench NAME`: the benchmarks. `cargo xtask bench NAME` builds what they need and runs one.

mod registry;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("registry") => registry::run(),
        Some(other) => bail!("there is no benchmark `{other}`"),
        None => bail!("which benchmark?"),
    }
}
