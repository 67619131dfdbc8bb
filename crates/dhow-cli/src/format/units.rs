//! Amounts as people write and read them: sizes and CPUs. The rules are those of docker/go-units, which
//! scripts and eyes are used to.

const KIB: f64 = 1024.0;

/// Reads `512`, `64k`, `1.5g`, `10 MiB`: units of 1024.
pub fn parse_bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let at = text
        .rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')
        .ok_or_else(invalid)?;
    let number = &text[..=at];
    let number = number.strip_suffix(' ').unwrap_or(number);
    let suffix = text[at + 1..].to_ascii_lowercase();
    // Rust would also read "inf" and "1e3".
    if !number
        .bytes()
        .all(|b| b.is_ascii_digit() || b == b'.' || b == b'-' || b == b'+')
    {
        return Err(invalid());
    }
    let size: f64 = number.parse().map_err(|_| invalid())?;
    if size < 0.0 {
        return Err(invalid());
    }
    let power = match suffix.as_bytes() {
        [] | b"b" => 0,
        [unit] | [unit, b'b'] | [unit, b'i', b'b'] => {
            match b"kmgtp".iter().position(|known| known == unit) {
                Some(position) => position as i32 + 1,
                None => return Err(format!("invalid suffix: '{suffix}'")),
            }
        }
        _ => return Err(format!("invalid suffix: '{suffix}'")),
    };
    Ok((size * KIB.powi(power)) as i64)
}

/// Billionths of a CPU of `1.5`.
pub fn parse_nano_cpus(text: &str) -> Result<i64, String> {
    let invalid = || format!("failed to parse {text} as a rational number");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return Err(invalid());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 {
        return Err("value is too precise".to_owned());
    }
    let whole: i64 = match whole {
        "" => 0,
        whole => whole.parse().map_err(|_| invalid())?,
    };
    let fraction: i64 = format!("{fraction:0<9}").parse().map_err(|_| invalid())?;
    whole
        .checked_mul(1_000_000_000)
        .and_then(|nanos| nanos.checked_add(fraction))
        .ok_or_else(invalid)
}

/// C's and Go's `%.{precision}g`.
fn general(value: f64, precision: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{value:.*e}", precision - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs());
    }
    let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
    trimmed(&format!("{value:.decimals$}"))
}

fn scaled(mut size: f64, base: f64, units: &[&str], precision: usize) -> String {
    let mut unit = 0;
    while size >= base && unit + 1 < units.len() {
        size /= base;
        unit += 1;
    }
    format!("{}{}", general(size, precision), units[unit])
}

const DECIMAL: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/// `3.45MB`: three digits, units of 1000.
pub fn size(bytes: i64) -> String {
    scaled(bytes as f64, 1000.0, &DECIMAL, 3)
}

/// `3.455MB`: four digits, units of 1000.
pub fn long_size(bytes: i64) -> String {
    scaled(bytes as f64, 1000.0, &DECIMAL, 4)
}

/// `3.455MiB`: four digits, units of 1024.
pub fn binary_size(bytes: f64) -> String {
    scaled(bytes, 1024.0, &BINARY, 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, bytes) in [
            ("32", 32),
            ("32b", 32),
            ("32k", 32 << 10),
            ("32K", 32 << 10),
            ("32kb", 32 << 10),
            ("32Kib", 32 << 10),
            ("32 MiB", 32 << 20),
            ("1.5g", 3 << 29),
            ("2t", 2 << 40),
            ("1p", 1 << 50),
            (".5k", 512),
            ("0", 0),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for (text, why) in [
            ("", "invalid size: ''"),
            ("zz", "invalid size: 'zz'"),
            ("-1", "invalid size: '-1'"),
            ("1x", "invalid suffix: 'x'"),
            ("1bb", "invalid suffix: 'bb'"),
            ("1kbb", "invalid suffix: 'kbb'"),
            ("1.2.3", "invalid size: '1.2.3'"),
            ("inf1", "invalid size: 'inf1'"),
        ] {
            assert_eq!(parse_bytes(text), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn cpus_are_read_exactly() {
        assert_eq!(parse_nano_cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(parse_nano_cpus(".25"), Ok(250_000_000));
        assert_eq!(parse_nano_cpus("2"), Ok(2_000_000_000));
        assert_eq!(
            parse_nano_cpus("1.0000000001"),
            Err("value is too precise".into())
        );
        for bad in ["", ".", "x", "-1", "1.x"] {
            assert!(parse_nano_cpus(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_shown_as_docker_shows_them() {
        for (bytes, text) in [
            (0, "0B"),
            (1, "1B"),
            (999, "999B"),
            (1000, "1kB"),
            (4_261_550, "4.26MB"),
            (13_256, "13.3kB"),
            (117_000_000, "117MB"),
            (999_999, "1e+03kB"),
            (1_500_000_000, "1.5GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(binary_size(8_589_934_592.0), "8GiB");
        assert_eq!(binary_size(1_234_567.0), "1.177MiB");
    }

    proptest! {
        #[test]
        fn nothing_that_is_typed_panics(text in "\\PC{0,12}") {
            let _ = parse_bytes(&text);
            let _ = parse_nano_cpus(&text);
        }

        #[test]
        fn every_amount_can_be_shown(n in any::<i64>()) {
            size(n);
        }
    }
}
