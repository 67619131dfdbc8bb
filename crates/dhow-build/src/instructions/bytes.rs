//! `64m`: amounts of memory, as go-units reads them.

/// The number of bytes, the units being powers of 1024.
pub(super) fn parse(text: &str) -> Option<u64> {
    let last = text.rfind(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' '))?;
    let (number, unit) = text.split_at(last + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let number: f64 = number.parse().ok().filter(|number| *number >= 0.0)?;
    let unit = unit.to_ascii_lowercase();
    let prefix = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')) {
        // `ib` alone is no unit.
        Some("") if unit == "ib" => return None,
        Some(prefix) => prefix,
        None => &unit,
    };
    let shift = match prefix {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let bytes = number * (1u64 << shift) as f64;
    (bytes < i64::MAX as f64).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("32", Some(32)),
            ("32b", Some(32)),
            ("1.5K", Some(1536)),
            ("64m", Some(64 << 20)),
            ("64 MB", Some(64 << 20)),
            ("2GiB", Some(2 << 30)),
            ("1p", Some(1 << 50)),
            ("", None),
            ("m", None),
            ("-1", None),
            ("1x", None),
            ("1ib", None),
            ("1kbb", None),
            ("1e9", Some(1_000_000_000)),
            ("+1k", Some(1024)),
            ("9999999p", None),
        ] {
            assert_eq!(parse(text), bytes, "{text:?}");
        }
    }
}
