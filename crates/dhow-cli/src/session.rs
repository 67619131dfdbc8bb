//! What a command runs with: the client, the configuration, the name under which this program was
//! called.

use std::env;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use dhow_api::ApiVersion;
use dhow_client::{Client, ClientConfig, Host, TlsOptions};
use http::{HeaderName, HeaderValue};

use crate::autostart;
use crate::config::{self, ConfigFile};
use crate::contexts::choice::{Choice, variable};
use crate::contexts::{CA, CERT, ENDPOINT, KEY, Store};
use crate::error::{Result, message, plain};
use crate::flags::Args;

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/dhow.sock";

pub struct Session {
    /// `dhow`, or `docker` if called so.
    pub program: String,
    pub config: ConfigFile,
    pub choice: Choice,
    /// `--debug`.
    pub debug: bool,
    /// Of the configuration, and what else is kept beside it.
    directory: PathBuf,
    /// What the flags and the environment say, for the default context.
    tls: Option<TlsOptions>,
    /// Made when a command wants it: some have nothing to do with a daemon.
    client: OnceLock<Arc<Client>>,
}

impl Session {
    pub fn new(program: String, globals: &Args) -> Result<Session> {
        let directory = config::directory(globals.nonempty("config"));
        let config = ConfigFile::load(&directory)?;
        Ok(Session {
            program,
            choice: Choice::made(globals, &config)?,
            config,
            tls: tls_options(globals, &directory),
            directory,
            debug: globals.is_set("debug"),
            client: OnceLock::new(),
        })
    }

    /// The configuration as it is in its file now, to change it.
    pub fn reload_config(&self) -> Result<ConfigFile> {
        ConfigFile::load(&self.directory)
    }

    pub fn contexts(&self) -> Store {
        Store::new(&self.directory)
    }

    /// Where the daemon of the default context is, as it was written.
    pub fn default_host(&self) -> Result<String> {
        let named = match &self.choice {
            Choice::Default { host } => host.clone(),
            Choice::Kept(_) => None,
        };
        Ok(match named {
            Some(host) => Host::parse(&host, self.tls.is_some())
                .map_err(dhow_client::Error::from)?
                .to_string(),
            None => format!("unix://{DEFAULT_SOCKET}"),
        })
    }

    /// The files of the default context's TLS.
    pub fn default_tls(&self) -> Option<&TlsOptions> {
        self.tls.as_ref()
    }

    /// Where the daemon is, and how it is spoken to.
    fn endpoint(&self) -> Result<(Host, Option<TlsOptions>)> {
        let (named, tls) = match &self.choice {
            Choice::Default { host } => (host.clone(), self.tls.clone()),
            Choice::Kept(name) => {
                let contexts = self.contexts();
                let metadata = contexts.read(name)?;
                if !metadata.endpoints.contains_key(ENDPOINT) {
                    return Err(message("cannot find docker endpoint in context"));
                }
                let files = contexts.tls_directory(name).join(ENDPOINT);
                let tls = TlsOptions {
                    verify: !metadata.skips_verification(),
                    ca: existing(files.join(CA))?,
                    cert: existing(files.join(CERT))?,
                    key: existing(files.join(KEY))?,
                };
                let some = tls.ca.is_some() || tls.cert.is_some() || tls.key.is_some();
                let tls = (some || !tls.verify).then_some(tls);
                (metadata.host().map(str::to_owned), tls)
            }
        };
        let host = match &named {
            Some(text) => Host::parse(text, tls.is_some()).map_err(dhow_client::Error::from)?,
            None => Host::Unix(PathBuf::from(DEFAULT_SOCKET)),
        };
        let https = named.is_some_and(|text| text.starts_with("https://"));
        let tls = match host {
            Host::Unix(_) | Host::Ssh(_) => None,
            Host::Tcp { .. } if https && tls.is_none() => Some(TlsOptions {
                verify: true,
                ..TlsOptions::default()
            }),
            Host::Tcp { .. } => tls,
        };
        Ok((host, tls))
    }

