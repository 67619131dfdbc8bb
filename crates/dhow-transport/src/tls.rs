//! TLS from the client's side, and what both sides read from files. Keys and certificates are PEM (RFC 7468).

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Whose servers a client takes.
pub enum Trust {
    /// Those that one of these authorities vouches for.
    Authorities(RootCertStore),
    /// Whoever answers: encrypted, but to anyone. The handshake's signatures are checked all the same.
    Anyone,
}

/// What a client shows of itself: a certificate, with those that vouch for it, and its key.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The configuration of a client. Fails where the identity's key is not its certificate's, or of a kind that can't sign.
pub fn client(trust: Trust, identity: Option<Identity>) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = match trust {
        Trust::Authorities(roots) => builder.with_root_certificates(roots),
        Trust::Anyone => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified(provider))),
    };
    match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// The system's authorities, those of them that can be read, and why others can't. They take a megabyte.
pub fn system_authorities() -> (RootCertStore, Vec<rustls_native_certs::Error>) {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    (roots, found.errors)
}

/// All certificates of a file, which may be none. An error does not name the file.
pub fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(plain)
}

/// The first private key of a file: PKCS #1, PKCS #8 or SEC 1. An error does not name the file.
pub fn private_key(path: &Path) -> io::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(plain)
}

/// What the system says of a file stays that; what is wrong within one is invalid data.
fn plain(error: pem::Error) -> io::Error {
    match error {
        pem::Error::Io(error) => error,
        error => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
    }
}

/// Takes any certificate, see [`Trust::Anyone`].
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_files_keep_their_kinds() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let kind = |error: io::Error| error.kind();
        assert_eq!(
            certificates(&missing).map_err(kind),
            Err(io::ErrorKind::NotFound)
        );
        let empty = dir.path().join("empty");
        std::fs::write(&empty, "no PEM at all\n").unwrap();
        assert_eq!(certificates(&empty).map_err(kind), Ok(Vec::new()));
        assert_eq!(
            private_key(&empty).map_err(kind).unwrap_err(),
            io::ErrorKind::InvalidData
        );
        let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        std::fs::write(&empty, broken).unwrap();
        assert_eq!(
            certificates(&empty).map_err(kind),
            Err(io::ErrorKind::InvalidData)
        );
    }
}
