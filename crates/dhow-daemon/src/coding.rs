//! Answers that are compressed where the client takes that (RFC 9110, 12.5.3): archives of containers' files, as
//! Docker's daemon does it. Compression runs on a thread of its own.

use std::io::{self, Write};

use bytes::Bytes;
use dhow_archive::Chunks;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue, header};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// How many pieces wait for the client.
const PIECES: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    /// Without the head and the checksum that the standard asks for, as Docker has it.
    Deflate,
}

impl Coding {
    /// What the client would rather have than the archive as it is.
    pub fn negotiated(headers: &HeaderMap) -> Option<Coding> {
        let accepted = headers.get_all(header::ACCEPT_ENCODING);
        let accepted = accepted.iter().filter_map(|value| value.to_str().ok());
        let ranges: Vec<(String, f32)> = accepted.flat_map(|v| v.split(',')).map(range).collect();
        let mut best: Option<(Coding, f32)> = None;
        for coding in [Coding::Gzip, Coding::Deflate] {
            for (name, weight) in &ranges {
                let is_it = name == "*" || name.eq_ignore_ascii_case(coding.name());
                if is_it && *weight > best.map_or(0.0, |(_, weight)| weight) {
                    best = Some((coding, *weight));
                }
            }
        }
        best.map(|(coding, _)| coding)
    }

    fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
        }
    }

    pub fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }

    /// The stream, compressed. One that fails stays one that fails.
    pub fn stream<S>(self, archive: S) -> impl Stream<Item = io::Result<Bytes>> + Send
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(PIECES);
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            let to = Chunks::new(|piece| {
                let sent = sender.blocking_send(Ok(piece));
                sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
            });
            let mut archive = Box::pin(archive);
            let next = || runtime.block_on(archive.next());
            let level = Compression::fast();
            let done = match self {
                Coding::Gzip => compress(next, GzEncoder::new(to, level), GzEncoder::finish),
                Coding::Deflate => {
                    compress(next, DeflateEncoder::new(to, level), DeflateEncoder::finish)
                }
            };
            if let Err(error) = done {
                // A client that is gone does not mind.
                let _ = sender.blocking_send(Err(error));
            }
        });
        stream::unfold(receiver, |mut receiver| async move {
            let piece = receiver.recv().await?;
            Some((piece, receiver))
        })
    }
}

fn compress<'a, E: Write>(
    mut next: impl FnMut() -> Option<io::Result<Bytes>>,
    mut encoder: E,
    finish: impl FnOnce(E) -> io::Result<Chunks<'a>>,
) -> io::Result<()> {
    while let Some(piece) = next() {
        encoder.write_all(&piece?)?;
    }
    finish(encoder)?.flush()
}

/// A coding's name, and how much it is wanted.
fn range(text: &str) -> (String, f32) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_owned();
    let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
    (name, weight.unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_coding_is_negotiated() {
        for (accepted, expected) in [
            ("", None),
            ("identity", None),
            ("br", None),
            ("gzip", Some(Coding::Gzip)),
            ("deflate, gzip", Some(Coding::Gzip)),
            ("gzip;q=0.5, deflate;q=0.8", Some(Coding::Deflate)),
            ("gzip;q=0", None),
            ("*", Some(Coding::Gzip)),
        ] {
            let value = HeaderValue::from_static(accepted);
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)]);
            assert_eq!(Coding::negotiated(&headers), expected, "{accepted}");
        }
        assert_eq!(Coding::negotiated(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn a_stream_is_compressed_and_its_failure_is_told() {
        let pieces = || stream::iter((0..1000).map(|n| Ok(Bytes::from(format!("piece {n}\n")))));
        let all: Vec<Bytes> = Coding::Gzip
            .stream(pieces())
            .map(|piece| piece.unwrap())
            .collect()
            .await;
        let mut text = String::new();
        flate2::read::GzDecoder::new(&all.concat()[..])
            .read_to_string(&mut text)
            .unwrap();
        assert!(text.starts_with("piece 0\n") && text.ends_with("piece 999\n"));
        let broken = pieces().chain(stream::iter([Err(io::Error::other("cut off"))]));
        let last = Coding::Deflate.stream(broken).collect::<Vec<_>>().await;
        assert!(last.last().unwrap().is_err());
    }
}
