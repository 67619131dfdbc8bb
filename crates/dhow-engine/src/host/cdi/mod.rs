//! Devices that vendors describe in files, with all that a container needs for them (the Container Device Interface,
//! SPEC.md): where the files are looked for, and what is in them now.
//!
//! They are read anew each time that devices are asked for: who installs a driver expects that its devices are there.
//! A file that can't be read is no reason not to use the others; of two files that name the same device the one in the
//! later directory counts, and in one directory neither.

pub mod document;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use document::{Document, Edits};

/// Bytes of a file. Real ones have some ten thousand.
const MAX_FILE: u64 = 8 << 20;

/// Files of a directory.
const MAX_FILES: usize = 1024;

/// Where they are looked for unless something else is configured: what is installed, then what is made at run time.
pub const DEFAULT_DIRS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// The devices that are described now.
#[derive(Debug, Default)]
pub struct Devices {
    devices: BTreeMap<String, Device>,
    /// What a file gives all of its devices.
    files: Vec<Edits>,
    pub vendors: BTreeSet<String>,
    /// What is wrong, and with which file.
    pub errors: Vec<(PathBuf, String)>,
}

#[derive(Debug)]
struct Device {
    /// The directory's place in their list.
    priority: usize,
    path: PathBuf,
    file: usize,
    edits: Edits,
    /// Another file of the same priority has it as well.
    conflicts: bool,
}

impl Devices {
    /// Reads the directories. Blocks.
    pub fn read(dirs: &[PathBuf]) -> Devices {
        let mut all = Devices::default();
        for (priority, dir) in dirs.iter().enumerate() {
            match specifications(dir) {
                Ok(paths) => paths.into_iter().for_each(|path| all.add(path, priority)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => all.errors.push((dir.clone(), e.to_string())),
            }
        }
        all.devices.retain(|_, device| !device.conflicts);
        all
    }

    fn add(&mut self, path: PathBuf, priority: usize) {
        let document = match read(&path) {
            Ok(document) => document,
            Err(why) => {
                let why = format!("failed to load CDI Spec {path:?}: {why}");
                return self.errors.push((path, why));
            }
        };
        let (vendor, class) = document.vendor_and_class();
        self.vendors.insert(vendor.to_owned());
        let file = self.files.len();
        for device in &document.devices {
            let name = format!("{vendor}/{class}={}", device.name);
            if let Some(other) = self.devices.get_mut(&name)
                && other.priority == priority
            {
                other.conflicts = true;
                let why = format!(
                    "conflicting device {name:?} (specs {path:?}, {:?})",
                    other.path
                );
                self.errors.push((other.path.clone(), why.clone()));
                self.errors.push((path.clone(), why));
                continue;
            }
            let device = Device {
                priority,
                path: path.clone(),
                file,
                edits: device.container_edits.clone(),
                conflicts: false,
            };
            self.devices.insert(name, device);
        }
        self.files.push(document.container_edits);
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.devices.keys().map(String::as_str)
    }

    /// All that a container gets with these devices; else the names that nothing is known of.
    pub fn edits(&self, names: &[String]) -> Result<Edits, Vec<String>> {
        let mut edits = Edits::default();
        let (mut seen, mut files) = (BTreeSet::new(), BTreeSet::new());
        let mut unknown = Vec::new();
        for name in names {
            let Some(device) = self.devices.get(name) else {
                unknown.push(name.clone());
                continue;
            };
            if files.insert(device.file) {
                edits.append(&self.files[device.file]);
            }
            if seen.insert(name) {
                edits.append(&device.edits);
            }
        }
        match unknown.is_empty() {
            true => Ok(edits),
            false => Err(unknown),
        }
    }
}

/// The files of a directory that may be specifications, in the order of their names.
fn specifications(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let is_one = path.extension().is_some_and(|e| e == "json" || e == "yaml");
        if is_one && !path.is_dir() {
            paths.push(path);
        }
        if paths.len() > MAX_FILES {
            return Err(std::io::Error::other(format!(
                "there are more than {MAX_FILES} specifications"
            )));
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Document, String> {
    let mut options = File::options();
    // It may be a pipe that nobody writes to.
    options
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
    let file = options.open(path).map_err(|e| e.to_string())?;
    let meta = file.metadata().map_err(|e| e.to_string())?;
    if !meta.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut text = String::new();
    file.take(MAX_FILE + 1)
        .read_to_string(&mut text)
        .map_err(|e| e.to_string())?;
    if text.len() as u64 > MAX_FILE {
        return Err(format!("it is larger than {} MiB", MAX_FILE >> 20));
    }
    Document::parse(&text, path.extension().is_some_and(|e| e == "json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str, kind: &str, devices: &str, edits: &str) {
        let text = format!(
            r#"{{"cdiVersion":"0.6.0","kind":"{kind}","devices":[{devices}],"containerEdits":{edits}}}"#
        );
        std::fs::write(dir.join(name), text).unwrap();
    }

    fn device(name: &str, variable: &str) -> String {
        format!(r#"{{"name":"{name}","containerEdits":{{"env":["{variable}"]}}}}"#)
    }

    #[test]
    fn later_directories_win_and_equals_cancel_out() {
        let (etc, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let two = format!("{},{}", device("a", "A=etc"), device("b", "B=etc"));
        write(
            etc.path(),
            "one.json",
            "v.com/c",
            &two,
            r#"{"env":["ALL=etc"]}"#,
        );
        write(
            run.path(),
            "one.json",
            "v.com/c",
            &device("a", "A=run"),
            "{}",
        );
        write(run.path(), "two.json", "w.com/c", &device("x", "X=1"), "{}");
        write(
            run.path(),
            "three.json",
            "w.com/c",
            &device("x", "X=2"),
            "{}",
        );
        std::fs::write(run.path().join("bad.yaml"), "kind: [").unwrap();
        std::fs::write(run.path().join("notes.txt"), "none of it").unwrap();
        let dirs = [etc.path(), run.path(), Path::new("/no/such")].map(Path::to_owned);
        let all = Devices::read(&dirs);
        assert_eq!(all.names().collect::<Vec<_>>(), ["v.com/c=a", "v.com/c=b"]);
        assert_eq!(all.errors.len(), 3, "{:?}", all.errors);
        let names = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        let edits = all.edits(&names(&["v.com/c=b", "v.com/c=a", "v.com/c=b"]));
        assert_eq!(edits.unwrap().env, ["ALL=etc", "B=etc", "A=run"]);
        let unknown = all.edits(&names(&["v.com/c=b", "w.com/c=x", "w.com/c=y"]));
        assert_eq!(unknown.unwrap_err(), ["w.com/c=x", "w.com/c=y"]);
    }
}
