//! The program to run: its directory, its environment, and where it is, with the words that Docker's users
//! know (Go's os/exec LookPath and runc's).

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Process;
use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;

use super::{failed, resolve, unfit};
use crate::protocol::StartError;

pub(crate) struct Program {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

/// Creates the working directory beneath the container's root.
pub(crate) fn create_directory(root: &OwnedFd, cwd: &Path) -> Result<(), StartError> {
    if cwd.as_os_str().is_empty() {
        return Ok(());
    }
    resolve::create(root, cwd, true)
        .map(drop)
        .map_err(unfit(format!(
            "creating the working directory {}",
            cwd.display()
        )))
}

/// Enters the working directory, which must be in the container: a descriptor's magic link could lead out.
pub(crate) fn enter(cwd: &Path) -> Result<(), StartError> {
    let cwd = if cwd.as_os_str().is_empty() {
        Path::new("/")
    } else {
        cwd
    };
    rustix::process::chdir(cwd).map_err(|error| {
        let message = format!(
            "chdir to cwd ({:?}) set in config.json failed: {}",
            cwd.display().to_string(),
            words(error)
        );
        match error {
            Errno::NOENT | Errno::NOTDIR => StartError::NotFound(message),
            Errno::ACCESS | Errno::LOOP | Errno::NAMETOOLONG => StartError::NotExecutable(message),
            _ => StartError::Other(message),
        }
    })?;
    match rustix::process::getcwd(Vec::new()) {
        Ok(now) if now.as_bytes().starts_with(b"/") => Ok(()),
        _ => Err(StartError::Other("current working directory is outside of container mount namespace root -- possible container breakout detected".into())),
    }
}

/// An error in the words of Go's syscall package, which scripts look for.
pub(crate) fn words(error: Errno) -> String {
    match error {
        Errno::NOENT => "no such file or directory".into(),
        Errno::ACCESS => "permission denied".into(),
        Errno::NOTDIR => "not a directory".into(),
        Errno::ISDIR => "is a directory".into(),
        Errno::NOEXEC => "exec format error".into(),
        Errno::LOOP => "too many levels of symbolic links".into(),
        Errno::NAMETOOLONG => "file name too long".into(),
        Errno::TOOBIG => "argument list too long".into(),
        Errno::TXTBSY => "text file busy".into(),
        Errno::NOMEM => "cannot allocate memory".into(),
        Errno::PERM => "operation not permitted".into(),
        Errno::INVAL => "invalid argument".into(),
        Errno::RANGE => "numerical result out of range".into(),
        Errno::EXIST => "file exists".into(),
        Errno::ROFS => "read-only file system".into(),
        other => io::Error::from(other).to_string(),
    }
}

impl Program {
    pub fn find(process: &Process) -> Result<Self, StartError> {
        let arguments = process.args().as_deref().unwrap_or_default();
        let name = arguments
            .first()
            .ok_or_else(|| StartError::NotFound("no command specified".into()))?;
        let environment = environment(process.env().as_deref().unwrap_or_default());
        let search = environment
            .iter()
            .find_map(|entry| entry.strip_prefix("PATH="))
            .unwrap_or_default();
        let path = look_up(name, search)?;
        let c_string = |value: &str| {
            CString::new(value)
                .map_err(|_| StartError::Other(format!("{value:?} contains a NUL byte")))
        };
        Ok(Self {
            path: CString::new(path.as_os_str().as_bytes()).map_err(failed("the command"))?,
            arguments: arguments
                .iter()
                .map(|value| c_string(value))
                .collect::<Result<_, _>>()?,
            environment: environment
                .iter()
                .map(|value| c_string(value))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Becomes the program; comes back only with the reason why not.
    pub fn exec(&self) -> StartError {
        let pointers = |strings: &[CString]| {
            strings
                .iter()
                .map(|string| string.as_ptr())
                .chain([std::ptr::null()])
                .collect::<Vec<_>>()
        };
        let (arguments, environment) = (pointers(&self.arguments), pointers(&self.environment));
        // SAFETY: the path is a C string and both arrays of C strings end with a null pointer.
        unsafe { libc::execve(self.path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
        let error = io::Error::last_os_error();
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let message = format!("exec {}: {}", self.path.to_string_lossy(), words(errno));
        match errno {
            Errno::NOENT => StartError::NotFound(message),
            Errno::ACCESS
            | Errno::NOEXEC
            | Errno::ISDIR
            | Errno::NOTDIR
            | Errno::PERM
            | Errno::LOOP
            | Errno::NAMETOOLONG
            | Errno::TOOBIG => StartError::NotExecutable(message),
            _ => StartError::Other(message),
        }
    }
}

/// The environment as it was asked for, the last of several of a name.
fn environment(asked: &[String]) -> Vec<String> {
    let name = |entry: &String| entry.split('=').next().unwrap_or_default().to_owned();
    let mut seen = std::collections::HashSet::new();
    let mut environment: Vec<String> = asked
        .iter()
        .rev()
        .filter(|entry| seen.insert(name(entry)))
        .cloned()
        .collect();
    environment.reverse();
    environment
}

fn look_up(name: &str, search: &str) -> Result<PathBuf, StartError> {
    if name.contains('/') {
        return match executable(Path::new(name)) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(errno) => {
                let reason = match errno {
                    Errno::NOENT | Errno::NOTDIR | Errno::LOOP => {
                        format!("stat {name}: {}", words(errno))
                    }
                    errno => words(errno),
                };
                let message = format!("exec: {name:?}: {reason}");
                Err(match errno {
                    Errno::NOENT => StartError::NotFound(message),
                    _ => StartError::NotExecutable(message),
                })
            }
        };
    }
    let directories = search
        .split(':')
        .map(|directory| if directory.is_empty() { "." } else { directory });
    directories
        .filter(|_| !name.is_empty())
        .map(|directory| Path::new(directory).join(OsStr::new(name)))
        .find(|candidate| executable(candidate).is_ok())
        .ok_or_else(|| {
            StartError::NotFound(format!(
                "exec: {name:?}: executable file not found in $PATH"
            ))
        })
}

/// Whether the path is a file that may be executed.
fn executable(path: &Path) -> Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    match rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        Ok(()) => Ok(()),
        // An old kernel or a filter without faccessat2: the mode bits tell as much.
        Err(Errno::NOSYS | Errno::PERM) if stat.st_mode & 0o111 != 0 => Ok(()),
        Err(_) => Err(Errno::ACCESS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_dockers() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("text"), "x").unwrap();
        std::fs::create_dir(path("directory")).unwrap();
        let error = |name: &str| look_up(name, "/nowhere").unwrap_err();
        let missing = path("missing");
        assert!(
            matches!(error(&missing), StartError::NotFound(m) if m == format!("exec: \"{missing}\": stat {missing}: no such file or directory"))
        );
        let directory = path("directory");
        assert!(
            matches!(error(&directory), StartError::NotExecutable(m) if m == format!("exec: \"{directory}\": is a directory"))
        );
        let text = path("text");
        assert!(
            matches!(error(&text), StartError::NotExecutable(m) if m == format!("exec: \"{text}\": permission denied"))
        );
        assert!(
            matches!(error("foo"), StartError::NotFound(m) if m == "exec: \"foo\": executable file not found in $PATH")
        );
        assert!(look_up("true", "/nowhere:/bin:/usr/bin").is_ok());
    }

    #[test]
    fn the_last_of_a_name_counts() {
        let asked = ["A=1", "B=2", "A=3"].map(String::from);
        assert_eq!(environment(&asked), ["B=2", "A=3"]);
    }
}
