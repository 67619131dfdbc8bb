//! `system prune`.

use dhow_api::Filters;

use crate::commands::prune::{ALL_IMAGES, FILTER, FORCE, agreed, filters, total};
use crate::commands::{container, image, network, volume};
use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::format::text;
use crate::session::Session;

pub const PRUNE: &[Flag] = &[
    ALL_IMAGES,
    FILTER,
    FORCE,
    Flag::new("volumes", Kind::Bool, "Remove anonymous volumes, too"),
];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let (all, volumes) = (args.is_set("all"), args.is_set("volumes"));
    if volumes && crate::lists::filters(args).contains("until") {
        return Err(message(
            "ERROR: The \"until\" filter is not supported with \"--volumes\"",
        ));
    }
    let filters = filters(session, args);
    if !agreed(args, &question(all, volumes, &filters))? {
        return Ok(());
    }
    let client = session.client().await?;
    let mut reclaimed = container::prune::prune(client, &filters).await?;
    network::prune::prune(client, &filters).await?;
    if volumes {
        reclaimed += volume::prune::prune(client, &filters).await?;
    }
    reclaimed += image::prune::prune(client, filters, all).await?;
    total(reclaimed)
}

fn question(all: bool, volumes: bool, filters: &Filters) -> String {
    let mut question = String::from(
        "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n",
    );
    if volumes {
        question += "  - all anonymous volumes not used by at least one container\n";
    }
    question += match all {
        true => "  - all images without at least one container associated to them\n",
        false => "  - all dangling images\n",
    };
    let mut conditions: Vec<String> = ["label", "label!", "until"]
        .iter()
        .flat_map(|name| {
            filters
                .get(name)
                .map(move |value| format!("{name}={value}"))
        })
        .collect();
    conditions.sort_by(|a, b| text::natural(a, b));
    if !filters.is_empty() {
        question += "\n  Items to be pruned will be filtered with:\n";
    }
    for condition in conditions {
        question += &format!("  - {condition}\n");
    }
    question
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_names_all_that_goes() {
        let mut filters = Filters::default();
        filters.add("until", "1h");
        filters.add("label", "b10");
        filters.add("label", "b9");
        assert_eq!(
            question(true, true, &filters),
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n  - all anonymous volumes not used by at least one container\n  - all images without at least one container associated to them\n\n  Items to be pruned will be filtered with:\n  - label=b9\n  - label=b10\n  - until=1h\n"
        );
        assert!(question(false, false, &Filters::default()).ends_with("  - all dangling images\n"));
    }
}
