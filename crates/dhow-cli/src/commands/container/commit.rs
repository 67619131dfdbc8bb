//! `commit`.

use dhow_client::CommitOptions;

use crate::error::{Result, message, plain};
use crate::flags::{Args, Flag, Kind};
use crate::reference::Reference;
use crate::session::Session;
use crate::stdio;

pub const COMMIT: &[Flag] = &[
    Flag::new(
        "author",
        Kind::String,
        "Author (such as \"John Hannibal Smith <hannibal@a-team.com>\")",
    )
    .short('a'),
    Flag::new(
        "change",
        Kind::List,
        "Apply a Dockerfile instruction to the image",
    )
    .short('c'),
    Flag::new("message", Kind::String, "Commit message").short('m'),
    Flag::new("no-pause", Kind::Bool, "Do not pause the container"),
    Flag::new("pause", Kind::Bool, "Pause the container during the commit")
        .short('p')
        .default("true"),
];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    if args.was_given("pause") && args.was_given("no-pause") {
        return Err(plain(
            "conflicting options: --no-pause and --pause cannot be used together",
        ));
    }
    let target = match args.rest.get(1).filter(|text| !text.is_empty()) {
        Some(text) => Some(Reference::parse(text)?.with_default_tag()),
        None => None,
    };
    if target.as_ref().is_some_and(|name| name.digest.is_some()) {
        return Err(message("refusing to create a tag with a digest reference"));
    }
    let options = CommitOptions {
        target: target.map(|name| (name.canonical_name(), name.tag.unwrap_or_default())),
        comment: args.string("message"),
        author: args.string("author"),
        changes: args.strings("change"),
        pause: args.is_set_or("pause", true) && !args.is_set("no-pause"),
    };
    let client = session.client().await?;
    let made = client.container_commit(&args.rest[0], &options).await?;
    Ok(stdio::println(&made.id)?)
}
