//! What a command runs with: the client, the configuration, the name under which this program was
//! called.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;

use dhow_api::ApiVersion;
use dhow_client::{Client, ClientConfig, Host, TlsOptions};
use http::{HeaderName, HeaderValue};

use crate::autostart;
use crate::config::{self, ConfigFile};
use crate::error::{Result, message};
use crate::flags::Args;

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/dhow.sock";

pub struct Session {
    /// `dhow`, or `docker` if called so.
    pub program: String,
    pub config: ConfigFile,
    client: Arc<Client>,
    /// Whether the host is the default one, where a daemon may be started.
    default_host: bool,
}

/// The first of the variables that is set to something.
fn variable(names: &[&str]) -> Option<String> {
    names
        .iter()
        .filter_map(|name| env::var(name).ok())
        .find(|value| !value.is_empty())
}

impl Session {
    pub fn new(program: String, globals: &Args) -> Result<Session> {
        let directory = config::directory(globals.nonempty("config"));
        let config = ConfigFile::load(&directory)?;
        let hosts = globals.list("host");
        if hosts.len() > 1 {
            return Err(message("specify only one -H"));
        }
        let host = hosts.first().map(|host| (*host).to_owned());
        if let Some(context) = globals.nonempty("context")
            && context != "default"
        {
            return Err(message(format!(
                "there is no context {context:?}: say where the daemon is with --host or DOCKER_HOST"
            )));
        }
        let named = host.or_else(|| variable(&["DHOW_HOST", "DOCKER_HOST"]));
        let tls = tls_options(globals, &directory);
        let host = match &named {
            Some(text) => Host::parse(text, tls.is_some()).map_err(dhow_client::Error::from)?,
            None => Host::Unix(PathBuf::from(DEFAULT_SOCKET)),
        };
        let https = named
            .as_ref()
            .is_some_and(|text| text.starts_with("https://"));
        let tls = match host {
            Host::Unix(_) => None,
            Host::Tcp { .. } if https && tls.is_none() => Some(TlsOptions {
                verify: true,
                ..TlsOptions::default()
            }),
            Host::Tcp { .. } => tls,
        };
        let version = match variable(&["DOCKER_API_VERSION"]) {
            Some(text) => Some(
                text.trim_start_matches('v')
                    .parse::<ApiVersion>()
                    .map_err(|error| message(format!("DOCKER_API_VERSION: {error}")))?,
            ),
            None => None,
        };
        let headers = config
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
        let client = Arc::new(Client::new(ClientConfig {
            host,
            tls,
            version,
            headers,
            user_agent: format!(
                "Dhow-Client/{} ({})",
                env!("CARGO_PKG_VERSION"),
                env::consts::OS
            ),
        }));
        Ok(Session {
            program,
            config,
            client,
            default_host: named.is_none(),
        })
    }

    /// The client, with a connection that the next call will use. Where no daemon listens on the default
    /// socket, and the user may, one is started.
    pub async fn client(&self) -> Result<&Arc<Client>> {
        match self.client.warm().await {
            Ok(()) => {}
            Err(dhow_client::Error::NotRunning { .. })
                if self.default_host && rustix::process::geteuid().is_root() =>
            {
                autostart::start(&self.client).await?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(&self.client)
    }

    /// The client for a command that has something to say without a daemon, too.
    pub fn client_as_is(&self) -> &Arc<Client> {
        &self.client
    }

    /// The keys that end an attachment: the flag's, or the configuration's.
    pub fn detach_keys(&self, args: &Args) -> Option<String> {
        args.nonempty("detach-keys")
            .or_else(|| self.config.text("detachKeys"))
            .map(str::to_owned)
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
