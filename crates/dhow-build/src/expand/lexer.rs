//! One word, read from front to end.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

use super::pattern;
use super::{Cause, DEEPEST, Env, Expansion, LONGEST, Lex};

pub fn run(lex: &Lex, word: &str, env: &Env) -> Result<Expansion, Cause> {
    let mut lexer = Lexer {
        lex,
        env,
        chars: word.chars().peekable(),
        depth: 0,
        used: BTreeSet::new(),
        unset: BTreeSet::new(),
    };
    let (text, words) = lexer.until(None, lex.keeps_escapes)?;
    Ok(Expansion {
        text,
        words: words.finish(),
        used: lexer.used,
        unset: lexer.unset,
    })
}

struct Lexer<'a> {
    lex: &'a Lex,
    env: &'a Env,
    chars: Peekable<Chars<'a>>,
    depth: usize,
    used: BTreeSet<String>,
    unset: BTreeSet<String>,
}

/// The text so far, split at spaces.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    begun: String,
}

impl Words {
    fn character(&mut self, c: char) {
        if !c.is_whitespace() {
            self.begun.push(c);
        } else if !self.begun.is_empty() {
            self.done.push(std::mem::take(&mut self.begun));
        }
    }

    fn finish(mut self) -> Vec<String> {
        if !self.begun.is_empty() {
            self.done.push(self.begun);
        }
        self.done
    }
}

