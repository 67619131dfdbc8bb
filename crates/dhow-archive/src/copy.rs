//! Copying contents into files, in large chunks.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

/// Bytes copied at once.
pub const CHUNK: usize = 256 << 10;
/// A run of zeros this long becomes a hole.
const HOLE: usize = 4096;

/// Copies all of `from`, and returns how many bytes that was.
pub(crate) fn all(from: &mut impl Read, mut to: &File, buffer: &mut [u8]) -> io::Result<u64> {
    let mut total = 0;
    loop {
        let n = from.read(buffer)?;
        if n == 0 {
            return Ok(total);
        }
        to.write_all(&buffer[..n])?;
        total += n as u64;
    }
}

/// As [`all`], but leaves holes where there are zeros.
pub(crate) fn with_holes(from: &mut impl Read, to: &File, buffer: &mut [u8]) -> io::Result<u64> {
    let mut at = 0;
    loop {
        let n = fill(from, buffer)?;
        if n == 0 {
            to.set_len(at)?;
            return Ok(at);
        }
        let mut data = 0;
        let mut end = 0;
        for piece in buffer[..n].chunks(HOLE) {
            if is_zero(piece) {
                to.write_all_at(&buffer[data..end], at + data as u64)?;
                data = end + piece.len();
            }
            end += piece.len();
        }
        to.write_all_at(&buffer[data..n], at + data as u64)?;
        at += n as u64;
    }
}

fn is_zero(piece: &[u8]) -> bool {
    // Most pieces that are not zero begin so; the rest is looked at many bytes at a time.
    piece.first().is_none_or(|b| *b == 0) && piece.iter().fold(0, |all, b| all | b) == 0
}

/// Copies exactly `length` bytes to `at`.
pub(crate) fn exactly(
    from: &mut impl Read,
    to: &File,
    mut at: u64,
    length: u64,
    buffer: &mut [u8],
) -> io::Result<()> {
    let mut left = length;
    while left > 0 {
        let want = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let n = from.read(&mut buffer[..want])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all_at(&buffer[..n], at)?;
        at += n as u64;
        left -= n as u64;
    }
    Ok(())
}

fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}
