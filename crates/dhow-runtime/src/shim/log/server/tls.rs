//! TLS to a log server. The system's authorities take a megabyte, for as long as the connection is made; a
//! container that has none of this pays nothing for it.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::wire;
use crate::protocol::TlsFiles;

pub(super) struct Tls {
    connection: ClientConnection,
}

struct Socket<'a>(&'a OwnedFd);

impl Read for Socket<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match rustix::io::retry_on_intr(|| {
            rustix::net::recv(self.0, &mut *bytes, RecvFlags::DONTWAIT)
        }) {
            Ok((count, _)) => Ok(count),
            Err(error) => Err(error.into()),
        }
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(wire::send(self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Tls {
    pub fn new(name: &str, files: &TlsFiles) -> io::Result<Tls> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let connection =
            ClientConnection::new(Arc::new(config(files)?), name).map_err(io::Error::other)?;
        Ok(Tls { connection })
    }

    pub fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    pub fn is_open(&self) -> bool {
        !self.connection.is_handshaking()
    }

    pub fn close(&mut self, fd: &OwnedFd) {
        self.connection.send_close_notify();
        // A server that is gone needs no such word.
        let _ = self.flush(fd);
    }

    /// Takes in what the server says, of which only the protocol's own is of interest.
    pub fn receive(&mut self, fd: &OwnedFd) -> io::Result<()> {
        for _ in 0..wire::READS {
            match self.connection.read_tls(&mut Socket(fd)) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {
                    let state = self
                        .connection
                        .process_new_packets()
                        .map_err(io::Error::other)?;
                    let mut unread = vec![0; state.plaintext_bytes_to_read()];
                    self.connection.reader().read_exact(&mut unread)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.flush(fd)
    }

    /// Takes some of the bytes, once what it took before is sent.
    pub fn send(&mut self, fd: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
        self.flush(fd)?;
        if self.connection.is_handshaking() || self.connection.wants_write() {
            return Ok(0);
        }
        let taken = self.connection.writer().write(bytes)?;
        self.flush(fd)?;
        Ok(taken)
    }

    pub fn flush(&mut self, fd: &OwnedFd) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Socket(fd)) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(Errno::AGAIN.raw_os_error()) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn config(files: &TlsFiles) -> io::Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = if files.unverified {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
    } else {
        let mut roots = RootCertStore::empty();
        match &files.ca {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(io::Error::other)?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        builder.with_root_certificates(roots)
    };
    match &files.certificate {
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
            builder
                .with_client_auth_cert(certificates(certificate)?, key)
                .map_err(io::Error::other)
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(io::Error::other)
}

/// Takes any certificate, as `syslog-tls-skip-verify` asks for. The handshake itself is checked.
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
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
