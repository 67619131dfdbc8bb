//! `volume prune`.

use dhow_api::Filters;
use dhow_client::Client;

use crate::commands::prune::{FILTER, FORCE, agreed, filters, report, total};
use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::session::Session;

pub const PRUNE: &[Flag] = &[
    Flag::new("all", Kind::Bool, "Remove named volumes, too").short('a'),
    FILTER,
    FORCE,
];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let all = args.is_set("all");
    let question = match all {
        true => "WARNING! This will remove all local volumes not used by at least one container.",
        false => {
            "WARNING! This will remove anonymous local volumes not used by at least one container."
        }
    };
    let mut filters = filters(session, args);
    if all && filters.contains("all") {
        return Err(message(
            "conflicting options: cannot specify both --all and --filter all=1",
        ));
    }
    if all {
        filters.add("all", "true");
    }
    if !agreed(args, question)? {
        return Ok(());
    }
    total(prune(session.client().await?, &filters).await?)
}

/// Removes and says what is not used; the room that makes, in bytes.
pub async fn prune(client: &Client, filters: &Filters) -> Result<u64> {
    let done = client.volume_prune(filters).await?;
    report("Deleted Volumes", &done.volumes_deleted)?;
    Ok(done.space_reclaimed)
}
