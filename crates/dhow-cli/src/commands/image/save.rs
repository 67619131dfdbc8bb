//! `save`.

use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt;

use super::platform;
use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::session::Session;

pub const SAVE: &[Flag] = &[
    Flag::new(
        "output",
        Kind::String,
        "Write to a file, not to standard output",
    )
    .short('o'),
    Flag::new(
        "platform",
        Kind::List,
        "Save only the images of these platforms (os[/arch[/variant]], with commas between)",
    ),
];

/// What is written at once.
const CHUNK: usize = 256 * 1024;

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let platforms = platform::several(args)?;
    let output = match args.nonempty("output") {
        Some(path) => Some(target(path)?),
        None if io::stdout().is_terminal() => {
            return Err(message(
                "cowardly refusing to save to a terminal. Use the -o flag or redirect",
            ));
        }
        None => None,
    };
    let client = session.client().await?;
    let mut archive = client.image_save(&args.rest, &platforms).await?;
    let Some(path) = output else {
        return copy(&mut archive, &mut io::stdout().lock()).await;
    };
    // Beside its place until it is whole: an archive that was there stays if this fails.
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new()
        .prefix(".save-")
        .tempfile_in(directory)
        .map_err(|e| failed(&e))?;
    copy(&mut archive, &mut file).await?;
    file.as_file().sync_all().map_err(|e| failed(&e))?;
    file.persist(&path).map_err(|e| failed(&e.error))?;
    Ok(())
}

async fn copy(from: &mut (impl tokio::io::AsyncRead + Unpin), to: &mut impl Write) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return Ok(to.flush()?);
        }
        to.write_all(&buffer[..n])?;
    }
}

fn failed(why: &dyn std::fmt::Display) -> crate::error::Error {
    message(format!("failed to save image: {why}"))
}

/// Where a file is to be written: through links, in a directory that is there.
fn target(path: &str) -> Result<PathBuf> {
    let given = Path::new(path);
    if let Ok(found) = std::fs::metadata(given) {
        let kind = found.file_type();
        let other = match () {
            () if kind.is_file() => return std::fs::canonicalize(given).map_err(|e| failed(&e)),
            () if kind.is_dir() => "a directory",
            () if kind.is_fifo() => "a named pipe file",
            () if kind.is_socket() => "a socket file",
            () => "a device file",
        };
        return Err(failed(&format!(
            "invalid output path: cannot write to {other}: {path}"
        )));
    }
    let directory = match given.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let name = given
        .file_name()
        .ok_or_else(|| failed(&format!("invalid output path: {path:?} names no file")))?;
    let directory = std::fs::canonicalize(directory).map_err(|_| {
        failed(&format!(
            "invalid output path: directory {directory:?} does not exist"
        ))
    })?;
    Ok(directory.join(name))
}
