//! The patterns of `${name#pattern}`, `${name%pattern}` and `${name/pattern/text}`: `*` is any text, `?` any character,
//! and a backslash takes the meaning from what follows it.

use regex_lite::{Regex, escape};

/// A pattern's length times its value's, which is the time that matching takes, may be no more.
const MOST: usize = 16 << 20;

/// Without what is at the front and matches: the longest such, or the shortest.
pub fn without_prefix(pattern: &str, value: &str, longest: bool) -> Result<String, String> {
    let pattern = compile(pattern, value, longest, true)?;
    let end = pattern.find(value).map_or(0, |found| found.end());
    Ok(value[end..].to_owned())
}

/// Without what is at the end and matches. A regular expression looks from the left, so both are turned round.
pub fn without_suffix(pattern: &str, value: &str, longest: bool) -> Result<String, String> {
    let shorter = without_prefix(&turned_pattern(pattern), &turned(value), longest)?;
    Ok(turned(&shorter))
}

/// With the first match replaced, or each.
pub fn replaced(pattern: &str, value: &str, with: &str, each: bool) -> Result<String, String> {
    let pattern = compile(pattern, value, true, false)?;
    if each {
        // The replacement is a template here, in BuildKit too: `$$` is a dollar.
        return Ok(pattern.replace_all(value, with).into_owned());
    }
    Ok(match pattern.find(value) {
        Some(found) => [&value[..found.start()], with, &value[found.end()..]].concat(),
        None => value.to_owned(),
    })
}

fn compile(pattern: &str, value: &str, greedy: bool, anchored: bool) -> Result<Regex, String> {
    if pattern.len().saturating_mul(value.len()) > MOST {
        return Err(format!(
            "it is too long for a value of {} bytes",
            value.len()
        ));
    }
    let mut out = String::from(if anchored { "^" } else { "" });
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if greedy => out.push_str(".*"),
            '*' => out.push_str(".*?"),
            '?' => out.push('.'),
            // These two are escaped for the sake of the braces around the pattern.
            '\\' if matches!(chars.peek(), Some('}' | '/')) => {}
            '\\' => match chars.next() {
                Some(c @ ('*' | '?' | '\\')) => out.extend(['\\', c]),
                Some(c) => return Err(format!("invalid escape '\\{c}'")),
                None => return Err("invalid escape '\\'".to_owned()),
            },
            c => out.push_str(&escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    Regex::new(&out).map_err(|e| e.to_string())
}

fn turned(text: &str) -> String {
    text.chars().rev().collect()
}

/// A backslash stays in front of what it escapes.
fn turned_pattern(pattern: &str) -> String {
    let mut pieces = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next() } else { None };
        pieces.push(std::iter::once(c).chain(escaped).collect::<String>());
    }
    pieces.reverse();
    pieces.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_turned_with_their_escapes() {
        for (pattern, turned) in [
            ("a\\*c", "c\\*a"),
            ("\\\\\\ab", "b\\a\\\\"),
            ("ab\\", "\\ba"),
            ("👽\\🚀🖖", "🖖\\🚀👽"),
            ("\\\\b", "b\\\\"),
        ] {
            assert_eq!(turned_pattern(pattern), turned);
        }
    }

    #[test]
    fn the_shortest_or_the_longest_goes() {
        let path = "/a/b/c.tar.gz";
        assert_eq!(without_prefix("*/", path, false).unwrap(), "a/b/c.tar.gz");
        assert_eq!(without_prefix("*/", path, true).unwrap(), "c.tar.gz");
        assert_eq!(without_suffix(".*", path, false).unwrap(), "/a/b/c.tar");
        assert_eq!(without_suffix(".*", path, true).unwrap(), "/a/b/c");
        assert_eq!(without_suffix("x", path, true).unwrap(), path);
    }

    #[test]
    fn what_no_pattern_has_is_refused() {
        for bad in ["\\", "\\x", "\\\\\\"] {
            assert!(compile(bad, "", true, true).is_err(), "{bad:?}");
        }
        let long = "a".repeat(5000);
        assert!(compile(&long, &long, true, true).is_err());
    }

    #[test]
    fn the_first_match_is_replaced_or_each() {
        assert_eq!(replaced("o", "foo", "0", false).unwrap(), "f0o");
        assert_eq!(replaced("o", "foo", "0", true).unwrap(), "f00");
        assert_eq!(replaced("", "ab", "-", false).unwrap(), "-ab");
    }
}
