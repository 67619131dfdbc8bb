//! A file that a command writes as a whole: made beside its place, and moved there when all is in it. What was there
//! before stays until then, and for good if the command fails.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

#[derive(Debug)]
pub struct OutputFile {
    file: NamedTempFile,
    place: PathBuf,
}

impl OutputFile {
    /// Refuses a place that is no file's, in Docker's words. The file is its owner's alone.
    pub fn create(path: &str) -> io::Result<OutputFile> {
        let invalid = |why: String| io::Error::other(format!("invalid output path: {why}"));
        // A link keeps leading to its file.
        let place = fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
        let parent = match place.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        if !parent.exists() {
            return Err(invalid(format!(
                "directory {:?} does not exist",
                parent.display().to_string()
            )));
        }
        match fs::metadata(&place) {
            Ok(found) if found.is_dir() => {
                return Err(invalid(format!("{path:?} is a directory")));
            }
            Ok(found) if !found.is_file() => {
                return Err(invalid(format!("{path:?} must be a regular file")));
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let file = tempfile::Builder::new()
            .prefix(".dhow-")
            .tempfile_in(parent)?;
        Ok(OutputFile { file, place })
    }

    /// Moves it to its place.
    pub fn keep(self) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        self.file.persist(&self.place)?;
        Ok(())
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn create(path: &Path) -> io::Result<OutputFile> {
        OutputFile::create(path.to_str().unwrap())
    }

    #[test]
    fn what_was_there_stays_until_all_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "old").unwrap();
        symlink("file", &link).unwrap();
        let mut output = create(&link).unwrap();
        output.write_all(b"new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
        output.keep().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(link.is_symlink());
        drop(create(&dir.path().join("never")).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn places_that_are_no_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = |path: &Path| create(path).unwrap_err().to_string();
        assert!(error(dir.path()).ends_with("is a directory"));
        assert!(error(Path::new("/dev/null")).ends_with("must be a regular file"));
        let missing = dir.path().join("no/file");
        assert!(error(&missing).ends_with("/no\" does not exist"));
    }
}
