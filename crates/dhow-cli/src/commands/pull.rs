//! `pull`, `push`, `import`.

use std::io;

use bytes::Bytes;
use dhow_client::Client;
use futures_util::stream;

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

pub const PUSH: &[Flag] = &[
    Flag::new("all-tags", Kind::Bool, "Push all tags of the repository").short('a'),
    Flag::new(
        "platform",
        Kind::String,
        "Push the image of one platform only (os[/arch[/variant]])",
    ),
    Flag::new("quiet", Kind::Bool, "Print only the image's name").short('q'),
];

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

fn parse(text: &str) -> Result<Reference> {
    Reference::parse(text).map_err(|error| message(error.to_string()))
}

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

fn default_platform(args: &Args) -> Option<String> {
    args.nonempty("platform")
        .map(str::to_owned)
        .or_else(|| std::env::var("DOCKER_DEFAULT_PLATFORM").ok())
        .filter(|platform| !platform.is_empty())
}

pub async fn run_pull(session: &Session, args: &Args) -> Result<()> {
    let typed = parse(&args.rest[0])?;
    let all = args.is_set("all-tags");
    let quiet = args.is_set("quiet");
    if all && (typed.tag.is_some() || typed.digest.is_some()) {
        return Err(message("tag can't be used with --all-tags/-a"));
    }
    let reference = match all {
        true => typed,
        false => {
            let full = typed.clone().with_default_tag();
            if full != typed && !quiet {
                stdio::println("Using default tag: latest")?;
            }
            full
        }
    };
    let output = if quiet {
        Output::Nowhere
    } else {
        Output::Stdout
    };
    let client = session.client().await?;
    let platform = default_platform(args);
    pull(session, client, &reference, platform.as_deref(), output).await?;
    Ok(stdio::println(&reference.canonical())?)
}

pub async fn run_push(session: &Session, args: &Args) -> Result<()> {
    let typed = parse(&args.rest[0])?;
    let all = args.is_set("all-tags");
    let quiet = args.is_set("quiet");
    if all && typed.tag.is_some() {
        return Err(message("tag can't be used with --all-tags/-a"));
    }
    if typed.digest.is_some() {
        return Err(message("cannot push a digest reference"));
    }
    let reference = match all {
        true => typed,
        false => {
            let full = typed.clone().with_default_tag();
            if full != typed && !quiet {
                stdio::println("Using default tag: latest")?;
            }
            full
        }
    };
    let client = session.client().await?;
    let auth = credentials::lookup(&session.config, credentials::registry_of(&reference.name));
    let name = reference.canonical_name();
    let stream = client
        .image_push(
            &name,
            reference.tag.as_deref(),
            args.nonempty("platform"),
            &auth,
        )
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

pub async fn run_import(session: &Session, args: &Args) -> Result<()> {
    let source = args.rest[0].as_str();
    let target = match args.rest.get(1) {
        Some(text) => Some(parse(text)?.with_default_tag()),
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
            default_platform(args).as_deref(),
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
