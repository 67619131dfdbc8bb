//! The server's certificate and key.

use std::io;
use std::path::Path;
use std::sync::Arc;

use dhow_transport::tls;
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use crate::ServeError;

/// Reads a certificate chain and its key, both in PEM.
pub(crate) fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, ServeError> {
    let unreadable = |path: &Path, e: io::Error| ServeError::Pem {
        path: path.to_owned(),
        reason: e.to_string(),
    };
    let chain = tls::certificates(certificate).map_err(|e| unreadable(certificate, e))?;
    if chain.is_empty() {
        let reason = "it holds no certificate".to_owned();
        return Err(ServeError::Pem {
            path: certificate.to_owned(),
            reason,
        });
    }
    let private = tls::private_key(key).map_err(|e| unreadable(key, e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ServeError::Tls)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(ServeError::Tls)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
