//! Contexts: named daemons, kept beneath `contexts` in the configuration's directory as Docker's own client
//! keeps them, so that each reads what the other wrote. A context is `meta/<sha256 of its name>/meta.json`,
//! and for TLS `tls/<the same>/<endpoint>/{ca,cert,key}.pem`.
//!
//! Members that this program does not know stay as they are. A reader never sees half a file.

pub mod archive;
pub mod choice;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::{Result, message, system_text};

/// The context that is not kept: what the environment and the flags say.
pub const DEFAULT: &str = "default";

/// The endpoint that is a daemon; others (of orchestrators, in old files) are kept but not used.
pub const ENDPOINT: &str = "docker";

pub const META: &str = "meta.json";

/// The files of an endpoint's TLS material.
pub const CA: &str = "ca.pem";
pub const CERT: &str = "cert.pem";
pub const KEY: &str = "key.pem";

/// What is kept of a context, but for its TLS material.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Metadata {
    pub name: String,
    pub metadata: Map<String, Value>,
    pub endpoints: Map<String, Value>,
}

impl Metadata {
    /// A context with this daemon.
    pub fn new(name: &str, host: &str, skip_verify: bool) -> Metadata {
        let mut made = Metadata {
            name: name.to_owned(),
            ..Metadata::default()
        };
        made.set_daemon(host, skip_verify);
        made
    }

    pub fn set_daemon(&mut self, host: &str, skip_verify: bool) {
        let mut endpoint = Map::new();
        if !host.is_empty() {
            endpoint.insert("Host".into(), host.into());
        }
        endpoint.insert("SkipTLSVerify".into(), skip_verify.into());
        self.endpoints.insert(ENDPOINT.into(), endpoint.into());
    }

    /// Where the daemon is, if the context says.
    pub fn host(&self) -> Option<&str> {
        self.endpoints.get(ENDPOINT)?.get("Host")?.as_str()
    }

    pub fn skips_verification(&self) -> bool {
        let endpoint = self.endpoints.get(ENDPOINT);
        endpoint.and_then(|e| e.get("SkipTLSVerify")) == Some(&Value::Bool(true))
    }

    pub fn description(&self) -> &str {
        let description = self.metadata.get("Description");
        description.and_then(Value::as_str).unwrap_or_default()
    }

    pub fn describe(&mut self, description: &str) {
        self.metadata
            .insert("Description".into(), description.into());
    }
}

/// The TLS material of a context: files by name, by endpoint.
pub type TlsMaterial = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// The contexts of one configuration.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// Whether a context may be kept under this name; the sentences are Docker's.
pub fn check_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(message("context name cannot be empty"));
    }
    if name == DEFAULT {
        return Err(message("\"default\" is a reserved context name"));
    }
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let rest = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_.+-".contains(c));
    if !begins || !rest || name.len() < 2 {
        return Err(message(format!(
            "context name {name:?} is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\""
        )));
    }
    Ok(())
}

fn failed(action: &str, path: &Path, error: &io::Error) -> crate::error::Error {
    message(format!(
        "{action} {}: {}",
        path.display(),
        system_text(error)
    ))
}

impl Store {
    /// The contexts kept beneath a configuration's directory.
    pub fn new(directory: &Path) -> Store {
        Store {
            root: directory.join("contexts"),
        }
    }

    /// Where a context's `meta.json` is.
    pub fn meta_directory(&self, name: &str) -> PathBuf {
        self.root.join("meta").join(hashed(name))
    }

    /// Where its certificates and key are.
    pub fn tls_directory(&self, name: &str) -> PathBuf {
        self.root.join("tls").join(hashed(name))
    }

    pub fn exists(&self, name: &str) -> bool {
        self.meta_directory(name).exists()
    }

