//! Detach keys: a sequence of keys that is not sent to the process but ends the attachment.

/// `ctrl-p,ctrl-q`.
const DEFAULT: [u8; 2] = [16, 17];

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid detach keys ({keys}): {reason}")]
pub struct KeysError {
    keys: String,
    reason: String,
}

/// Reads `ctrl-a,b`: letters and control keys, with commas between.
pub fn parse(text: &str) -> Result<Vec<u8>, KeysError> {
    text.split(',')
        .map(|key| {
            if let [byte] = key.as_bytes() {
                return Ok(*byte);
            }
            let control = key.strip_prefix("ctrl-").map(str::as_bytes);
            match control {
                Some([letter @ b'a'..=b'z']) => Ok(letter - b'a' + 1),
                Some(b"@") => Ok(0),
                Some(b"[") => Ok(27),
                Some(b"\\") => Ok(28),
                Some(b"]") => Ok(29),
                Some(b"^") => Ok(30),
                Some(b"_") => Ok(31),
                _ => Err(KeysError {
                    keys: text.to_owned(),
                    reason: format!("Unknown character: '{key}'"),
                }),
            }
        })
        .collect()
}

/// Looks for the sequence in what is typed.
#[derive(Debug)]
pub struct Detector {
    keys: Vec<u8>,
    matched: usize,
}

impl Detector {
    /// A sequence that can't be read is the daemon's to complain of: it gets it, too.
    pub fn new(keys: Option<&str>) -> Detector {
        let keys = keys
            .filter(|keys| !keys.is_empty())
            .and_then(|keys| parse(keys).ok())
            .unwrap_or_else(|| DEFAULT.to_vec());
        Detector { keys, matched: 0 }
    }

    /// What of `typed` is for the process, and whether the sequence is complete. A beginning of the
    /// sequence is kept back until it is clear that it is none.
    pub fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(typed.len());
        for &byte in typed {
            if byte != self.keys[self.matched] {
                out.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return (out, true);
                }
            } else {
                out.push(byte);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read() {
        assert_eq!(parse("ctrl-p,ctrl-q"), Ok(vec![16, 17]));
        assert_eq!(parse("a,ctrl-@,ctrl-_"), Ok(vec![b'a', 0, 31]));
        for bad in ["", "ctrl-", "ctrl-1", "ab", "ctrl-A"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_sequence_is_found_across_reads_and_half_of_it_is_passed_on() {
        let mut detector = Detector::new(None);
        assert_eq!(detector.filter(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(detector.filter(b"c"), (b"\x10c".to_vec(), false));
        assert_eq!(detector.filter(b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(detector.filter(b"\x11rest"), (b"".to_vec(), true));
    }
}
