//! What the commands that throw away what is not used have in common.

use crate::error::Result;
use crate::flags::{Args, Flag, Kind};
use crate::format::units;
use crate::stdio;

pub const FORCE: Flag = Flag::new("force", Kind::Bool, "Do not ask").short('f');
pub const FILTER: Flag = Flag::new(
    "filter",
    Kind::Filter,
    "Choose by a condition (such as until=24h)",
);

/// Of images, here and with all the rest.
pub const ALL_IMAGES: Flag = Flag::new(
    "all",
    Kind::Bool,
    "Remove every image that no container uses, not only untagged ones",
)
.short('a');

/// Whether the user wants it.
pub fn agreed(args: &Args, question: &str) -> Result<bool> {
    Ok(args.is_set("force") || stdio::confirm(question)?)
}

/// Says what went, if anything did.
pub fn report(heading: &str, things: &[String]) -> Result<()> {
    if !things.is_empty() {
        stdio::println(&format!("{heading}:\n{}\n", things.join("\n")))?;
    }
    Ok(())
}

/// Says how much room that made.
pub fn total(reclaimed: u64) -> Result<()> {
    let bytes = i64::try_from(reclaimed).unwrap_or(i64::MAX);
    stdio::println(&format!(
        "Total reclaimed space: {}",
        units::long_size(bytes)
    ))?;
    Ok(())
}
