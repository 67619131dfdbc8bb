//! `container prune`.

use dhow_api::Filters;
use dhow_client::Client;

use crate::commands::prune::{FILTER, FORCE, agreed, filters, report, total};
use crate::error::Result;
use crate::flags::{Args, Flag};
use crate::session::Session;

pub const PRUNE: &[Flag] = &[FILTER, FORCE];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    if !agreed(args, "WARNING! This will remove all stopped containers.")? {
        return Ok(());
    }
    let filters = filters(session, args);
    total(prune(session.client().await?, &filters).await?)
}

/// Removes and says what is not used; the room that makes, in bytes.
pub async fn prune(client: &Client, filters: &Filters) -> Result<u64> {
    let done = client.container_prune(filters).await?;
    report(
        "Deleted Containers",
        &done.containers_deleted.unwrap_or_default(),
    )?;
    Ok(done.space_reclaimed)
}
