//! One pattern: `*` and `?` within a path's element, `**` across them, `[a-z]`, and backslashes.
//!
//! A path is gone through once, with the set of places in the pattern that it may have reached; the time is bounded by
//! the product of both lengths.

use std::iter::Peekable;
use std::str::Chars;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Exact,
    /// `text**`: whatever begins with that.
    Prefix(String),
    /// `**text` at the front: whatever ends with that, and where it begins with a slash, that alone without it.
    Suffix(String),
    Tokens(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    /// Any but a slash.
    One,
    /// Any number of those.
    Star,
    /// The front of `**/`: what follows may be passed over.
    Perhaps,
    /// The rest of it: any number of characters, and a slash.
    Directories,
    /// Any number of characters.
    All,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// The kinds are moby's, with what is odd about them: `**file` matches `afile`, and `**fil?` does not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Exact,
    Prefix,
    Suffix,
    Tokens,
}

impl Pattern {
    /// Nothing where brackets or backslashes are not finished.
    pub fn parse(text: &str) -> Option<Pattern> {
        let mut tokens = Vec::new();
        let mut shape = Shape::Exact;
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(c) = chars.next() {
            match c {
                '*' if chars.next_if_eq(&'*').is_some() => {
                    chars.next_if_eq(&'/');
                    let last = chars.peek().is_none();
                    match last {
                        true => tokens.push(Token::All),
                        false => tokens.extend([Token::Perhaps, Token::Directories]),
                    }
                    shape = match (first, last) {
                        (true, _) => Shape::Suffix,
                        (false, true) if shape == Shape::Exact => Shape::Prefix,
                        (false, _) => Shape::Tokens,
                    };
                    first = false;
                    continue;
                }
                '*' => tokens.push(Token::Star),
                '?' => tokens.push(Token::One),
                '\\' => tokens.push(Token::Char(chars.next()?)),
                '[' => tokens.push(class(&mut chars)?),
                c => tokens.push(Token::Char(c)),
            }
            first = false;
            if matches!(c, '*' | '?' | '\\' | '[' | ']') {
                shape = Shape::Tokens;
            }
        }
        Some(Pattern {
            text: text.to_owned(),
            kind: match shape {
                Shape::Exact => Kind::Exact,
                Shape::Prefix => Kind::Prefix(text[..text.len() - 2].to_owned()),
                Shape::Suffix => Kind::Suffix(text[2..].to_owned()),
                Shape::Tokens => Kind::Tokens(tokens),
            },
        })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn matches(&self, path: &str) -> bool {
        match &self.kind {
            Kind::Exact => path == self.text,
            Kind::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Kind::Suffix(suffix) => {
                path.ends_with(suffix.as_str()) || suffix.strip_prefix('/') == Some(path)
            }
            Kind::Tokens(tokens) => {
                let mut places = Places::new(tokens);
                path.chars().all(|c| places.step(c)) && places.at_end()
            }
        }
    }

    /// Whether a path that begins with the directory's and a slash could match.
    pub fn may_match_below(&self, directory: &str) -> bool {
        let below = |text: &str| {
            let rest = text.strip_prefix(directory);
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        match &self.kind {
            Kind::Exact => below(&self.text),
            Kind::Prefix(prefix) => {
                directory.starts_with(prefix.as_str())
                    || prefix.strip_suffix('/') == Some(directory)
                    || below(prefix)
            }
            Kind::Suffix(_) => true,
            Kind::Tokens(tokens) => {
                let mut places = Places::new(tokens);
                directory.chars().chain(['/']).all(|c| places.step(c))
            }
        }
    }
}

/// What follows `[`. A range's ends may be escaped, and must where they are `-` or `]`.
fn class(chars: &mut Peekable<Chars>) -> Option<Token> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Some(Token::Class { negated, ranges });
        }
        let low = class_end(chars)?;
        let high = match chars.next_if_eq(&'-') {
            Some(_) => class_end(chars)?,
            None => low,
        };
        ranges.push((low, high));
    }
}

fn class_end(chars: &mut Peekable<Chars>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

/// The places in a pattern that the characters so far may have led to.
struct Places<'a> {
    tokens: &'a [Token],
    /// Whether the place before each token, and the one at the end, is among them.
    here: Vec<bool>,
    next: Vec<bool>,
}

impl Places<'_> {
    fn new(tokens: &[Token]) -> Places<'_> {
        let mut here = vec![false; tokens.len() + 1];
        here[0] = true;
        let mut places = Places {
            tokens,
            next: vec![false; here.len()],
            here,
        };
        places.skip();
        places
    }

    /// Tokens that may be nothing are passed.
    fn skip(&mut self) {
        for (n, token) in self.tokens.iter().enumerate() {
            if !self.here[n] {
                continue;
            }
            match token {
                Token::Star | Token::All => self.here[n + 1] = true,
                Token::Perhaps => {
                    self.here[n + 1] = true;
                    self.here[n + 2] = true;
                }
                _ => {}
            }
        }
    }

    /// Whether any place is left after `c`.
    fn step(&mut self, c: char) -> bool {
        self.next.fill(false);
        for (n, token) in self.tokens.iter().enumerate() {
            if !self.here[n] {
                continue;
            }
            match token {
                Token::Char(wanted) => self.next[n + 1] |= c == *wanted,
                Token::One => self.next[n + 1] |= c != '/',
                Token::Star => self.next[n] |= c != '/',
                Token::All => self.next[n] |= c != '\n',
                Token::Perhaps => {}
                Token::Directories => {
                    self.next[n] |= c != '\n';
                    self.next[n + 1] |= c == '/';
                }
                Token::Class { negated, ranges } => {
                    let within = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                    self.next[n + 1] |= within != *negated;
                }
            }
        }
        std::mem::swap(&mut self.here, &mut self.next);
        self.skip();
        self.here.contains(&true)
    }

    fn at_end(&self) -> bool {
        self.here.last() == Some(&true)
    }
}
