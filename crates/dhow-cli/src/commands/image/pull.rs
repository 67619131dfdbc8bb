//! `pull`, and the pull of what `run` and `create` lack.

use dhow_client::Client;

use super::platform;
use crate::credentials;
use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::progress::{self, Output};
use crate::reference::Reference;
use crate::session::Session;
use crate::stdio;

pub const PULL: &[Flag] = &[
    Flag::new("all-tags", Kind::Bool, "Pull all tags of the repository").short('a'),
    Flag::new(
        "platform",
        Kind::String,
        "Platform of the image (os[/arch[/variant]])",
    ),
    Flag::new("quiet", Kind::Bool, "Print only the image's name").short('q'),
];

/// Pulls an image, or with neither tag nor digest all of its repository's.
pub async fn pull(
    session: &Session,
    client: &Client,
    reference: &Reference,
    platform: Option<&str>,
    output: Output,
) -> Result<()> {
    let name = reference.canonical_name();
    let auth = credentials::lookup(&session.config, credentials::registry_of(&reference.name));
    let stream = client
        .image_pull(&name, reference.tag_or_digest(), platform, Some(&auth))
        .await?;
    progress::show(stream, output, |_| {}).await
}

/// The reference with the tag that it has by default, which is said, unless all tags are meant.
pub fn with_tag_said(typed: Reference, all: bool, quiet: bool) -> Result<Reference> {
    if all {
        return Ok(typed);
    }
    let full = typed.clone().with_default_tag();
    if full != typed && !quiet {
        stdio::println("Using default tag: latest")?;
    }
    Ok(full)
}

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let typed = Reference::parse(&args.rest[0])?;
    let all = args.is_set("all-tags");
    let quiet = args.is_set("quiet");
    if all && (typed.tag.is_some() || typed.digest.is_some()) {
        return Err(message("tag can't be used with --all-tags/-a"));
    }
    let reference = with_tag_said(typed, all, quiet)?;
    let output = if quiet {
        Output::Nowhere
    } else {
        Output::Stdout
    };
    let client = session.client().await?;
    let platform = platform::asked(args);
    pull(session, client, &reference, platform.as_deref(), output).await?;
    Ok(stdio::println(&reference.canonical())?)
}
