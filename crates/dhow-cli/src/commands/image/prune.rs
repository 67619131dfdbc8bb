//! `image prune`.

use dhow_api::Filters;
use dhow_client::Client;

use crate::commands::prune::{ALL_IMAGES, FILTER, FORCE, agreed, filters, report, total};
use crate::error::Result;
use crate::flags::{Args, Flag};
use crate::session::Session;

pub const PRUNE: &[Flag] = &[ALL_IMAGES, FILTER, FORCE];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let question = match args.is_set("all") {
        true => {
            "WARNING! This will remove all images without at least one container associated to them."
        }
        false => "WARNING! This will remove all dangling images.",
    };
    if !agreed(args, question)? {
        return Ok(());
    }
    let (filters, all) = (filters(session, args), args.is_set("all"));
    total(prune(session.client().await?, filters, all).await?)
}

/// Removes and says what is not used, of `all` images or only of untagged ones; the room that makes, in bytes.
pub async fn prune(client: &Client, mut filters: Filters, all: bool) -> Result<u64> {
    let dangling = if all { "false" } else { "true" };
    filters.add("dangling", dangling);
    let done = client.image_prune(&filters).await?;
    report("Deleted Images", &deleted(&done))?;
    Ok(done.space_reclaimed)
}

fn deleted(done: &dhow_api::ImagePruneReport) -> Vec<String> {
    done.images_deleted
        .iter()
        .flatten()
        .map(|step| match step.untagged.as_str() {
            "" => format!("deleted: {}", step.deleted),
            name => format!("untagged: {name}"),
        })
        .collect()
}
