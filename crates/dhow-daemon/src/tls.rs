//! TLS for `tcp://`: the daemon's certificate, and with `--tlsverify` the clients' too.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dhow_transport::tls;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("could not load {what} from {path}: {reason}")]
    File {
        what: &'static str,
        path: PathBuf,
        reason: String,
    },
    #[error("TLS: {0}")]
    Config(#[from] rustls::Error),
    #[error("TLS clients' certificates: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The server's side. With a `client_ca` only clients that it has signed are served.
pub fn server_config(
    certificate: &Path,
    key: &Path,
    client_ca: Option<&Path>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates("the server certificate", certificate)?;
    let key = tls::private_key(key).map_err(|e| TlsError::File {
        what: "the server key",
        path: key.to_owned(),
        reason: e.to_string(),
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("the CA certificate", path)? {
                roots.add(certificate)?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let error = |reason: String| TlsError::File {
        what,
        path: path.to_owned(),
        reason,
    };
    let found = tls::certificates(path).map_err(|e| error(e.to_string()))?;
    if found.is_empty() {
        return Err(error("there is no certificate in it".to_owned()));
    }
    Ok(found)
}
