//! `dhow registry serve`: its arguments, its start and its end.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::storage::filesystem::{FilesystemLimits, FilesystemStorage};
use crate::{Registry, RegistryConfig, Server, ServerConfig};

/// How often uploads that nobody goes on with are looked for.
const EXPIRY_ROUND: Duration = Duration::from_secs(600);

/// Serve a registry from a directory.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// Address and port to listen on, such as 127.0.0.1:5000, or :5000 for all addresses
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000", value_parser = parse_address)]
    pub addr: SocketAddr,
    /// Directory that holds the registry's content
    #[arg(
        long,
        value_name = "DIRECTORY",
        default_value = "/var/lib/dhow-registry"
    )]
    pub root: PathBuf,
    /// Certificate chain in PEM, to serve HTTPS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Accept manifests whose layers or platforms were not pushed, as partial mirrors need
    #[arg(long)]
    pub allow_sparse: bool,
}

/// Why a registry can't be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot open the registry in {root}: {error}")]
    Open { root: PathBuf, error: io::Error },
    #[error("cannot listen on {address}: {error}")]
    Listen {
        address: SocketAddr,
        error: io::Error,
    },
    #[error("cannot read {path}: {reason}")]
    Pem { path: PathBuf, reason: String },
    #[error("the certificate and the key can't be used: {0}")]
    Tls(rustls::Error),
    #[error("{0}")]
    System(io::Error),
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let explain = || {
        format!("invalid address {text:?}: use an IP address and a port, such as 127.0.0.1:5000")
    };
    let port = |port: &str| port.parse::<u16>().map_err(|_| explain());
    match text.rsplit_once(':') {
        Some(("", p)) => Ok((Ipv6Addr::UNSPECIFIED, port(p)?).into()),
        Some(("localhost", p)) => Ok((Ipv4Addr::LOCALHOST, port(p)?).into()),
        _ => text.parse().map_err(|_| explain()),
    }
}

/// Serves until SIGINT or SIGTERM, then until the requests under way are answered.
pub async fn serve(args: ServeArgs) -> Result<(), ServeError> {
    // Handlers first: a signal during start-up must not kill a half-started server without a word.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::System)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::System)?;
    raise_descriptor_limit();

    let root = args.root.clone();
    let opened = tokio::task::spawn_blocking(move || {
        FilesystemStorage::open(&root, FilesystemLimits::default())
    });
    let (storage, recovered) = opened
        .await
        .map_err(|e| ServeError::System(io::Error::other(e)))?
        .map_err(|error| ServeError::Open {
            root: args.root.clone(),
            error,
        })?;
    tracing::info!(
        root = %args.root.display(),
        uploads_kept = recovered.uploads_kept,
        uploads_expired = recovered.uploads_expired,
        leftovers = recovered.leftovers,
        "opened the registry"
    );

    let server = Server::bind(ServerConfig {
        tls: args.tls_cert.zip(args.tls_key),
        ..ServerConfig::new(args.addr)
    })
    .await?;
    let address = server.local_addr().map_err(ServeError::System)?;
    tracing::info!(%address, "serving");

    let registry = Registry::new(
        storage.clone(),
        RegistryConfig {
            sparse: args.allow_sparse,
            ..RegistryConfig::default()
        },
    );
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("ending: no new connections, finishing the requests under way");
    };
    tokio::select! {
        () = server.run(registry, stop) => {}
        () = expire_uploads(&storage) => {}
    }
    Ok(())
}

/// Never ends.
async fn expire_uploads(storage: &FilesystemStorage) {
    loop {
        tokio::time::sleep(EXPIRY_ROUND).await;
        match storage.expire_uploads().await {
            Ok(0) => {}
            Ok(uploads) => tracing::info!(uploads, "gave up uploads that nobody went on with"),
            Err(e) => tracing::warn!(error = %e, "expired uploads could not be removed"),
        }
    }
}

/// Each connection and each open blob takes a descriptor; the soft limit is often 1024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(e) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(error = %e, "the limit of open files could not be raised");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(
            parse_address("127.0.0.1:5000").unwrap(),
            "127.0.0.1:5000".parse().unwrap()
        );
        assert_eq!(
            parse_address(":5000").unwrap(),
            "[::]:5000".parse().unwrap()
        );
        assert_eq!(
            parse_address("localhost:0").unwrap(),
            "127.0.0.1:0".parse().unwrap()
        );
        for bad in ["", "5000", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000"] {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
    }
}
