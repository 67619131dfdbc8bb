//! `network prune`.

use dhow_api::Filters;
use dhow_client::Client;

use crate::commands::prune::{FILTER, FORCE, agreed, filters, report};
use crate::error::Result;
use crate::flags::{Args, Flag};
use crate::session::Session;

pub const PRUNE: &[Flag] = &[FILTER, FORCE];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let question =
        "WARNING! This will remove all custom networks not used by at least one container.";
    let filters = filters(session, args);
    if !agreed(args, question)? {
        return Ok(());
    }
    prune(session.client().await?, &filters).await
}

/// Removes and says what is not used.
pub async fn prune(client: &Client, filters: &Filters) -> Result<()> {
    let done = client.network_prune(filters).await?;
    report(
        "Deleted Networks",
        &done.networks_deleted.unwrap_or_default(),
    )
}
