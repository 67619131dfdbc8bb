//! `import`.

use super::platform;
use super::upload::Source;
use crate::error::Result;
use crate::flags::{Args, Flag, Kind};
use crate::progress::{self, Output};
use crate::reference::Reference;
use crate::session::Session;

pub const IMPORT: &[Flag] = &[
    Flag::new(
        "change",
        Kind::List,
        "Apply a Dockerfile instruction to the image",
    )
    .short('c'),
    Flag::new("message", Kind::String, "Set the image's comment").short('m'),
    Flag::new(
        "platform",
        Kind::String,
        "Platform of the image (os[/arch[/variant]])",
    ),
];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let source = args.rest[0].as_str();
    let target = match args.rest.get(1) {
        Some(text) => Some(Reference::parse(text)?.with_default_tag()),
        None => None,
    };
    let target = target.as_ref().map(|target| {
        (
            target.canonical_name(),
            target.tag.clone().unwrap_or_default(),
        )
    });
    let is_url = ["http://", "https://"]
        .iter()
        .any(|scheme| source.starts_with(scheme));
    let (source, archive) = match source {
        "-" => ("-", Some(Source::stdin().stream())),
        url if is_url => (url, None),
        path => ("-", Some(Source::file(path)?.stream())),
    };
    let client = session.client().await?;
    let stream = client
        .image_import(
            source,
            archive,
            target
                .as_ref()
                .map(|(name, tag)| (name.as_str(), tag.as_str())),
            args.nonempty("message"),
            &args.strings("change"),
            platform::asked(args).as_deref(),
        )
        .await?;
    progress::show(stream, Output::Stdout, |_| {}).await
}
