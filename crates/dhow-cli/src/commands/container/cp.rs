//! `cp`: files between a container and this machine. What the words of the two paths mean is in [`plan`]; an
//! archive goes one way or the other.

mod local;
mod plan;
mod summary;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use dhow_archive::words::{self, Rename};
use dhow_archive::{ArchiveError, CHUNK, Chunks, Owner, Pieces, Placement, Root, pack, place};
use dhow_client::{BodyReader, Client};
use futures_util::{Stream, stream};
use tokio::sync::mpsc;

use self::plan::{Copied, Destination, Source, Way, prepare};
use self::summary::Progress;
use crate::error::{Error, Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::session::Session;
use crate::terminal;

pub const CP: &[Flag] = &[
    Flag::new(
        "archive",
        Kind::Bool,
        "Archive mode (copy all uid/gid information)",
    )
    .short('a'),
    Flag::new(
        "follow-link",
        Kind::Bool,
        "Always follow symlinks in SRC_PATH",
    )
    .short('L'),
    Flag::new(
        "quiet",
        Kind::Bool,
        "Don't show progress; none is shown without a terminal either",
    )
    .short('q'),
];

/// Pieces between the thread that has the files and the connection.
const PIECES: usize = 4;

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let (from, to) = (args.rest[0].as_str(), args.rest[1].as_str());
    if from.is_empty() {
        return Err(message("source can not be empty"));
    }
    if to.is_empty() {
        return Err(message("destination can not be empty"));
    }
    let way = plan::way(from, to)?;
    let copy = Copy {
        client: session.client().await?,
        follow: args.is_set("follow-link"),
        chown: args.is_set("archive"),
        quiet: match args.was_given("quiet") {
            true => args.is_set("quiet"),
            false => !terminal::stdout_is_terminal(),
        },
    };
    match way {
        Way::Out { container, path } => copy.fetch(container, path, to).await,
        Way::In { container, path } => copy.bring(from, container, path).await,
    }
}

struct Copy<'a> {
    client: &'a Client,
    follow: bool,
    chown: bool,
    quiet: bool,
}

impl Copy<'_> {
    /// Out of a container.
    async fn fetch(&self, container: &str, path: &str, to: &str) -> Result<()> {
        let to = match to {
            "-" => None,
            to => Some(local::absolute(to)?),
        };
        if let Some(to) = &to {
            local::check_output(to)?;
        }
        let mut path = path.to_owned();
        let mut rename = None;
        if self.follow
            && let Ok(stat) = self.client.container_stat_path(container, &path).await
            && stat.mode.is_symlink()
        {
            let target = beside(&path, &stat.link_target);
            (path, rename) = words::followed(&path, target);
        }
        let (stat, body) = self.client.container_archive(container, &path).await?;
        let Some(to) = to else {
            return receive(body, None, to_stdout).await;
        };
        let mut renames = Vec::new();
        if let Some(name) = &rename {
            renames.push(Rename::new(&words::split(&path).1, name));
        }
        let source = Source {
            path,
            is_directory: stat.mode.is_directory(),
            rename,
        };
        let progress = Progress::begin("Copying from container - ", self.quiet);
        let destination = local::destination(&to)?;
        let (directory, last) = prepare(&source, &destination)?;
        renames.extend(last);
        let counted = progress.counter();
        let work = move |archive| unpack(archive, &directory, &renames);
        receive(body, Some(counted), work).await?;
        let contents = match source.is_directory {
            true => None,
            false => u64::try_from(stat.size).ok(),
        };
        progress.end(contents, &to);
        Ok(())
    }

    /// Into a container.
    async fn bring(&self, from: &str, container: &str, path: &str) -> Result<()> {
        let mut destination = Destination {
            path: path.to_owned(),
            is: None,
        };
        let mut found = self.client.container_stat_path(container, path).await;
        if let Ok(stat) = &found
            && stat.mode.is_symlink()
        {
            destination.path = beside(path, &stat.link_target);
            found = self
                .client
                .container_stat_path(container, &destination.path)
                .await;
        }
        // Whatever is wrong with it, the daemon says when the archive comes.
        if let Ok(stat) = found {
            let wrong = match stat.mode {
                mode if mode.is_device() => Some("got a device"),
                mode if mode.is_irregular() => Some("got an irregular file"),
                _ => None,
            };
            if let Some(wrong) = wrong {
                return Err(message(format!(
                    "destination \"{container}:{path}\" must be a directory or a regular file: {wrong}"
                )));
            }
            destination.is = Some(match stat.mode.is_directory() {
                true => Copied::Directory,
                false => Copied::Other,
            });
        }
        if from == "-" {
            if destination.is != Some(Copied::Directory) {
                return Err(message(format!(
                    "destination \"{container}:{path}\" must be a directory"
                )));
            }
            let progress = Progress::begin("Copying to container - ", self.quiet);
            let archive = standard_input(progress.counter());
            self.client
                .container_extract(container, &destination.path, self.chown, archive)
                .await?;
            progress.end(None, &format!("{container}:{}", destination.path));
            return Ok(());
        }
        let from = local::absolute(from)?;
        let source = local::source(&from, self.follow)?;
        let contents = local::contents(Path::new(&source.path)).ok();
        let (directory, rename) = prepare(&source, &destination)?;
        let mut name = source.name().into_bytes();
        if let Some(rename) = rename {
            name = rename.apply(name);
        }
        let progress = Progress::begin("Copying to container - ", self.quiet);
        let (archive, packed) = packed(source.path, name, progress.counter());
        let sent = self
            .client
            .container_extract(container, &directory, self.chown, archive)
            .await;
        if sent.is_err()
            && let Ok(Ok(Err(error))) =
                tokio::time::timeout(std::time::Duration::from_secs(1), packed).await
            && !matches!(error, ArchiveError::Write(_))
        {
            // Why the archive broke off, rather than that it did.
            return Err(message(error.to_string()));
        }
        sent?;
        progress.end(contents, &format!("{container}:{}", destination.path));
        Ok(())
    }
}

