//! The keys that detach a client from a container's terminal (Docker's `detachKeys`, default
//! `ctrl-p,ctrl-q`): parsing their description, and finding them in what a client types.

use crate::error::{EngineError, Result};

/// The sequence of bytes that detaches; empty never does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

impl Default for DetachKeys {
    fn default() -> Self {
        DetachKeys(vec![16, 17])
    }
}

impl DetachKeys {
    /// Keys separated by commas: a single character, or `ctrl-` and one of `a`-`z`, `@`, `[`, `\`, `]`,
    /// `^`, `_`. An empty description means the default.
    pub fn parse(text: &str) -> Result<DetachKeys> {
        if text.is_empty() {
            return Ok(DetachKeys::default());
        }
        let mut keys = Vec::new();
        for key in text.split(',') {
            let code = match key.strip_prefix("ctrl-") {
                Some(rest) => match rest.as_bytes() {
                    [c @ b'a'..=b'z'] => c - b'a' + 1,
                    [b'@'] => 0,
                    [b'['] => 27,
                    [b'\\'] => 28,
                    [b']'] => 29,
                    [b'^'] => 30,
                    [b'_'] => 31,
                    _ => return Err(unknown(text, key)),
                },
                None => match key.as_bytes() {
                    [c] => *c,
                    _ => return Err(unknown(text, key)),
                },
            };
            keys.push(code);
        }
        Ok(DetachKeys(keys))
    }
}

fn unknown(text: &str, key: &str) -> EngineError {
    EngineError::Invalid(format!(
        "Invalid detach keys ({text}) provided: Unknown character: '{key}'"
    ))
}

/// What came of a piece of input.
#[derive(Debug, PartialEq, Eq)]
pub struct Scanned {
    /// The bytes that are the container's. The beginning of a sequence is held back until it is known to
    /// be none.
    pub forward: Vec<u8>,
    pub detached: bool,
}

/// Finds the keys in a stream that comes in pieces.
#[derive(Clone, Debug)]
pub struct DetachScanner {
    keys: DetachKeys,
    matched: usize,
}

impl DetachScanner {
    pub fn new(keys: DetachKeys) -> DetachScanner {
        DetachScanner { keys, matched: 0 }
    }

    pub fn scan(&mut self, input: &[u8]) -> Scanned {
        let keys = &self.keys.0;
        let mut forward = Vec::with_capacity(input.len() + self.matched);
        if keys.is_empty() {
            forward.extend_from_slice(input);
            return Scanned {
                forward,
                detached: false,
            };
        }
        for &byte in input {
            // What was held back may contain a shorter beginning of the sequence (ctrl-p ctrl-p ctrl-q).
            while self.matched > 0 && byte != keys[self.matched] {
                let held = self.matched;
                let keep = (0..held)
                    .rev()
                    .find(|&n| keys[held - n..held] == keys[..n])
                    .unwrap_or(0);
                forward.extend_from_slice(&keys[..held - keep]);
                self.matched = keep;
            }
            if byte == keys[self.matched] {
                self.matched += 1;
                if self.matched == keys.len() {
                    self.matched = 0;
                    return Scanned {
                        forward,
                        detached: true,
                    };
                }
            } else {
                forward.push(byte);
            }
        }
        Scanned {
            forward,
            detached: false,
        }
    }

    /// What is still held back when the input ends.
    pub fn finish(self) -> Vec<u8> {
        self.keys.0[..self.matched].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(keys: &str, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut scanner = DetachScanner::new(DetachKeys::parse(keys).unwrap());
        let mut out = Vec::new();
        for piece in pieces {
            let scanned = scanner.scan(piece);
            out.extend(scanned.forward);
            if scanned.detached {
                return (out, true);
            }
        }
        out.extend(scanner.finish());
        (out, false)
    }

    #[test]
    fn the_sequence_detaches_also_in_pieces() {
        assert_eq!(scan("", &[b"ls\x10\x11rest"]), (b"ls".to_vec(), true));
        assert_eq!(scan("", &[b"ls\x10", b"\x11"]), (b"ls".to_vec(), true));
        assert_eq!(scan("ctrl-x,a", &[b"\x18", b"a"]), (vec![], true));
    }

    #[test]
    fn what_is_no_sequence_is_passed_on() {
        assert_eq!(scan("", &[b"\x10x\x11"]), (b"\x10x\x11".to_vec(), false));
        assert_eq!(scan("", &[b"a\x10"]), (b"a\x10".to_vec(), false));
    }

    #[test]
    fn a_repeated_beginning_still_detaches() {
        assert_eq!(scan("", &[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
        assert_eq!(scan("a,a,b", &[b"aaab"]), (b"a".to_vec(), true));
    }

    #[test]
    fn unknown_keys_are_refused() {
        for bad in ["ctrl-", "ctrl-ab", "shift-a", "a,,b", "ctrl-1"] {
            assert!(DetachKeys::parse(bad).is_err(), "{bad}");
        }
    }
}
