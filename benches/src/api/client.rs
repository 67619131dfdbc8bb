//! Requests over a daemon's socket, a connection for each, in HTTP/1.0: an answer is as long as its connection, and
//! nothing in it has to be taken apart.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use dhow_tests::TestHost;

/// The newest that both daemons and Docker's stable client speak.
const VERSION: &str = "v1.50";
const BUFFER: usize = 256 << 10;

#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// An answer's head, and what of its body came with it.
struct Head {
    status: u16,
    rest: Vec<u8>,
}

/// A request that was sent.
pub struct Sent(UnixStream);

impl Client {
    pub fn of(host: &TestHost) -> Client {
        Client {
            socket: host.socket(),
        }
    }

    /// Sends a request's head, for a body of this length.
    pub fn begin(&self, method: &str, path: &str, kind: &str, length: u64) -> Result<Sent> {
        let mut stream = UnixStream::connect(&self.socket)?;
        let head = format!(
            "{method} /{VERSION}{path} HTTP/1.0\r\nHost: d\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        Ok(Sent(stream))
    }

    /// A request that is answered at once; the milliseconds until the answer's end, and its body.
    pub fn request(&self, method: &str, path: &str, body: &str) -> Result<(f64, Vec<u8>)> {
        let begun = Instant::now();
        let mut sent = self.begin(method, path, "application/json", body.len() as u64)?;
        sent.0.write_all(body.as_bytes())?;
        let mut body = Vec::new();
        let what = || format!("{method} {path}");
        sent.answer(|piece| body.extend_from_slice(piece))
            .with_context(what)?;
        Ok((begun.elapsed().as_secs_f64() * 1e3, body))
    }

    /// Reads an answer of many bytes to its end, and leaves them; the milliseconds, and how many there were.
    pub fn download(&self, path: &str, mut to: impl FnMut(&[u8])) -> Result<(f64, u64)> {
        let begun = Instant::now();
        let sent = self.begin("GET", path, "application/json", 0)?;
        let mut bytes = 0;
        sent.answer(|piece| {
            bytes += piece.len() as u64;
            to(piece);
        })
        .with_context(|| format!("GET {path}"))?;
        Ok((begun.elapsed().as_secs_f64() * 1e3, bytes))
    }

    /// Sends many bytes; the milliseconds until the answer's end, and the answer.
    pub fn upload(
        &self,
        method: &str,
        path: &str,
        length: u64,
        from: &mut dyn Read,
    ) -> Result<(f64, Vec<u8>)> {
        let begun = Instant::now();
        let mut sent = self.begin(method, path, "application/x-tar", length)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let n = from.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            sent.0.write_all(&buffer[..n])?;
        }
        let mut body = Vec::new();
        sent.answer(|piece| body.extend_from_slice(piece))
            .with_context(|| format!("{method} {path}"))?;
        Ok((begun.elapsed().as_secs_f64() * 1e3, body))
    }
}

impl Sent {
    /// Sends some more of the body.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Waits for the answer's head; the connection, and what came of the body already.
    pub fn head(mut self) -> Result<(UnixStream, Vec<u8>)> {
        let head = read_head(&mut self.0)?;
        ensure!(head.status < 300, "{}: {}", head.status, text(&head.rest));
        Ok((self.0, head.rest))
    }

    fn answer(self, mut piece: impl FnMut(&[u8])) -> Result<()> {
        let (mut stream, rest) = self.head()?;
        piece(&rest);
        let mut buffer = vec![0; BUFFER];
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                n => piece(&buffer[..n]),
            }
        }
    }
}

fn read_head(stream: &mut UnixStream) -> Result<Head> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        let mut piece = [0; 16 << 10];
        let n = stream.read(&mut piece)?;
        ensure!(
            n > 0,
            "the connection ended before an answer: {}",
            text(&read)
        );
        read.extend_from_slice(&piece[..n]);
    };
    let rest = read.split_off(end + 4);
    let status = text(&read).split(' ').nth(1).and_then(|s| s.parse().ok());
    Ok(Head {
        status: status.context("an answer without a status")?,
        rest,
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