/// Where a link leads that was found at a path.
fn beside(path: &str, target: &str) -> String {
    match target.starts_with('/') {
        true => target.to_owned(),
        false => words::join(&words::split(path).0, target),
    }
}

/// What comes of an archive, or that all of it has come.
enum Part {
    Data(Bytes),
    End,
}

/// An archive that comes, on the thread that has the files.
struct Incoming(mpsc::Receiver<io::Result<Part>>);

impl Incoming {
    fn next(&mut self) -> Option<io::Result<Bytes>> {
        match self.0.blocking_recv() {
            Some(Ok(Part::Data(piece))) => Some(Ok(piece)),
            Some(Ok(Part::End)) => None,
            Some(Err(e)) => Some(Err(e)),
            None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

/// Hands an archive to a thread that does something with it.
async fn receive(
    mut body: BodyReader,
    counter: Option<Arc<AtomicU64>>,
    work: impl FnOnce(Incoming) -> Result<()> + Send + 'static,
) -> Result<()> {
    let (sender, parts) = mpsc::channel(PIECES);
    let work = tokio::task::spawn_blocking(move || work(Incoming(parts)));
    loop {
        let part = match body.piece().await {
            Ok(Some(piece)) => {
                if let Some(counter) = &counter {
                    counter.fetch_add(piece.len() as u64, Ordering::Relaxed);
                }
                Ok(Part::Data(piece))
            }
            Ok(None) => Ok(Part::End),
            Err(e) => Err(e),
        };
        let last = !matches!(part, Ok(Part::Data(_)));
        if sender.send(part).await.is_err() || last {
            break;
        }
    }
    work.await.map_err(|e| Error::Io(io::Error::other(e)))?
}

/// As it comes, past the buffer that is meant for lines.
fn to_stdout(mut archive: Incoming) -> Result<()> {
    let mut out = File::from(rustix::stdio::stdout().try_clone_to_owned()?);
    while let Some(piece) = archive.next() {
        out.write_all(&piece?)?;
    }
    Ok(())
}

fn unpack(mut archive: Incoming, directory: &str, renames: &[Rename]) -> Result<()> {
    let root = Root::own()?;
    let placement = Placement {
        root: &root,
        at: Path::new(directory),
        owner: Owner::Own,
        overwrite: false,
        renames,
    };
    let mut pieces = Pieces::new(|| archive.next());
    place(&mut pieces, &placement).map_err(|e| message(e.to_string()))
}

type Pieced = mpsc::Receiver<io::Result<Bytes>>;

fn streamed(pieces: Pieced) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold(pieces, |mut pieces| async move {
        Some((pieces.recv().await?, pieces))
    })
}

/// Makes an archive of what is at a path, and says how that went.
fn packed(
    path: String,
    name: Vec<u8>,
    counter: Arc<AtomicU64>,
) -> (
    impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    tokio::task::JoinHandle<std::result::Result<(), ArchiveError>>,
) {
    let (sender, pieces) = mpsc::channel(PIECES);
    let work = tokio::task::spawn_blocking(move || {
        let root = Root::own().map_err(ArchiveError::Read)?;
        let to = Chunks::new(|piece| {
            counter.fetch_add(piece.len() as u64, Ordering::Relaxed);
            sender
                .blocking_send(Ok(piece))
                .map_err(|_| io::ErrorKind::BrokenPipe.into())
        });
        let packed = pack(&root, Path::new(&path), &name, to);
        if packed.is_err() {
            // Half an archive must not look like a whole one.
            let _ = sender.blocking_send(Err(io::Error::other("the archive breaks off")));
        }
        packed
    });
    (streamed(pieces), work)
}

/// What comes on standard input.
fn standard_input(counter: Arc<AtomicU64>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let (sender, pieces) = mpsc::channel(PIECES);
    // Ends with the process: nothing else ends a read of a terminal.
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut piece = vec![0; CHUNK];
            let piece = match stdin.read(&mut piece) {
                Ok(0) => return,
                Ok(n) => {
                    piece.truncate(n);
                    counter.fetch_add(n as u64, Ordering::Relaxed);
                    Ok(piece.into())
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => Err(e),
            };
            let failed = piece.is_err();
            if sender.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    });
    streamed(pieces)
}
