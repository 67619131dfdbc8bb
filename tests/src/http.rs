//! Requests to the Engine API over its socket, without a client in between: for a test that does something at
//! the very moment of an answer, or that asks from many threads while the host's daemon comes and goes.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::host::{Answer, parse_answer};

/// A request that was sent, and whose answer is on its way.
pub struct Exchange {
    stream: UnixStream,
    read: Vec<u8>,
}

impl Exchange {
    /// `patience` is for each piece of the answer.
    pub fn begin(
        socket: &Path,
        method: &str,
        path: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> io::Result<Exchange> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let body = ("application/json", body.as_bytes());
        Exchange::begin_with(socket, method, path, body, patience)
    }

    /// The same with a body of any kind.
    pub fn begin_with(
        socket: &Path,
        method: &str,
        path: &str,
        (kind, body): (&str, &[u8]),
        patience: Duration,
    ) -> io::Result<Exchange> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(patience * crate::patience()))?;
        // Of HTTP/1.0, so that the answer is as long as the connection is open.
        stream.write_all(
            format!(
                "{method} {path} HTTP/1.0\r\nHost: d\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .as_bytes(),
        )?;
        stream.write_all(body)?;
        Ok(Exchange {
            stream,
            read: Vec::new(),
        })
    }

    /// Waits until the answer's head is here, and nothing more.
    pub fn head(&mut self) -> io::Result<()> {
        self.read_until(|read| read.windows(4).any(|end| end == b"\r\n\r\n"))
    }

    /// Waits until something of the answer's body is here.
    pub fn begins_body(&mut self) -> io::Result<()> {
        self.read_until(|read| {
            read.windows(4)
                .position(|end| end == b"\r\n\r\n")
                .is_some_and(|head| read.len() > head + 4)
        })
    }

    fn read_until(&mut self, condition: impl Fn(&[u8]) -> bool) -> io::Result<()> {
        while !condition(&self.read) {
            let mut piece = [0; 1024];
            match self.stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => self.read.extend(&piece[..n]),
            }
        }
        Ok(())
    }

    /// The whole answer. One that breaks off is an error.
    pub fn answer(mut self) -> io::Result<Answer> {
        self.head()?;
        self.stream.read_to_end(&mut self.read)?;
        Ok(parse_answer(&String::from_utf8_lossy(&self.read)))
    }
}

/// A request and its whole answer.
pub fn request(
    socket: &Path,
    method: &str,
    path: &str,
    body: Option<&Value>,
    patience: Duration,
) -> io::Result<Answer> {
    Exchange::begin(socket, method, path, body, patience)?.answer()
}
