//! Paths of this machine: what they lead to, with Docker's rules of when a link is followed.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use dhow_archive::{Root, words};

use super::plan::{Copied, Destination, Source};
use crate::error::{Result, message};

/// More links than this are taken for a circle.
const LINKS_MAX: u32 = 10;

/// A system's error in Go's words: `lstat /x: no such file or directory`.
fn failed(call: &'static str, path: &str) -> impl FnOnce(io::Error) -> crate::error::Error {
    move |source| {
        let what = format!("{call} {path}");
        message(dhow_archive::ArchiveError::File { what, source }.to_string())
    }
}

/// From the root, and with the end that it had.
pub fn absolute(path: &str) -> Result<String> {
    let absolute = match path.starts_with('/') {
        true => words::clean(path),
        false => {
            let here = std::env::current_dir()?;
            words::join(&here.to_string_lossy(), path)
        }
    };
    Ok(words::with_end_of(absolute, path))
}

/// Refuses a destination that can be none before the daemon is asked for anything.
pub fn check_output(path: &str) -> Result<()> {
    let cleaned = words::clean(path);
    let above = words::split(&cleaned).0;
    let is_missing = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
    if fs::metadata(&above).is_err_and(|e| is_missing(&e)) {
        return Err(message(format!(
            "invalid output path: directory {above:?} does not exist"
        )));
    }
    let kind = match fs::metadata(path) {
        Ok(found) => found.file_type(),
        Err(e) if is_missing(&e) => return Ok(()),
        Err(e) => return Err(failed("stat", path)(e)),
    };
    let wrong = if kind.is_block_device() || kind.is_char_device() {
        "got a device"
    } else if kind.is_fifo() || kind.is_socket() {
        "got an irregular file"
    } else {
        return Ok(());
    };
    Err(message(format!(
        "invalid output path: {path:?} must be a directory or a regular file: {wrong}"
    )))
}

/// What is to be copied. Links on the way are followed, and the last one if `follow` is set or the path says that
/// it is a directory.
pub fn source(path: &str, follow: bool) -> Result<Source> {
    let resolve = |path: &str| match fs::canonicalize(path) {
        Ok(resolved) => Ok(resolved.to_string_lossy().into_owned()),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => Err(message("not a directory")),
        Err(e) => Err(failed("lstat", &missing(path))(e)),
    };
    let (resolved, rename) = if follow {
        words::followed(path, resolve(path)?)
    } else {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let resolved = format!("{}/{name}", resolve(&format!("{above}/"))?);
        let renamed = path.ends_with('/') && words::base(path) != words::base(&resolved);
        (resolved, renamed.then(|| words::base(path).to_owned()))
    };
    let found = fs::symlink_metadata(&resolved).map_err(failed("lstat", &resolved))?;
    Ok(Source {
        path: resolved,
        is_directory: found.is_dir(),
        rename,
    })
}

/// What of a path is not there, links followed.
fn missing(path: &str) -> String {
    let followed = Root::own().and_then(|root| Ok(root.follow(Path::new(path))?));
    let followed = followed.unwrap_or_else(|_| path.into());
    let first = followed
        .ancestors()
        .take_while(|place| fs::symlink_metadata(place).is_err())
        .last();
    first.unwrap_or(&followed).display().to_string()
}

/// Where something is to be copied to. A link is followed, also to where nothing is yet.
pub fn destination(path: &str) -> Result<Destination> {
    let mut place = path.to_owned();
    let mut links = 0;
    loop {
        match fs::symlink_metadata(&place) {
            Ok(found) if found.is_symlink() => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(message(format!("too many symlinks in {path}")));
                }
                let target = fs::read_link(&place).map_err(failed("readlink", &place))?;
                let target = target.to_string_lossy().into_owned();
                place = match target.starts_with('/') {
                    true => target,
                    false => words::join(&words::split(&place).0, &target),
                };
            }
            Ok(found) => {
                let is = match found.is_dir() {
                    true => Copied::Directory,
                    false => Copied::Other,
                };
                return Ok(Destination {
                    path: place,
                    is: Some(is),
                });
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let above = words::split(&place).0;
                if !fs::metadata(&above)
                    .map_err(failed("stat", &above))?
                    .is_dir()
                {
                    return Err(message("not a directory"));
                }
                return Ok(Destination {
                    path: place,
                    is: None,
                });
            }
            Err(e) => return Err(failed("lstat", &place)(e)),
        }
    }
}

/// Bytes of the files at a path.
pub fn contents(path: &Path) -> io::Result<u64> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() {
        return Ok(if found.is_file() { found.len() } else { 0 });
    }
    let mut total = 0;
    let mut ahead = vec![path.to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                ahead.push(entry.path());
            } else if kind.is_file() {
                total += entry.metadata()?.len();
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_where_the_path_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        let at = |name: &str| format!("{}/{name}", dir.display());
        fs::create_dir(at("real")).unwrap();
        fs::write(at("real/file"), "12345").unwrap();
        symlink("real", at("link")).unwrap();
        let seen = |path: &str, follow| {
            let source = source(&at(path), follow).unwrap();
            (
                source.path.replace(&at(""), ""),
                source.is_directory,
                source.rename,
            )
        };
        assert_eq!(seen("link", false), ("link".into(), false, None));
        let renamed = Some("link".to_owned());
        assert_eq!(seen("link", true), ("real".into(), true, renamed.clone()));
        assert_eq!(seen("link/", false), ("real/".into(), true, renamed));
        assert_eq!(seen("link/.", false), ("real/.".into(), true, None));
        assert_eq!(seen("link/file", false), ("real/file".into(), false, None));
        assert_eq!(contents(Path::new(&at("real"))).unwrap(), 5);
        assert_eq!(
            source(&at("none"), false).unwrap_err().to_string(),
            format!("lstat {}: no such file or directory", at("none"))
        );
    }

    #[test]
    fn destinations_need_not_exist() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| format!("{}/{name}", dir.path().display());
        symlink("new", at("link")).unwrap();
        symlink("circle", at("circle")).unwrap();
        let found = destination(&at("link")).unwrap();
        assert_eq!((found.path, found.is), (at("new"), None));
        assert!(destination(&at("circle")).is_err());
        assert!(destination(&at("none/x")).is_err());
        let error = check_output(&at("none/x")).unwrap_err().to_string();
        assert!(error.ends_with("none\" does not exist"), "{error}");
        let error = check_output("/dev/null").unwrap_err().to_string();
        assert!(error.ends_with("must be a directory or a regular file: got a device"));
    }
}