    /// What is known of a context. Fails, in Docker's words, where there is none.
    pub fn read(&self, name: &str) -> Result<Metadata> {
        let path = self.meta_directory(name).join(META);
        let text = fs::read(&path).map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::NotFound => "context not found: ",
                _ => "",
            };
            message(format!(
                "context {name:?}: {kind}open {}: {}",
                path.display(),
                system_text(&error)
            ))
        })?;
        serde_json::from_slice(&text).map_err(|error| {
            message(format!(
                "context {name:?}: {} is not valid: {error}",
                path.display()
            ))
        })
    }

    /// All that are kept, in no order; one that can't be read is an error, whose text names the file.
    pub fn list(&self) -> Result<Vec<Metadata>> {
        let directory = self.root.join("meta");
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("open", &directory, &error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry?.path().join(META);
            let text = match fs::read(&path) {
                Ok(text) => text,
                // Somebody removed it just now, or it never was a context.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
                {
                    continue;
                }
                Err(error) => return Err(failed("open", &path, &error)),
            };
            let metadata: Metadata = serde_json::from_slice(&text)
                .map_err(|error| message(format!("{} is not valid: {error}", path.display())))?;
            found.push(metadata);
        }
        Ok(found)
    }

    /// Puts it in place of what was there, by rename.
    pub fn write(&self, metadata: &Metadata) -> Result<()> {
        let directory = self.meta_directory(&metadata.name);
        fs::create_dir_all(&directory).map_err(|e| failed("mkdir", &directory, &e))?;
        let text = serde_json::to_vec(metadata).map_err(|error| message(error.to_string()))?;
        write_file(&directory.join(META), &text, 0o644)
    }

    /// Removes it with its certificates. Fails, in Docker's words, where there is none.
    pub fn remove(&self, name: &str) -> Result<()> {
        for directory in [self.meta_directory(name), self.tls_directory(name)] {
            match fs::remove_dir_all(&directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove", &directory, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The names of the TLS files, by endpoint.
    pub fn tls_names(&self, name: &str) -> Result<BTreeMap<String, Vec<String>>> {
        let mut all = BTreeMap::new();
        for (endpoint, directory) in names_in(&self.tls_directory(name))? {
            let mut files: Vec<String> =
                names_in(&directory)?.into_iter().map(|(n, _)| n).collect();
            files.sort();
            all.insert(endpoint, files);
        }
        Ok(all)
    }

    /// The contents of its certificates and key, as far as there are any.
    pub fn read_tls(&self, name: &str) -> Result<TlsMaterial> {
        let mut all = TlsMaterial::new();
        for (endpoint, files) in self.tls_names(name)? {
            let mut material = BTreeMap::new();
            for file in files {
                let path = self.tls_directory(name).join(&endpoint).join(&file);
                let text = fs::read(&path).map_err(|e| failed("open", &path, &e))?;
                material.insert(file, text);
            }
            all.insert(endpoint, material);
        }
        Ok(all)
    }

    /// Gives one endpoint exactly these files, which may be none.
    pub fn reset_tls(
        &self,
        name: &str,
        endpoint: &str,
        material: &BTreeMap<String, Vec<u8>>,
    ) -> Result<()> {
        let directory = self.tls_directory(name).join(endpoint);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &directory, &error));
            }
            _ => {}
        }
        if material.is_empty() {
            // The last endpoint takes the directory with it.
            let _ = fs::remove_dir(self.tls_directory(name));
            return Ok(());
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|e| failed("mkdir", &directory, &e))?;
        for (file, text) in material {
            write_file(&directory.join(file), text, 0o600)?;
        }
        Ok(())
    }
}

fn hashed(name: &str) -> String {
    hex::encode(Sha256::digest(name.as_bytes()))
}

fn names_in(directory: &Path) -> Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("open", directory, &error)),
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            all.push((name, entry.path()));
        }
    }
    Ok(all)
}

fn write_file(path: &Path, text: &[u8], mode: u32) -> Result<()> {
    let write = || -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(mode))
            .tempfile_in(parent)?;
        file.write_all(text)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|error| failed("write", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_docker_takes() {
        for good in ["ab", "a.b", "A_1", "0+-"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "default", "-a", "a/b", "a b", "ä1", "..", "a\n"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_context_comes_back_with_what_is_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        assert!(store.list().unwrap().is_empty());
        let text = r#"{"Name":"aa","Metadata":{"Description":"d","Mine":[1]},"Endpoints":{"docker":{"Host":"tcp://h:1","SkipTLSVerify":true},"kubernetes":{"x":1}}}"#;
        let metadata: Metadata = serde_json::from_str(text).unwrap();
        assert_eq!(
            (metadata.host(), metadata.description()),
            (Some("tcp://h:1"), "d")
        );
        assert!(metadata.skips_verification());
        store.write(&metadata).unwrap();
        assert_eq!(store.read("aa").unwrap(), metadata);
        // The sha256 of the name, as Docker has it.
        let path = dir.path().join("contexts/meta/961b6dd3ede3cb8ecbaacbd68de040cd78eb2ed5889130cceb4c49268ea4d506/meta.json");
        assert_eq!(fs::read_to_string(path).unwrap(), text);
        let files = BTreeMap::from([(CA.to_owned(), b"x".to_vec())]);
        store.reset_tls("aa", ENDPOINT, &files).unwrap();
        assert_eq!(store.read_tls("aa").unwrap()[ENDPOINT], files);
        let mode = fs::metadata(store.tls_directory("aa").join("docker/ca.pem")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        store.reset_tls("aa", ENDPOINT, &BTreeMap::new()).unwrap();
        assert!(!store.tls_directory("aa").exists());
        store.remove("aa").unwrap();
        assert!(!store.exists("aa"));
        let missing = store.read("aa").unwrap_err().to_string();
        assert!(
            missing.starts_with("context \"aa\": context not found: open "),
            "{missing}"
        );
        assert!(
            missing.ends_with("meta.json: no such file or directory"),
            "{missing}"
        );
    }
}
