//! Words with quotes and variables, as a Dockerfile has them: much like a shell's.
//!
//! `$name`, `${name}` and `${name` with one of `:-` `-` `:+` `+` `:?` `?` (a word instead, a word if set, an error with a
//! word), `#` `##` `%` `%%` (without what matches at the front or end) and `/` `//` (what matches replaced). Nothing
//! is read but the variables that are handed in, and what comes out has a bound.

mod env;
mod error;
mod lexer;
mod pattern;

use std::collections::BTreeSet;

pub use env::Env;
pub use error::{Cause, ExpandError};

/// A word may not become longer than this, in bytes: a value that doubles itself line by line would fill the memory.
pub const LONGEST: usize = 16 << 20;

/// How deep `${a:-${b:-...}}` may go.
pub const DEEPEST: usize = 100;

/// How words are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lex {
    /// What takes the meaning from the character that follows.
    pub escape: char,
    /// Quotes stay in the text.
    pub keeps_quotes: bool,
    /// Escapes stay in the text.
    pub keeps_escapes: bool,
    /// Quotes are characters like others.
    pub ignores_quotes: bool,
    /// A variable that is not set stays as it is written.
    pub keeps_unset: bool,
}

/// What a word came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    pub text: String,
    /// The same, split at spaces that are not quoted.
    pub words: Vec<String>,
    /// The variables that were asked for and set.
    pub used: BTreeSet<String>,
    /// Those that were asked for and not set.
    pub unset: BTreeSet<String>,
}

impl Lex {
    pub const fn new(escape: char) -> Lex {
        Lex {
            escape,
            keeps_quotes: false,
            keeps_escapes: false,
            ignores_quotes: false,
            keeps_unset: false,
        }
    }

    /// For the content of files that stand in the Dockerfile.
    pub const fn for_content() -> Lex {
        Lex {
            ignores_quotes: true,
            ..Lex::new('\\')
        }
    }

    pub fn expand(&self, word: &str, env: &Env) -> Result<Expansion, ExpandError> {
        lexer::run(self, word, env).map_err(|cause| ExpandError {
            word: word.to_owned(),
            cause,
        })
    }

    pub fn text(&self, word: &str, env: &Env) -> Result<String, ExpandError> {
        Ok(self.expand(word, env)?.text)
    }

    pub fn words(&self, word: &str, env: &Env) -> Result<Vec<String>, ExpandError> {
        Ok(self.expand(word, env)?.words)
    }
}

#[cfg(test)]
mod tests;
