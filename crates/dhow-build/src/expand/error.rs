//! Why a word can't be expanded, in BuildKit's words.

use crate::text::quoted;

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("failed to process {}: {cause}", quoted(word))]
pub struct ExpandError {
    pub word: String,
    pub cause: Cause,
}

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Cause {
    #[error("unexpected end of statement while looking for matching {0}")]
    End(&'static str),
    #[error("syntax error: missing '}}'")]
    NoBrace,
    #[error("syntax error: missing '/' in ${{}}")]
    NoSlash,
    #[error("syntax error: bad substitution")]
    Substitution,
    #[error("unsupported modifier ({0}) in substitution")]
    Modifier(String),
    #[error("{name}: {message}")]
    Refused { name: String, message: String },
    #[error("invalid pattern ({pattern}) in substitution: {reason}")]
    Pattern { pattern: String, reason: String },
    #[error("it comes to more than {} bytes", super::LONGEST)]
    TooLong,
    #[error("substitutions are nested deeper than {}", super::DEEPEST)]
    TooDeep,
}
