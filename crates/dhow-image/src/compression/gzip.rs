//! Gzip of several members, one after another, as `gzip -d` reads it (RFC 1952, 2.2): what follows the last
//! member and is none is left alone.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use crate::error::ImageError;

pub(super) struct Members<R: BufRead> {
    member: Option<GzDecoder<R>>,
    /// Whether it is the first.
    first: bool,
}

impl<R: BufRead> Members<R> {
    pub fn new(reader: R) -> Members<R> {
        Members {
            member: Some(GzDecoder::new(reader)),
            first: true,
        }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let Some(member) = &mut self.member else {
                return Ok(0);
            };
            match member.read(buffer) {
                Ok(0) => {}
                Err(e) if !self.first && member.header().is_none() && !is_below(&e) => {
                    self.member = None;
                    return Ok(0);
                }
                done => return done,
            }
            if member.get_mut().fill_buf()?.is_empty() {
                return Ok(0);
            }
            self.first = false;
            self.member = self.member.take().map(|m| GzDecoder::new(m.into_inner()));
        }
    }
}

/// Whether an error came from the stream below, not from what is in it.
fn is_below(e: &io::Error) -> bool {
    e.get_ref().is_some_and(|inner| inner.is::<ImageError>())
}

#[cfg(test)]
mod tests {
    use super::super::tests::gzip;
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        Members::new(bytes).read_to_end(&mut all)?;
        Ok(all)
    }

    #[test]
    fn what_follows_and_is_no_member_is_left_alone() {
        for rest in [&b""[..], b"garbage", &[0; 1000], b"\x1f", b"\x1f\x8b"] {
            let all = [&gzip(b"one ")[..], &gzip(b"two"), rest].concat();
            assert_eq!(read(&all).unwrap(), b"one two", "{rest:?}");
        }
    }

    #[test]
    fn a_broken_member_is_an_error() {
        assert!(read(b"\x1f\x8bgarbage").is_err());
        let mut second = gzip(&[3; 10_000]);
        second.truncate(second.len() - 9);
        assert!(read(&[gzip(b"one"), second].concat()).is_err());
        let mut wrong = gzip(b"one");
        let at = wrong.len() - 8;
        wrong[at] ^= 1;
        assert!(read(&wrong).is_err());
    }
}
