//! An archive put into a directory of a container.

use std::io::{self, BufReader};
use std::path::Path;

use bytes::Bytes;
use dhow_archive::{ArchiveError, Owner, Pieces, Placement, Root, place, words};
use dhow_image::compression::Decoder;
use rustix::fs::{FileType, OFlags};
use tokio::sync::{mpsc, oneshot};

use super::{Desk, Files, missing};
use crate::containers::{user, view};
use crate::error::{EngineError, Result};

/// Pieces between the client and the thread that writes.
const PIECES: usize = 4;
/// Bytes that are read of a container's user database.
const DATABASE_MAX: u64 = 16 << 20;

#[derive(Clone, Copy, Debug, Default)]
pub struct ExtractOptions {
    /// A file may take the place of a directory, and a directory that of a file.
    pub overwrite: bool,
    /// The files become those of the container's own user, where it has one, and not whose the archive says.
    pub chown: bool,
}

/// What comes of an archive.
#[derive(Debug)]
pub enum Part {
    Data(Bytes),
    /// All of it has come.
    End,
}

impl Files {
    /// Puts an archive, compressed or not, into a directory. The parts are taken from `parts`; one that ends
    /// without [`Part::End`] has broken off.
    pub async fn extract(
        &self,
        name: &str,
        path: &str,
        options: ExtractOptions,
        parts: mpsc::Receiver<Part>,
    ) -> Result<()> {
        let wanted = path.to_owned();
        let work = move |desk: Desk, answer: oneshot::Sender<Result<()>>| {
            let _ = answer.send(extract(&desk, &wanted, options, parts));
        };
        let ((), opened) = self
            .at_desk(name, work)
            .await
            .map_err(missing(name, path))?;
        self.containers
            .tell(&opened.container, "extract-to-dir", &[]);
        Ok(())
    }

    /// The queue that an archive is put into.
    pub fn parts() -> (mpsc::Sender<Part>, mpsc::Receiver<Part>) {
        mpsc::channel(PIECES)
    }
}

fn extract(
    desk: &Desk,
    path: &str,
    options: ExtractOptions,
    mut parts: mpsc::Receiver<Part>,
) -> Result<()> {
    let wanted = words::in_container(path);
    let failed = |e: rustix::io::Errno| ArchiveError::File {
        what: format!("lstat {wanted}"),
        source: e.into(),
    };
    // What it leads to, for one may extract to a link.
    let found = desk
        .root
        .open(Path::new(&wanted), OFlags::PATH)
        .map_err(failed)?;
    let stat = rustix::fs::fstat(&found).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(EngineError::invalid("extraction point is not a directory"));
    }
    let at = desk.root.follow(Path::new(&wanted)).map_err(failed)?;
    let definition = desk.container.definition();
    view::check_writable(&definition, &at, desk.running)?;
    let owner = match options.chown && !definition.config.user.is_empty() {
        true => own_user(&desk.root, &definition.config.user)?,
        false => Owner::Archive,
    };
    let pieces = Pieces::new(|| match desk.wait(parts.recv()) {
        Some(Some(Part::Data(bytes))) => Some(Ok(bytes)),
        Some(Some(Part::End)) => None,
        Some(None) => Some(Err(io::Error::other("the archive has broken off"))),
        None => Some(Err(io::ErrorKind::ConnectionAborted.into())),
    });
    let mut plain = Decoder::new(BufReader::new(pieces)).map_err(ArchiveError::Read)?;
    place(
        &mut plain,
        &Placement {
            root: &desk.root,
            at: &at,
            owner,
            overwrite: options.overwrite,
            renames: &[],
        },
    )?;
    Ok(())
}

/// The container's user, by its own database.
fn own_user(root: &Root, name: &str) -> Result<Owner> {
    let read = |path: &str| match root.read(Path::new(path), DATABASE_MAX) {
        Ok(contents) => Ok(String::from_utf8_lossy(&contents.unwrap_or_default()).into_owned()),
        Err(source) => Err(ArchiveError::File {
            what: format!("open {path}"),
            source,
        }),
    };
    let resolved = user::resolve(name, &[], &read("/etc/passwd")?, &read("/etc/group")?)?;
    Ok(Owner::Fixed {
        uid: resolved.uid,
        gid: resolved.gid,
    })
}
