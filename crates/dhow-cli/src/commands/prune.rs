//! What the commands that throw away what is not used have in common.

use dhow_api::Filters;

use crate::error::Result;
use crate::flags::{Args, Flag, Kind};
use crate::format::units;
use crate::session::Session;
use crate::{lists, stdio};

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

/// The conditions of `--filter`, and those that the configuration has for every prune.
pub fn filters(session: &Session, args: &Args) -> Filters {
    with_configured(lists::filters(args), &session.config.list("pruneFilters"))
}

/// What contradicts a flag is left out.
fn with_configured(mut filters: Filters, configured: &[&str]) -> Filters {
    for text in configured {
        let Some((name, value)) = text.split_once('=') else {
            continue;
        };
        let opposite = match name {
            "label" => "label!",
            "label!" => "label",
            _ => "",
        };
        if !filters.get(opposite).any(|given| given == value) {
            filters.add(name, value);
        }
    }
    filters
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_adds_filters() {
        let mut given = Filters::default();
        given.add("label", "keep");
        let all = with_configured(given, &["label!=keep", "label!=x", "until=1h", "nonsense"]);
        let values = |name: &str| all.get(name).collect::<Vec<_>>();
        assert_eq!(values("label"), ["keep"]);
        assert_eq!(values("label!"), ["x"]);
        assert_eq!(values("until"), ["1h"]);
    }
}
