//! `load`.

use std::io::{IsTerminal, stdin, stdout};

use super::platform;
use super::upload::Source;
use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::progress::{self, Output};
use crate::session::Session;

pub const LOAD: &[Flag] = &[
    Flag::new(
        "input",
        Kind::String,
        "Read from a tar archive's file, not from standard input",
    )
    .short('i'),
    Flag::new(
        "platform",
        Kind::List,
        "Load only the images of these platforms (os[/arch[/variant]], with commas between)",
    ),
    Flag::new("quiet", Kind::Bool, "Do not show the layers' progress").short('q'),
];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let platforms = platform::several(args)?;
    let source = match args.nonempty("input") {
        Some(path) => Source::file(path)?,
        None if stdin().is_terminal() => {
            return Err(message("requested load from stdin, but stdin is empty"));
        }
        None => Source::stdin(),
    };
    let quiet = args.is_set("quiet") || !stdout().is_terminal();
    let client = session.client().await?;
    let stream = client
        .image_load(source.stream(), quiet, &platforms)
        .await?;
    progress::show(stream, Output::Stdout, |_| {}).await
}