impl Lexer<'_> {
    /// Reads up to `stop`, or to the end where there is none.
    fn until(&mut self, stop: Option<char>, raw: bool) -> Result<(String, Words), Cause> {
        let (mut text, mut words) = (String::new(), Words::default());
        while let Some(c) = self.chars.next() {
            if Some(c) == stop {
                return Ok((text, words));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    value.chars().for_each(|c| words.character(c));
                    text.push_str(&value);
                }
                '\'' | '"' if !self.lex.ignores_quotes => {
                    let quoted = match c {
                        '"' => self.double_quoted(raw)?,
                        _ => self.single_quoted()?,
                    };
                    words.begun.push_str(&quoted);
                    text.push_str(&quoted);
                }
                '<' => {
                    let opening = self.possible_heredoc();
                    words.begun.push_str(&opening);
                    text.push_str(&opening);
                }
                c if c == self.lex.escape => {
                    if raw {
                        words.begun.push(c);
                        text.push(c);
                    }
                    // At the end there is nothing to escape.
                    if let Some(escaped) = self.chars.next() {
                        words.begun.push(escaped);
                        text.push(escaped);
                    }
                }
                c => {
                    words.character(c);
                    text.push(c);
                }
            }
            if text.len() > LONGEST {
                return Err(Cause::TooLong);
            }
        }
        match stop {
            Some('/') => Err(Cause::NoSlash),
            Some(_) => Err(Cause::NoBrace),
            None => Ok((text, words)),
        }
    }

    fn single_quoted(&mut self) -> Result<String, Cause> {
        let mut text = String::new();
        loop {
            match self.chars.next() {
                None => return Err(Cause::End("single-quote")),
                Some('\'') => break,
                Some(c) => text.push(c),
            }
        }
        Ok(self.in_quotes('\'', text))
    }

    fn double_quoted(&mut self, raw: bool) -> Result<String, Cause> {
        let mut text = String::new();
        loop {
            match self.chars.next() {
                None => return Err(Cause::End("double-quote")),
                Some('"') => break,
                Some('$') => text.push_str(&self.dollar()?),
                Some(c) if c == self.lex.escape => {
                    if raw {
                        text.push(c);
                    }
                    match self.chars.peek().copied() {
                        None => {}
                        Some(next) if matches!(next, '"' | '$') || next == c => {
                            text.push(next);
                            self.chars.next();
                        }
                        // Anything else it does not escape, and stays itself.
                        Some(_) => text.push(c),
                    }
                }
                Some(c) => text.push(c),
            }
            if text.len() > LONGEST {
                return Err(Cause::TooLong);
            }
        }
        Ok(self.in_quotes('"', text))
    }

    fn in_quotes(&self, quote: char, text: String) -> String {
        if self.lex.keeps_quotes {
            format!("{quote}{text}{quote}")
        } else {
            text
        }
    }

    /// `<<` holds the space that follows it in its word, so that a heredoc's name is found in one.
    fn possible_heredoc(&mut self) -> String {
        let mut text = String::from("<");
        if self.chars.next_if_eq(&'<').is_some() {
            text.push('<');
            while let Some(space) = self.chars.next_if(|c| matches!(c, '\t' | '\r' | ' ')) {
                text.push(space);
            }
        }
        text
    }

    fn dollar(&mut self) -> Result<String, Cause> {
        if self.chars.next_if_eq(&'{').is_some() {
            if self.depth >= DEEPEST {
                return Err(Cause::TooDeep);
            }
            self.depth += 1;
            let value = self.braces();
            self.depth -= 1;
            return value;
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok(match self.get(&name) {
            Some(value) => value,
            None if self.lex.keeps_unset => format!("${name}"),
            None => String::new(),
        })
    }

    /// What follows `${`.
    fn braces(&mut self) -> Result<String, Cause> {
        match self.chars.peek() {
            None => return Err(Cause::NoBrace),
            Some('{' | '}' | ':') => return Err(Cause::Substitution),
            Some(_) => {}
        }
        let name = self.name();
        match self.chars.next() {
            None => Err(Cause::NoBrace),
            Some('}') => Ok(match self.get(&name) {
                Some(value) => value,
                None if self.lex.keeps_unset => format!("${{{name}}}"),
                None => String::new(),
            }),
            Some(':') => match self.chars.next() {
                Some(c @ ('#' | '%')) => Err(Cause::Modifier(format!(":{c}"))),
                // Also where there is no such: a variable that is not set may stay as it is.
                Some(c) => self.alternative(&name, c, true),
                None => Err(Cause::NoBrace),
            },
            Some(c @ ('-' | '+' | '?')) => self.alternative(&name, c, false),
            Some(c @ ('#' | '%')) => self.trimmed(&name, c),
            Some('/') => self.replaced(&name),
            Some(c) => Err(Cause::Modifier(c.to_string())),
        }
    }

    fn alternative(&mut self, name: &str, kind: char, colon: bool) -> Result<String, Cause> {
        let (word, _) = self.until(Some('}'), false)?;
        let value = self.get(name);
        if value.is_none() && self.lex.keeps_unset {
            let colon = if colon { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{kind}{word}}}"));
        }
        let counts = value.as_ref().filter(|value| !colon || !value.is_empty());
        match (kind, counts) {
            ('-', Some(value)) | ('?', Some(value)) => Ok(value.clone()),
            ('-', None) | ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            ('?', None) => Err(Cause::Refused {
                name: name.to_owned(),
                message: match value {
                    _ if !word.is_empty() => word,
                    Some(_) => "is not allowed to be empty".to_owned(),
                    None => "is not allowed to be unset".to_owned(),
                },
            }),
            (kind, _) => {
                let colon = if colon { ":" } else { "" };
                Err(Cause::Modifier(format!("{colon}{kind}")))
            }
        }
    }

    fn trimmed(&mut self, name: &str, kind: char) -> Result<String, Cause> {
        let (word, _) = self.until(Some('}'), true)?;
        let value = match self.get(name) {
            None if self.lex.keeps_unset => return Ok(format!("${{{name}{kind}{word}}}")),
            value => value.unwrap_or_default(),
        };
        let (pattern, longest) = match word.strip_prefix(kind) {
            Some(pattern) => (pattern, true),
            None => (word.as_str(), false),
        };
        let trimmed = match kind {
            '#' => pattern::without_prefix(pattern, &value, longest),
            _ => pattern::without_suffix(pattern, &value, longest),
        };
        trimmed.map_err(|reason| invalid(pattern, reason))
    }

    fn replaced(&mut self, name: &str) -> Result<String, Cause> {
        let each = self.chars.next_if_eq(&'/').is_some();
        let (pattern, _) = self.until(Some('/'), true)?;
        let (with, _) = self.until(Some('}'), true)?;
        let value = match self.get(name) {
            None if self.lex.keeps_unset => return Ok(format!("${{{name}/{pattern}/{with}}}")),
            value => value.unwrap_or_default(),
        };
        // Each character may be a match, and each match the replacement.
        if each && (value.len() + 1).saturating_mul(with.len()) > LONGEST {
            return Err(Cause::TooLong);
        }
        pattern::replaced(&pattern, &value, &with, each).map_err(|reason| invalid(&pattern, reason))
    }

    /// Letters, digits and `_`; digits alone where the first is one; or one of the shell's own parameters.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.chars.peek().copied() {
            Some(c) if c.is_numeric() => {
                while let Some(digit) = self.chars.next_if(|c| c.is_numeric()) {
                    name.push(digit);
                }
            }
            Some(c) if matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!') => {
                self.chars.next();
                name.push(c);
            }
            _ => {
                while let Some(c) = self.chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    name.push(c);
                }
            }
        }
        name
    }

    fn get(&mut self, name: &str) -> Option<String> {
        let value = self.env.get(name);
        let asked = if value.is_some() {
            &mut self.used
        } else {
            &mut self.unset
        };
        if !asked.contains(name) {
            asked.insert(name.to_owned());
        }
        value.map(str::to_owned)
    }
}

fn invalid(pattern: &str, reason: String) -> Cause {
    Cause::Pattern {
        pattern: pattern.to_owned(),
        reason,
    }
}
