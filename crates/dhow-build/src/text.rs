//! Text as Go's library has it, where messages and results must be the same as there.

/// A Go string literal of `text`, as `%q` writes it.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            '\0'..='\u{7f}' => out.push_str(&format!("\\x{:02x}", c as u32)),
            _ if printable(c) => out.push(c),
            _ if u32::from(c) < 0x10000 => out.push_str(&format!("\\u{:04x}", c as u32)),
            _ => out.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    out.push('"');
    out
}

/// Nearly what Go says of characters beyond ASCII.
fn printable(c: char) -> bool {
    !c.is_control() && !c.is_whitespace() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}')
}

/// `strconv.ParseBool`.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Whether `c` parts words of a statement; line ends are no longer there by then.
pub fn parts_words(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// The words of `text`, split wherever there is space, at most `most` of them. A text that begins or ends with space
/// begins or ends with an empty word.
pub fn split_words(text: &str, most: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while words.len() + 1 < most {
        let Some(at) = rest.find(parts_words) else {
            break;
        };
        words.push(&rest[..at]);
        rest = rest[at..].trim_start_matches(parts_words);
    }
    words.push(rest);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_go_quotes_them() {
        for (text, shown) in [
            ("", r#""""#),
            ("a 'b'", r#""a 'b'""#),
            ("\"\\", r#""\"\\""#),
            ("\0\u{8}\n\u{7f}", r#""\x00\b\n\x7f""#),
            ("♥ é", r#""♥ é""#),
            ("\u{feff}\u{2028}", r#""\ufeff\u2028""#),
        ] {
            assert_eq!(quoted(text), shown);
        }
    }

    #[test]
    fn words_are_split_at_any_space() {
        assert_eq!(split_words("a \t b  c", 9), ["a", "b", "c"]);
        assert_eq!(split_words("a \t b  c", 2), ["a", "b  c"]);
        assert_eq!(split_words("a ", 9), ["a", ""]);
        assert_eq!(split_words("", 9), [""]);
    }
}
