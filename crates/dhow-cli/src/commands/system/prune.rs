//! `system prune`.

use crate::commands::prune::{ALL_IMAGES, FILTER, FORCE, agreed, total};
use crate::commands::{container, image, volume};
use crate::error::Result;
use crate::flags::{Args, Flag, Kind};
use crate::lists::filters;
use crate::session::Session;

pub const PRUNE: &[Flag] = &[
    ALL_IMAGES,
    FILTER,
    FORCE,
    Flag::new("volumes", Kind::Bool, "Remove anonymous volumes, too"),
];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let mut question = String::from("WARNING! This will remove:\n  - all stopped containers\n");
    if args.is_set("volumes") {
        question += "  - all anonymous volumes not used by at least one container\n";
    }
    question += match args.is_set("all") {
        true => "  - all images without at least one container associated to them\n",
        false => "  - all dangling images\n",
    };
    if !agreed(args, &question)? {
        return Ok(());
    }
    let client = session.client().await?;
    let mut reclaimed = container::prune::prune(client, args).await?;
    if args.is_set("volumes") {
        reclaimed += volume::prune::prune(client, &filters(args)).await?;
    }
    reclaimed += image::prune::prune(client, args).await?;
    total(reclaimed)
}
