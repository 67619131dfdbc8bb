//! `tag`.

use crate::error::{Result, message};
use crate::flags::Args;
use crate::reference::Reference;
use crate::session::Session;

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let bad = |what: &str, name: &str, error: &dyn std::fmt::Display| {
        message(format!("{what} {name:?} {error}"))
    };
    let target = Reference::parse(&args.rest[1]).map_err(|error| {
        bad(
            "Error parsing reference:",
            &args.rest[1],
            &format!("is not a valid repository/tag: {error}"),
        )
    })?;
    if target.digest.is_some() {
        return Err(message("refusing to create a tag with a digest reference"));
    }
    let target = target.with_default_tag();
    let client = session.client().await?;
    client
        .image_tag(
            &args.rest[0],
            &target.canonical_name(),
            target.tag.as_deref().unwrap_or("latest"),
        )
        .await?;
    Ok(())
}
