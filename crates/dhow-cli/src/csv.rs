//! One record of comma-separated values, as several of Docker's flags take (RFC 4180, read as Go reads it).

use crate::error::Refusal;

/// Splits at commas, but for those within double quotes.
pub fn fields(text: &str) -> Result<Vec<String>, Refusal> {
    let mut all = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let at_start = all.last().is_some_and(String::is_empty);
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                push(&mut all, '"');
            }
            '"' if quoted => quoted = false,
            '"' if at_start => quoted = true,
            '"' => {
                return Err(format!(
                    "parse error on {text:?}: bare \" in non-quoted-field"
                ));
            }
            ',' if !quoted => all.push(String::new()),
            c => push(&mut all, c),
        }
    }
    if quoted {
        return Err(format!(
            "parse error on {text:?}: extraneous or missing \" in quoted-field"
        ));
    }
    Ok(all)
}

fn push(all: &mut [String], c: char) {
    if let Some(last) = all.last_mut() {
        last.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_commas() {
        for (text, parts) in [
            ("a,b", &["a", "b"][..]),
            ("a", &["a"]),
            ("", &[""]),
            (r#""a,b",c"#, &["a,b", "c"]),
            (r#""a""b""#, &[r#"a"b"#]),
        ] {
            assert_eq!(fields(text).unwrap(), parts, "{text}");
        }
        for bad in [r#"a"b"#, r#""a"#] {
            assert!(fields(bad).unwrap_err().contains("parse error"), "{bad}");
        }
    }
}
