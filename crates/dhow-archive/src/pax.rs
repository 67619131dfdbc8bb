//! The records of a PAX extended header (POSIX.1-2017, pax, "pax Extended Header").
//!
//! The tar library splits a header at its newlines, but a value may have some (a file's capabilities are
//! binary): here each record is taken by its length.

use crate::error::{ArchiveError, Result};

/// The records of one extended header, in order.
#[derive(Debug, Default)]
pub(crate) struct Records(Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    pub fn parse(mut header: &[u8]) -> Result<Records> {
        let mut records = Vec::new();
        while !header.is_empty() && header[0] != 0 {
            let (record, rest) = split_record(header).ok_or_else(|| {
                ArchiveError::Malformed("one of its PAX headers has a malformed record".into())
            })?;
            records.push(record);
            header = rest;
        }
        Ok(Records(records))
    }

    /// The last value of `key`, for later records overrule earlier ones.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.iter()
            .filter(|(k, _)| *k == key.as_bytes())
            .last()
            .map(|(_, v)| v)
    }

    pub fn number(&self, key: &str) -> Result<Option<u64>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        decimal(value).map(Some).ok_or_else(|| {
            ArchiveError::Malformed(format!(
                "one of its PAX headers has a {key} that is no number"
            ))
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(k, v)| (k.as_slice(), v.as_slice()))
    }
}

type Record = (Vec<u8>, Vec<u8>);

/// Takes `LENGTH KEY=VALUE\n` from the front.
fn split_record(header: &[u8]) -> Option<(Record, &[u8])> {
    let space = header.iter().take(20).position(|b| *b == b' ')?;
    let length = usize::try_from(decimal(&header[..space])?).ok()?;
    let body = header.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|b| *b == b'=')?;
    let record = (body[..equals].to_vec(), body[equals + 1..].to_vec());
    Some((record, &header[length..]))
}

/// A number in decimal digits and nothing else.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

/// Seconds since the epoch with a fraction, as `(seconds, nanoseconds)`.
pub(crate) fn time(value: &[u8]) -> Option<(i64, i64)> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let seconds: i64 = whole.parse().ok()?;
    let mut nanoseconds: i64 = 0;
    let mut unit = 100_000_000;
    for digit in fraction.bytes() {
        if !digit.is_ascii_digit() {
            return None;
        }
        nanoseconds += i64::from(digit - b'0') * unit;
        unit /= 10;
    }
    if negative && nanoseconds > 0 {
        Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds))
    } else {
        Some((seconds, nanoseconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_have_newlines() {
        let records = Records::parse(b"22 SCHILY.xattr.x=a\nb\n9 size=7\n").unwrap();
        assert_eq!(records.get("SCHILY.xattr.x"), Some(&b"a\nb"[..]));
        assert_eq!(records.number("size").unwrap(), Some(7));
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"x"[..],
            b"9 size=7",
            b"99 size=7\n",
            b"5 a=b\n",
            b"3 \n",
            b"18446744073709551615 a=b\n",
        ] {
            assert!(Records::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_have_nanoseconds_before_the_epoch_too() {
        assert_eq!(time(b"1.5"), Some((1, 500_000_000)));
        assert_eq!(
            time(b"1350244992.0239606"),
            Some((1_350_244_992, 23_960_600))
        );
        assert_eq!(time(b"-1.5"), Some((-2, 500_000_000)));
        assert_eq!(time(b"x"), None);
        assert_eq!(time(b"1.x"), None);
    }
}
