//! TLS to registries: the system's authorities, those of `certs.d/<host>`, and for insecure registries
//! no verification.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dhow_transport::tls::{self, Identity, Trust};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

#[derive(Debug)]
pub(crate) struct Tls {
    certs_dir: PathBuf,
    system_roots: OnceLock<RootCertStore>,
}

impl Tls {
    pub fn new(certs_dir: PathBuf) -> Tls {
        Tls {
            certs_dir,
            system_roots: OnceLock::new(),
        }
    }

    /// The configuration for a `host[:port]`. Its files are read anew each time, as they change.
    pub fn config(&self, authority: &str, verify: bool) -> io::Result<ClientConfig> {
        let dir = self.certs_dir.join(authority);
        let trust = match verify {
            true => {
                let mut roots = self.system_roots().clone();
                for path in files(&dir, "crt")? {
                    for certificate in certificates(&path)? {
                        roots.add(certificate).map_err(|e| in_file(&path, e))?;
                    }
                }
                Trust::Authorities(roots)
            }
            false => Trust::Anyone,
        };
        tls::client(trust, identity(&dir)?).map_err(|e| in_file(&dir, e))
    }

    fn system_roots(&self) -> &RootCertStore {
        self.system_roots.get_or_init(|| {
            let (roots, errors) = tls::system_authorities();
            for error in &errors {
                tracing::warn!(%error, "some of the system's certificate authorities can't be read");
            }
            roots
        })
    }
}

fn files(dir: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        r => r.map_err(|e| in_file(dir, e))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    tls::certificates(path).map_err(|e| in_file(path, e))
}

fn identity(dir: &Path) -> io::Result<Option<Identity>> {
    let Some(path) = files(dir, "cert")?.into_iter().next() else {
        return Ok(None);
    };
    let key_path = path.with_extension("key");
    let key = tls::private_key(&key_path).map_err(|e| in_file(&key_path, e))?;
    Ok(Some((certificates(&path)?, key)))
}

fn in_file(path: &Path, e: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {e}", path.display()))
}
