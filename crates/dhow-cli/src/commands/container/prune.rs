//! `container prune`.

use dhow_client::Client;

use crate::commands::prune::{FILTER, FORCE, agreed, report, total};
use crate::error::Result;
use crate::flags::{Args, Flag};
use crate::lists::filters;
use crate::session::Session;

pub const PRUNE: &[Flag] = &[FILTER, FORCE];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    if !agreed(args, "WARNING! This will remove all stopped containers.")? {
        return Ok(());
    }
    total(prune(session.client().await?, args).await?)
}

/// Removes and says what is not used; the room that makes, in bytes.
pub async fn prune(client: &Client, args: &Args) -> Result<u64> {
    let done = client.container_prune(&filters(args)).await?;
    report(
        "Deleted Containers",
        &done.containers_deleted.unwrap_or_default(),
    )?;
    Ok(done.space_reclaimed)
}