    fn make_client(&self) -> Result<Client> {
        let (host, tls) = self.endpoint().map_err(|error| {
            plain(format!(
                "Failed to initialize: unable to resolve docker endpoint: {error}"
            ))
        })?;
        let version = match variable(&["DOCKER_API_VERSION"]) {
            Some((name, text)) => Some(
                text.trim_start_matches('v')
                    .parse::<ApiVersion>()
                    .map_err(|error| message(format!("{name}: {error}")))?,
            ),
            None => None,
        };
        let headers = self
            .config
            .map("HttpHeaders")
            .into_iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("user-agent"))
            .filter_map(|(name, value)| {
                Some((
                    HeaderName::try_from(name).ok()?,
                    HeaderValue::try_from(value).ok()?,
                ))
            })
            .collect();
        Ok(Client::new(ClientConfig {
            host,
            tls,
            version,
            headers,
            user_agent: format!(
                "Dhow-Client/{} ({})",
                env!("CARGO_PKG_VERSION"),
                env::consts::OS
            ),
        }))
    }

    /// The client, with a connection that the next call will use. Where no daemon listens on the default
    /// socket, and the user may, one is started.
    pub async fn client(&self) -> Result<&Arc<Client>> {
        let client = self.client_as_is()?;
        match client.warm().await {
            Ok(()) => {}
            Err(dhow_client::Error::NotRunning { .. })
                if self.choice == (Choice::Default { host: None })
                    && rustix::process::geteuid().is_root() =>
            {
                autostart::start(client).await?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(client)
    }

    /// The client without a connection, for a command that has something to say without a daemon, too.
    pub fn client_as_is(&self) -> Result<&Arc<Client>> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Arc::new(self.make_client()?);
        Ok(self.client.get_or_init(|| client))
    }

    /// The keys that end an attachment: the flag's, or the configuration's.
    pub fn detach_keys(&self, args: &Args) -> Option<String> {
        args.nonempty("detach-keys")
            .or_else(|| self.config.text("detachKeys"))
            .map(str::to_owned)
    }
}

/// A file of TLS, where there is one. What can't be looked for is not taken as missing: without its files, a context
/// would be spoken to in the clear.
fn existing(path: PathBuf) -> Result<Option<PathBuf>> {
    match path.try_exists() {
        Ok(true) => Ok(Some(path)),
        Ok(false) => Ok(None),
        Err(error) => Err(message(format!(
            "unable to look for the context's TLS file {}: {error}",
            path.display()
        ))),
    }
}

fn tls_options(globals: &Args, directory: &std::path::Path) -> Option<TlsOptions> {
    let variable_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let verify = match globals.was_given("tlsverify") {
        true => globals.is_set("tlsverify"),
        false => variable_set("DOCKER_TLS_VERIFY"),
    };
    if !verify && !globals.is_set("tls") && !variable_set("DOCKER_TLS") {
        return None;
    }
    let files = match env::var_os("DOCKER_CERT_PATH").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => directory.to_owned(),
    };
    // A file that was asked for must be there; a default one may be.
    let file = |flag: &str, name: &str| match globals.nonempty(flag) {
        Some(path) => Some(PathBuf::from(path)),
        None => Some(files.join(name)).filter(|path| path.exists()),
    };
    Some(TlsOptions {
        verify,
        ca: file("tlscacert", "ca.pem"),
        cert: file("tlscert", "cert.pem"),
        key: file("tlskey", "key.pem"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cant_be_looked_for_is_not_missing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(CA);
        assert_eq!(existing(file.clone()).unwrap(), None);
        std::fs::write(&file, "").unwrap();
        assert_eq!(existing(file.clone()).unwrap(), Some(file.clone()));
        // Whoever runs the tests may read everything; a file is no directory for anybody.
        let error = existing(file.join(CERT)).unwrap_err().to_string();
        assert!(error.contains("unable to look for"), "{error}");
    }
}
