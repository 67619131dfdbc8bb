//! `push`.

use super::platform;
use super::pull::with_tag_said;
use crate::credentials;
use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::progress::{self, Output};
use crate::reference::Reference;
use crate::session::Session;
use crate::stdio;

pub const PUSH: &[Flag] = &[
    Flag::new("all-tags", Kind::Bool, "Push all tags of the repository").short('a'),
    Flag::new(
        "platform",
        Kind::String,
        "Push the image of one platform only (os[/arch[/variant]])",
    ),
    Flag::new("quiet", Kind::Bool, "Print only the image's name").short('q'),
];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let typed = Reference::parse(&args.rest[0])?;
    let all = args.is_set("all-tags");
    let quiet = args.is_set("quiet");
    if all && typed.tag.is_some() {
        return Err(message("tag can't be used with --all-tags/-a"));
    }
    if typed.digest.is_some() {
        return Err(message("cannot push a digest reference"));
    }
    let platform = platform::one(args)?;
    let reference = with_tag_said(typed, all, quiet)?;
    let client = session.client().await?;
    let auth = credentials::lookup(&session.config, credentials::registry_of(&reference.name));
    let name = reference.canonical_name();
    let stream = client
        .image_push(&name, reference.tag.as_deref(), platform.as_deref(), &auth)
        .await?;
    let output = if quiet {
        Output::Nowhere
    } else {
        Output::Stdout
    };
    progress::show(stream, output, |_| {}).await?;
    if quiet {
        stdio::println(&reference.canonical())?;
    }
    Ok(())
}
