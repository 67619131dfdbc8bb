//! A file's lines, as they are read one after another.

use std::borrow::Cow;

use crate::problem::{LONGEST_LINE, LocatedProblem, Problem};
use crate::source::Lines;

pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// The number of the line that was read last, from 1.
    pub number: usize,
}

impl<'a> Reader<'a> {
    pub fn new(content: &'a [u8]) -> Reader<'a> {
        Reader {
            rest: content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content),
            number: 0,
        }
    }

    /// The next line with its end, or nothing at the end of the file.
    pub fn next(&mut self) -> Result<Option<&'a [u8]>, LocatedProblem> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let end = self.rest.iter().position(|b| *b == b'\n');
        let length = end.unwrap_or(self.rest.len());
        self.number += 1;
        if length > LONGEST_LINE {
            return Err(Problem::LineTooLong.at(Lines::one(self.number)));
        }
        let (line, rest) = self.rest.split_at(end.map_or(length, |end| end + 1));
        self.rest = rest;
        Ok(Some(line))
    }
}

/// A line's text without its end. What is no UTF-8 is replaced: nothing that is read could pass it on.
pub(super) fn text(line: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(without_end(line))
}

pub(super) fn without_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|b| !matches!(b, b'\r' | b'\n'));
    &line[..end.map_or(0, |last| last + 1)]
}

pub(super) fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// The line without the escape at its end that has it go on in the next, if there is one. Two of them are none.
pub(super) fn continued(line: &str, escape: char) -> Option<&str> {
    let line = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!line.ends_with(escape)).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_bounded() {
        let mut reader = Reader::new(b"\xef\xbb\xbfa\r\n\nb");
        assert_eq!(reader.next().unwrap(), Some(&b"a\r\n"[..]));
        assert_eq!(reader.next().unwrap(), Some(&b"\n"[..]));
        assert_eq!(reader.next().unwrap(), Some(&b"b"[..]));
        assert_eq!(reader.number, 3);
        assert_eq!(reader.next().unwrap(), None);

        let longest = [b"x".repeat(LONGEST_LINE), b"\n".to_vec()].concat();
        assert!(Reader::new(&longest).next().unwrap().is_some());
        let error = Reader::new(&b"x".repeat(LONGEST_LINE + 1))
            .next()
            .unwrap_err();
        let message = "dockerfile line greater than max allowed size of 65535";
        assert_eq!(error.to_string(), message);
        assert_eq!(error.lines, Some(Lines::one(1)));
    }

    #[test]
    fn lines_go_on_after_an_escape() {
        assert_eq!(continued("a \\", '\\'), Some("a "));
        assert_eq!(continued("a\\ \t", '\\'), Some("a"));
        assert_eq!(continued("\\", '\\'), Some(""));
        assert_eq!(continued("a\\\\", '\\'), None);
        assert_eq!(continued("a\\", '`'), None);
        assert_eq!(continued("a`", '`'), Some("a"));
    }
}
