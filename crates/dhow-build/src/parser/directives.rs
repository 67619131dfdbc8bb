//! Parser directives: comments at the very top of the form `# name=value`. The first line that is none ends them.

use crate::problem::Problem;
use crate::source::Lines;

const NAMES: &[&str] = &["syntax", "escape", "check"];

/// The directives of a file, and where each stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// The image of a frontend, and what else its line has.
    pub syntax: Option<Directive>,
    pub escape: Option<Directive>,
    /// What the build checks are to skip and to refuse.
    pub check: Option<Directive>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    pub value: String,
    pub lines: Lines,
}

impl Directive {
    /// Up to the first space.
    pub fn first_word(&self) -> &str {
        self.value.split(' ').next().unwrap_or_default()
    }
}

/// Reads one line after another, as long as they are directives.
#[derive(Debug)]
pub(crate) struct Reader {
    prefix: &'static str,
    ended: bool,
    pub(crate) found: Directives,
}

impl Reader {
    pub(crate) fn new(prefix: &'static str) -> Reader {
        Reader {
            prefix,
            ended: false,
            found: Directives::default(),
        }
    }

    /// Whether the line is a directive.
    pub(crate) fn line(&mut self, line: &str, number: usize) -> Result<bool, Problem> {
        if self.ended {
            return Ok(false);
        }
        let Some((name, value)) = line.strip_prefix(self.prefix).and_then(pair) else {
            self.ended = true;
            return Ok(false);
        };
        let (name, place) = match name.to_lowercase().as_str() {
            "syntax" => (NAMES[0], &mut self.found.syntax),
            "escape" => (NAMES[1], &mut self.found.escape),
            "check" => (NAMES[2], &mut self.found.check),
            _ => {
                self.ended = true;
                return Ok(false);
            }
        };
        if place.is_some() {
            return Err(Problem::DirectiveTwice(name));
        }
        *place = Some(Directive {
            value: value.to_owned(),
            lines: Lines::one(number),
        });
        Ok(true)
    }
}

/// `name = value` of a comment, what begins it taken off.
fn pair(comment: &str) -> Option<(&str, &str)> {
    let (name, value) = comment.trim_start().split_once('=')?;
    let (name, value) = (name.trim_end(), value.trim());
    let first = name.chars().next()?;
    let fits = first.is_ascii_alphabetic() && name.chars().all(|c| c.is_ascii_alphanumeric());
    (fits && !value.is_empty()).then_some((name, value))
}

/// The `check=` of a comment in front of an instruction.
pub(crate) fn check_in_comment(comment: &str) -> Option<&str> {
    let (name, value) = pair(comment)?;
    name.eq_ignore_ascii_case("check").then_some(value)
}

/// The frontend that a file asks for, whatever its language: `# syntax=`, `// syntax=`, or a JSON object that has it, a
/// first line that begins with `#!` left out.
pub fn syntax(content: &[u8]) -> Option<Directive> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let (content, before) = match content.starts_with(b"#!") {
        true => match content.iter().position(|b| *b == b'\n') {
            Some(end) => (&content[end + 1..], 1),
            None => (&content[..0], 1),
        },
        false => (content, 0),
    };
    for prefix in ["#", "//"] {
        let mut reader = Reader::new(prefix);
        for (n, line) in content.split(|b| *b == b'\n').enumerate() {
            let line = String::from_utf8_lossy(line);
            // What was found before a mistake counts.
            if !reader.line(&line, before + n + 1).unwrap_or(false) {
                break;
            }
        }
        if reader.found.syntax.is_some() {
            return reader.found.syntax;
        }
    }
    if content.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let object: serde_json::Value = serde_json::from_slice(content).ok()?;
    Some(Directive {
        value: object.get("syntax")?.as_str()?.to_owned(),
        lines: Lines::one(before + 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(content: &str) -> Option<(String, usize)> {
        syntax(content.as_bytes()).map(|d| (d.first_word().to_owned(), d.lines.first))
    }

    #[test]
    fn the_frontend_is_found_in_any_language() {
        let at = |line| Some(("a/b:1".to_owned(), line));
        assert_eq!(found("# syntax=a/b:1\nFROM x"), at(1));
        assert_eq!(found("#SYNTAX = a/b:1 more\r\n"), at(1));
        assert_eq!(found("\u{feff}#!/bin/x\n# escape=`\n#syntax=a/b:1"), at(3));
        assert_eq!(found("// syntax=a/b:1\n"), at(1));
        assert_eq!(found("{\"syntax\": \"a/b:1\"}"), at(1));
        for none in [
            "",
            "FROM x\n# syntax=a",
            "# a\n# syntax=a",
            "{\"a\":1}",
            "#!",
        ] {
            assert_eq!(found(none), None, "{none:?}");
        }
    }

    #[test]
    fn what_is_no_directive_ends_them() {
        let mut reader = Reader::new("#");
        assert_eq!(reader.line("# check = skip=all ", 1), Ok(true));
        assert_eq!(reader.line("#escape=`", 2), Ok(true));
        assert_eq!(
            reader.line("# check=x", 3),
            Err(Problem::DirectiveTwice("check"))
        );
        assert_eq!(reader.line("# unknown=x", 4), Ok(false));
        assert_eq!(reader.line("# syntax=x", 5), Ok(false));
        assert_eq!(reader.found.check.unwrap().value, "skip=all");
        assert_eq!(reader.found.syntax, None);
    }
}
