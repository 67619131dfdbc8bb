//! The `Range` header of a blob's download (RFC 9110, section 14).

use std::ops::Range;

/// More ranges than this in one request are an attack or a mistake.
const RANGES_MAX: usize = 64;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ranges {
    /// No range asked for, or a unit that is not ours: the whole blob.
    Whole,
    /// One or several satisfiable parts, in the order asked for.
    Parts(Vec<Range<u64>>),
    Unsatisfiable,
}

/// What `header` asks for of a blob of `size` bytes. A malformed range in bytes is unsatisfiable, rather
/// than ignored: answering with the whole blob would surprise whoever asked for a part.
pub(crate) fn parse(header: &str, size: u64) -> Ranges {
    let Some((unit, set)) = header.split_once('=') else {
        return Ranges::Unsatisfiable;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Ranges::Whole;
    }
    let mut parts = Vec::new();
    for (i, spec) in set
        .split(',')
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .enumerate()
    {
        if i == RANGES_MAX {
            return Ranges::Unsatisfiable;
        }
        match parse_spec(spec, size) {
            Some(part) if part.is_empty() => {} // lies behind the end: the others may still do
            Some(part) => parts.push(part),
            None => return Ranges::Unsatisfiable,
        }
    }
    // Parts that together exceed the blob overlap: many times the blob for one small request.
    let total: u128 = parts.iter().map(|p| u128::from(p.end - p.start)).sum();
    if parts.is_empty() || (parts.len() > 1 && total > u128::from(size)) {
        return Ranges::Unsatisfiable;
    }
    Ranges::Parts(parts)
}

/// One range-spec: None if malformed, empty if it lies outside.
fn parse_spec(spec: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    let number = |s: &str| -> Option<u64> {
        if s.is_empty() || !s.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        // A number too large for us lies behind every end.
        Some(s.parse().unwrap_or(u64::MAX))
    };
    if first.is_empty() {
        let suffix = number(last)?;
        return Some(size.saturating_sub(suffix)..size);
    }
    let first = number(first)?;
    let end = if last.is_empty() {
        size
    } else {
        let last = number(last)?;
        if last < first {
            return None;
        }
        last.saturating_add(1).min(size)
    };
    Some(first.min(end)..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_blob() {
        let one = |r: Range<u64>| Ranges::Parts(vec![r]);
        assert_eq!(parse("bytes=0-0", 10), one(0..1));
        assert_eq!(parse("bytes=2-", 10), one(2..10));
        assert_eq!(parse("bytes=-3", 10), one(7..10));
        assert_eq!(parse("bytes=-30", 10), one(0..10));
        assert_eq!(parse("bytes=8-99999999999999999999999", 10), one(8..10));
        assert_eq!(parse("bytes=0-1, 4-5", 10), Ranges::Parts(vec![0..2, 4..6]));
        assert_eq!(parse("bytes=0-1,50-60", 10), one(0..2));
        assert_eq!(parse("items=0-1", 10), Ranges::Whole);
    }

    #[test]
    fn what_no_blob_has() {
        for bad in [
            "bytes=5-0",
            "bytes=10-",
            "bytes=10-20",
            "bytes=-0",
            "bytes=",
            "bytes=a-b",
            "bytes=1",
            "bytes",
            "bytes=+1-2",
            "bytes=--1",
            "bytes=0-,0-,0-",
        ] {
            assert_eq!(parse(bad, 10), Ranges::Unsatisfiable, "{bad}");
        }
        assert_eq!(parse("bytes=0-", 0), Ranges::Unsatisfiable);
        let many = format!("bytes={}", "0-0,".repeat(1000));
        assert_eq!(parse(&many, 1 << 30), Ranges::Unsatisfiable);
    }
}
