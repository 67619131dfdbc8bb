//! TLS to a daemon: which files, and what is checked. Nothing here runs for a daemon without TLS.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dhow_transport::tls::{self, Trust};
use rustls::{ClientConfig, RootCertStore};

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

/// An error of one of the files.
fn of_file<T>(path: &Path, read: io::Result<T>) -> Result<T, Error> {
    read.map_err(|source| Error::TlsFile {
        path: path.to_owned(),
        source,
    })
}

impl TlsOptions {
    /// Whether the files can be used, for one who will keep them. The sentences are Docker's.
    pub fn check(&self) -> Result<(), String> {
        let unusable = |error: Error| format!("failed to retrieve context tls info: {error}");
        if let Some(ca) = &self.ca
            && !tls::certificates(ca).is_ok_and(|found| !found.is_empty())
        {
            return Err("failed to retrieve context tls info: ca.pem seems invalid".to_owned());
        }
        if let (Some(_), Some(key)) = (&self.cert, &self.key) {
            match tls::private_key(key) {
                Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                    return Err("no valid private key found".to_owned());
                }
                read => of_file(key, read).map(drop).map_err(unusable)?,
            }
        }
        self.client_config("").map(drop).map_err(unusable)
    }

    pub(crate) fn client_config(&self, host: &str) -> Result<Arc<ClientConfig>, Error> {
        let failed = |source: rustls::Error| Error::Tls {
            host: host.to_owned(),
            source: Box::new(source),
        };
        let trust = match (self.verify, &self.ca) {
            (false, _) => Trust::Anyone,
            (true, None) => Trust::Authorities(tls::system_authorities().0),
            (true, Some(path)) => {
                let mut roots = RootCertStore::empty();
                for certificate in of_file(path, tls::certificates(path))? {
                    roots.add(certificate).map_err(failed)?;
                }
                Trust::Authorities(roots)
            }
        };
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((
                of_file(cert, tls::certificates(cert))?,
                of_file(key, tls::private_key(key))?,
            )),
            _ => None,
        };
        let config = tls::client(trust, identity).map_err(failed)?;
        Ok(Arc::new(config))
    }
}
