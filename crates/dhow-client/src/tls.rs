//! TLS to a daemon: which files, and what is checked. Nothing here runs for a daemon without TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::Error;

/// What `--tls`, `--tlsverify` and the `--tls*` files say. A file that is not there is left out if it
/// is the default one (`required` false).
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// Whether the daemon's certificate is checked.
    pub verify: bool,
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::TlsFile {
        path: path.to_owned(),
        source,
    })
}

fn pem_error(path: &Path, error: rustls::pki_types::pem::Error) -> Error {
    Error::TlsFile {
        path: path.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string()),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read(path)?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| pem_error(path, error))
}

impl TlsOptions {
    /// Whether the files can be used, for one who will keep them. The sentences are Docker's.
    pub fn check(&self) -> Result<(), String> {
        let unusable = |error: Error| format!("failed to retrieve context tls info: {error}");
        if let Some(ca) = &self.ca
            && !certificates(ca).is_ok_and(|found| !found.is_empty())
        {
            return Err("failed to retrieve context tls info: ca.pem seems invalid".to_owned());
        }
        if let (Some(_), Some(key)) = (&self.cert, &self.key) {
            let pem = read(key).map_err(unusable)?;
            if PrivateKeyDer::from_pem_slice(&pem).is_err() {
                return Err("no valid private key found".to_owned());
            }
        }
        self.client_config("").map(drop).map_err(unusable)
    }

    pub(crate) fn client_config(&self, host: &str) -> Result<Arc<ClientConfig>, Error> {
        let failed = |source: rustls::Error| Error::Tls {
            host: host.to_owned(),
            source: Box::new(source),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(failed)?;
        let builder = if self.verify {
            let mut roots = RootCertStore::empty();
            match &self.ca {
                Some(path) => {
                    for certificate in certificates(path)? {
                        roots.add(certificate).map_err(failed)?;
                    }
                }
                None => {
                    for certificate in rustls_native_certs::load_native_certs().certs {
                        // A root of the system that can't be read is none of the user's doing.
                        let _ = roots.add(certificate);
                    }
                }
            }
            builder.with_root_certificates(roots)
        } else {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        };
        let config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let chain = certificates(cert)?;
                let pem = read(key)?;
                let key =
                    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| pem_error(key, error))?;
                builder.with_client_auth_cert(chain, key).map_err(failed)?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }
}

/// `--tls` without `--tlsverify`: encrypted, but to whoever answers. The signatures of the handshake
/// are still checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
