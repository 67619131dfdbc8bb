//! `import`.

use std::io;

use bytes::Bytes;
use futures_util::stream;

use super::platform;
use crate::error::{Result, message};
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

/// What is read of an archive at once.
const CHUNK: usize = 256 * 1024;

/// A file, or standard input, as it is read.
fn archive(
    mut source: impl io::Read + Send + 'static,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (sender, receiver) = tokio::sync::mpsc::channel(2);
    std::thread::spawn(move || {
        loop {
            let mut chunk = vec![0; CHUNK];
            let read = match source.read(&mut chunk) {
                Ok(0) => return,
                Ok(n) => {
                    chunk.truncate(n);
                    Ok(Bytes::from(chunk))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            if sender.blocking_send(read).is_err() || failed {
                return;
            }
        }
    });
    stream::unfold(receiver, |mut receiver| async move {
        let chunk = receiver.recv().await?;
        Some((chunk, receiver))
    })
}

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
        "-" => ("-", Some(archive(Source::Stdin(io::stdin())))),
        url if is_url => (url, None),
        path => {
            let file = std::fs::File::open(path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    message(format!("open {path}: no such file or directory"))
                }
                _ => message(format!("open {path}: {error}")),
            })?;
            ("-", Some(archive(Source::File(file))))
        }
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

enum Source {
    Stdin(io::Stdin),
    File(std::fs::File),
}

impl io::Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Stdin(stdin) => stdin.read(buffer),
            Source::File(file) => file.read(buffer),
        }
    }
}
