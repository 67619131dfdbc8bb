//! The words of a Dockerfile instruction: split at blanks, without their quotes and escapes, and with variables
//! replaced, as a shell would (Dockerfile reference, "Environment replacement").

use std::iter::Peekable;
use std::str::Chars;

use crate::error::{ImageError, Result};

/// Bytes that a word may have once its variables are replaced: values may double from line to line. No program takes a
/// longer variable (`MAX_ARG_STRLEN`).
const LONGEST: usize = 128 << 10;
/// How many substitutions may be within each other.
const DEEPEST: u32 = 16;

/// The words of `text`. `environment` is `NAME=value` each; a name that is not in it stands for nothing.
pub(crate) fn split(text: &str, environment: &[String]) -> Result<Vec<String>> {
    Lexer::new(text, environment, 0).words(true)
}

/// All of `text` as one word.
pub(crate) fn one(text: &str, environment: &[String]) -> Result<String> {
    within(text, environment, 0)
}

fn within(text: &str, environment: &[String], depth: u32) -> Result<String> {
    let words = Lexer::new(text, environment, depth).words(false)?;
    Ok(words.into_iter().next().unwrap_or_default())
}

struct Lexer<'a> {
    text: &'a str,
    characters: Peekable<Chars<'a>>,
    environment: &'a [String],
    depth: u32,
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str, environment: &'a [String], depth: u32) -> Lexer<'a> {
        Lexer {
            text,
            characters: text.chars().peekable(),
            environment,
            depth,
        }
    }

    fn words(mut self, split: bool) -> Result<Vec<String>> {
        let mut words = Vec::new();
        // An empty pair of quotes is a word, too.
        let mut word: Option<String> = None;
        let mut quote = None;
        while let Some(c) = self.characters.next() {
            match (c, quote) {
                (c, Some(q)) if c == q => quote = None,
                ('"' | '\'', None) => {
                    quote = Some(c);
                    word.get_or_insert_default();
                }
                ('\\', None) => word.get_or_insert_default().extend(self.characters.next()),
                ('\\', Some('"')) => {
                    let special = self
                        .characters
                        .next_if(|next| matches!(next, '"' | '$' | '\\'));
                    word.get_or_insert_default().push(special.unwrap_or('\\'));
                }
                ('$', None | Some('"')) => {
                    let value = self.variable()?;
                    word.get_or_insert_default().push_str(&value);
                }
                (c, None) if split && c.is_whitespace() => words.extend(word.take()),
                (c, _) => word.get_or_insert_default().push(c),
            }
            if word.as_ref().is_some_and(|word| word.len() > LONGEST) {
                return Err(self.invalid("it becomes too long"));
            }
        }
        if quote.is_some() {
            return Err(self.invalid("a quote is not closed"));
        }
        words.extend(word);
        Ok(words)
    }

    /// What follows a dollar.
    fn variable(&mut self) -> Result<String> {
        if self.characters.next_if_eq(&'{').is_some() {
            return self.braced();
        }
        let name = self.name();
        match name.is_empty() {
            true => Ok("$".to_owned()),
            false => Ok(self.value(&name).unwrap_or_default().to_owned()),
        }
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.characters.next_if(|c| {
            *c == '_' || c.is_ascii_alphabetic() || (c.is_ascii_digit() && !name.is_empty())
        }) {
            name.push(c);
        }
        name
    }

    /// `NAME}`, or `NAME` with a modifier: `:-word}` and its like.
    fn braced(&mut self) -> Result<String> {
        let name = self.name();
        let value = self.value(&name).map(str::to_owned);
        if name.is_empty() {
            return Err(self.invalid("bad substitution"));
        }
        let mut next = self.characters.next();
        if next == Some('}') {
            return Ok(value.unwrap_or_default());
        }
        // With a colon an empty value counts as none.
        let colon = next == Some(':');
        if colon {
            next = self.characters.next();
        }
        let set = value.filter(|value| !(colon && value.is_empty()));
        let rest = self.rest_of_braces()?;
        if self.depth >= DEEPEST {
            return Err(self.invalid("too many substitutions within each other"));
        }
        let word = || within(&rest, self.environment, self.depth + 1);
        match (next, set) {
            (Some('-'), Some(value)) | (Some('?'), Some(value)) => Ok(value),
            (Some('-'), None) | (Some('+'), Some(_)) => word(),
            (Some('+'), None) => Ok(String::new()),
            (Some('?'), None) => Err(ImageError::Invalid(format!("{name}: {}", word()?))),
            _ => Err(self.invalid("unsupported modifier in substitution")),
        }
    }

    /// Up to the brace that closes.
    fn rest_of_braces(&mut self) -> Result<String> {
        let mut rest = String::new();
        let mut open = 1;
        while let Some(c) = self.characters.next() {
            match c {
                '{' => open += 1,
                '}' => open -= 1,
                _ => {}
            }
            if open == 0 {
                return Ok(rest);
            }
            rest.push(c);
            if c == '\\' {
                rest.extend(self.characters.next());
            }
        }
        Err(self.invalid("a brace is not closed"))
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.environment.iter().find_map(|variable| {
            let (n, value) = variable.split_once('=')?;
            (n == name).then_some(value)
        })
    }

    fn invalid(&self, why: &str) -> ImageError {
        ImageError::Invalid(format!("failed to process {:?}: {why}", self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_but_in_single_quotes() {
        let environment = ["PATH=/bin", "EMPTY=", "A_1=x y"].map(str::to_owned);
        for (text, expected) in [
            ("/opt/bin:$PATH", "/opt/bin:/bin"),
            ("${PATH}/x", "/bin/x"),
            ("$A_1", "x y"),
            ("$NOTHING.", "."),
            (
                "\\$PATH '$PATH' \"\\$PATH $PATH\"",
                "$PATH $PATH $PATH /bin",
            ),
            ("${EMPTY-a}${EMPTY:-b}${NOTHING-$PATH}", "b/bin"),
            ("${EMPTY+a}${EMPTY:+b}${PATH:+c}", "ac"),
            ("a $ 5$", "a $ 5$"),
            ("\"a\\b\\\"\" c\\d", "a\\b\" cd"),
            ("", ""),
        ] {
            assert_eq!(one(text, &environment).unwrap(), expected, "{text}");
        }
        assert_eq!(
            split("a=$A_1 'b c'=\"\" d\\ e", &environment).unwrap(),
            ["a=x y", "b c=", "d e"]
        );
        for bad in [
            "${",
            "${}",
            "${PATH",
            "${PATH%x}",
            "'a",
            "${NOTHING:?is not set}",
        ] {
            assert!(one(bad, &environment).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_written_to_do_harm_is_refused() {
        let deep = "${X:-".repeat(10_000) + &"}".repeat(10_000);
        assert!(one(&deep, &[]).is_err());
        let mut environment = [format!("A={}", "x".repeat(1000))];
        let doubled = (0..30).try_for_each(|_| {
            let value = one("$A$A", &environment)?;
            environment[0] = format!("A={value}");
            Ok::<_, ImageError>(())
        });
        assert!(doubled.is_err());
    }
}
