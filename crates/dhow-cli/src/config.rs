//! The client's configuration: `config.json`, which is Docker's own file and is kept as it is but for
//! what `login` and `logout` change.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dhow_api::AuthConfig;
use serde_json::{Map, Value};

use crate::error::{Result, message};

/// The file, with every member it has.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    root: Map<String, Value>,
}

/// The directory of `--config`, `DOCKER_CONFIG` or `~/.docker`.
pub fn directory(flag: Option<&str>) -> PathBuf {
    if let Some(path) = flag {
        return PathBuf::from(path);
    }
    if let Some(path) = env::var_os("DOCKER_CONFIG").filter(|path| !path.is_empty()) {
        return PathBuf::from(path);
    }
    let home = env::var_os("HOME").unwrap_or_else(|| "/root".into());
    Path::new(&home).join(".docker")
}

impl ConfigFile {
    /// Reads the file; one that is not there is empty.
    pub fn load(directory: &Path) -> Result<ConfigFile> {
        let path = directory.join("config.json");
        let root = match fs::read(&path) {
            Ok(text) if text.iter().all(u8::is_ascii_whitespace) => Map::new(),
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                message(format!(
                    "the configuration file {} is not valid: {error}",
                    path.display()
                ))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Map::new(),
            Err(error) => {
                return Err(message(format!(
                    "the configuration file {} can't be read: {error}",
                    path.display()
                )));
            }
        };
        Ok(ConfigFile { path, root })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.root
            .get(name)?
            .as_str()
            .filter(|text| !text.is_empty())
    }

    /// Sets a member, or takes it away.
    pub fn set_text(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => {
                self.root.insert(name.to_owned(), value.into());
            }
            None => {
                self.root.shift_remove(name);
            }
        }
    }

    /// A member that is a map of strings.
    pub fn map(&self, name: &str) -> BTreeMap<&str, &str> {
        let members = self.root.get(name).and_then(Value::as_object);
        members
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
            .collect()
    }

    /// A member that is a list of strings.
    pub fn list(&self, name: &str) -> Vec<&str> {
        let members = self.root.get(name).and_then(Value::as_array);
        members
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    /// The proxy settings for containers of a daemon (`proxies`), as environment variables.
    pub fn proxy_environment(&self, host: &str) -> Vec<(String, String)> {
        let Some(proxies) = self.root.get("proxies").and_then(Value::as_object) else {
            return Vec::new();
        };
        let settings = proxies.get(host).or_else(|| proxies.get("default"));
        let names = [
            ("httpProxy", "HTTP_PROXY"),
            ("httpsProxy", "HTTPS_PROXY"),
            ("ftpProxy", "FTP_PROXY"),
            ("noProxy", "NO_PROXY"),
            ("allProxy", "ALL_PROXY"),
        ];
        let mut variables = Vec::new();
        for (member, name) in names {
            let value = settings.and_then(|s| s.get(member)).and_then(Value::as_str);
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                variables.push((name.to_owned(), value.to_owned()));
                variables.push((name.to_lowercase(), value.to_owned()));
            }
        }
        variables
    }

    /// What `auths` keeps for a registry.
    pub fn auth(&self, registry: &str) -> Option<AuthConfig> {
        let auths = self.root.get("auths")?.as_object()?;
        let entry = auths.get(registry).or_else(|| {
            // Older files have whole URLs as keys.
            auths
                .iter()
                .find(|(key, _)| host_of(key) == host_of(registry))
                .map(|(_, value)| value)
        })?;
        let mut auth: AuthConfig = serde_json::from_value(entry.clone()).ok()?;
        if !auth.auth.is_empty() {
            let decoded = STANDARD.decode(auth.auth.trim_end_matches('\0')).ok()?;
            let text = String::from_utf8(decoded).ok()?;
            let (name, password) = text.split_once(':')?;
            auth.username = name.to_owned();
            auth.password = password.trim_end_matches('\0').to_owned();
            auth.auth = String::new();
        }
        auth.serveraddress = registry.to_owned();
        Some(auth)
    }

    /// The program that keeps credentials of a registry, if one does.
    pub fn credential_helper(&self, registry: &str) -> Option<&str> {
        let helpers = self.map("credHelpers");
        helpers
            .get(registry)
            .copied()
            .filter(|name| !name.is_empty())
            .or_else(|| self.text("credsStore"))
    }

    fn auths(&mut self) -> &mut Map<String, Value> {
        let entry = self
            .root
            .entry("auths")
            .or_insert_with(|| Value::Object(Map::new()));
        if !entry.is_object() {
            *entry = Value::Object(Map::new());
        }
        match entry {
            Value::Object(map) => map,
            _ => unreachable!("it was made an object above"),
        }
    }

    /// Keeps credentials in the file itself; without any, only that there are some elsewhere.
    pub fn set_auth(&mut self, registry: &str, auth: Option<&AuthConfig>) {
        let mut entry = Map::new();
        if let Some(auth) = auth {
            if auth.identitytoken.is_empty() {
                let pair = format!("{}:{}", auth.username, auth.password);
                entry.insert("auth".into(), STANDARD.encode(pair).into());
            } else {
                let pair = format!("{}:", auth.username);
                entry.insert("auth".into(), STANDARD.encode(pair).into());
                entry.insert("identitytoken".into(), auth.identitytoken.clone().into());
            }
        }
        self.auths()
            .insert(registry.to_owned(), Value::Object(entry));
    }

    pub fn remove_auth(&mut self, registry: &str) {
        self.auths().remove(registry);
    }

    /// Writes the file, of which a reader never sees half, for its owner only.
    pub fn save(&self) -> Result<()> {
        let failed =
            |error: io::Error| message(format!("could not write {}: {error}", self.path.display()));
        // A link to the file stays one.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let parent = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(failed)?;
        let mut text = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
        serde::Serialize::serialize(&self.root, &mut serializer)
            .map_err(|error| failed(error.into()))?;
        let mut file = tempfile::Builder::new()
            .prefix("config.json")
            .tempfile_in(parent)
            .map_err(failed)?;
        file.write_all(&text).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

fn host_of(key: &str) -> &str {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    key.split('/').next().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_back_and_other_members_stay() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join("config.json"),
            r#"{"auths":{"https://old.example/v1/":{"auth":"YTpiOmM="}},"mine":{"x":[1]},"psFormat":"{{.ID}}"}"#,
        )
        .unwrap();
        let mut config = ConfigFile::load(dir.path()).unwrap();
        let old = config.auth("old.example").unwrap();
        assert_eq!((old.username.as_str(), old.password.as_str()), ("a", "b:c"));
        assert_eq!(config.text("psFormat"), Some("{{.ID}}"));
        config.set_auth(
            "new.example:5000",
            Some(&AuthConfig {
                username: "me".into(),
                password: "pw".into(),
                ..AuthConfig::default()
            }),
        );
        config.save().unwrap();
        let mut again = ConfigFile::load(dir.path()).unwrap();
        let new = again.auth("new.example:5000").unwrap();
        assert_eq!((new.username.as_str(), new.password.as_str()), ("me", "pw"));
        assert_eq!(new.serveraddress, "new.example:5000");
        assert_eq!(again.root["mine"], serde_json::json!({"x":[1]}));
        again.remove_auth("new.example:5000");
        assert_eq!(again.auth("new.example:5000"), None);
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(again.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_not_json_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), "{").unwrap();
        let error = ConfigFile::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("config.json"), "{error}");
        assert!(ConfigFile::load(&dir.path().join("none")).is_ok());
    }
}
