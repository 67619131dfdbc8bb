//! The output of an exec in the form that its start asked for. The process's terminal, or its lack of one, is
//! settled when the exec is created; the start says once more whether there is one, and clients read what they
//! said there.

use std::borrow::Cow;

/// Standard output's number in a frame's head.
const STDOUT: u8 = 1;
/// A stream's number, three zeros, and the length of what follows, the high byte first.
const HEAD: usize = 8;

/// What becomes of a process's output on its way to the client.
#[derive(Debug)]
pub enum Framing {
    Unchanged,
    /// A terminal's bytes become frames of standard output.
    Wrapped,
    /// Frames lose their heads.
    Unwrapped(Unwrapper),
}

#[derive(Debug, Default)]
pub struct Unwrapper {
    head: Vec<u8>,
    /// Bytes to come of the frame's content.
    left: usize,
}

impl Framing {
    /// From what the process has to what the client expects.
    pub fn between(process_tty: bool, client_tty: bool) -> Framing {
        match (process_tty, client_tty) {
            (true, false) => Framing::Wrapped,
            (false, true) => Framing::Unwrapped(Unwrapper::default()),
            _ => Framing::Unchanged,
        }
    }

    pub fn convert<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        match self {
            Framing::Unchanged => Cow::Borrowed(bytes),
            Framing::Wrapped => Cow::Owned(frame(bytes)),
            Framing::Unwrapped(unwrapper) => Cow::Owned(unwrapper.unwrap(bytes)),
        }
    }
}

/// One frame of standard output.
pub fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut framed = Vec::with_capacity(HEAD + bytes.len());
    framed.extend_from_slice(&[STDOUT, 0, 0, 0]);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(bytes);
    framed
}

impl Unwrapper {
    fn unwrap(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut content = Vec::with_capacity(bytes.len());
        while !bytes.is_empty() {
            if self.left == 0 {
                let (more, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
                self.head.extend_from_slice(more);
                bytes = rest;
                if let [_, _, _, _, length @ ..] = &self.head[..]
                    && let Ok(length) = <[u8; 4]>::try_from(length)
                {
                    self.left = u32::from_be_bytes(length) as usize;
                    self.head.clear();
                }
                continue;
            }
            let (more, rest) = bytes.split_at(bytes.len().min(self.left));
            content.extend_from_slice(more);
            self.left -= more.len();
            bytes = rest;
        }
        content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_apart_wherever_they_are_cut() {
        let mut stream = frame(b"hello ");
        stream.extend(frame(b""));
        stream.extend([2, 0, 0, 0, 0, 0, 0, 5]);
        stream.extend(b"world");
        for size in 1..=stream.len() {
            let mut framing = Framing::between(false, true);
            let content: Vec<u8> = stream
                .chunks(size)
                .flat_map(|piece| framing.convert(piece).into_owned())
                .collect();
            assert_eq!(content, b"hello world", "in pieces of {size}");
        }
    }

    #[test]
    fn a_terminals_bytes_become_frames() {
        assert_eq!(
            Framing::between(true, false).convert(b"ab")[..],
            [1, 0, 0, 0, 0, 0, 0, 2, b'a', b'b']
        );
        assert_eq!(Framing::between(true, true).convert(b"ab")[..], *b"ab");
        assert_eq!(Framing::between(false, false).convert(b"ab")[..], *b"ab");
    }
}
