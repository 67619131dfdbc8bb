//! TLS to a log server. The system's authorities take a megabyte, for as long as the connection is made; a
//! container that has none of this pays nothing for it.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use dhow_transport::tls::{self, Trust};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

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
    let trust = match &files.ca {
        _ if files.unverified => Trust::Anyone,
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in tls::certificates(path)? {
                roots.add(certificate).map_err(io::Error::other)?;
            }
            Trust::Authorities(roots)
        }
        None => Trust::Authorities(tls::system_authorities().0),
    };
    let identity = match &files.certificate {
        Some((certificate, key)) => Some((tls::certificates(certificate)?, tls::private_key(key)?)),
        None => None,
    };
    tls::client(trust, identity).map_err(io::Error::other)
}
