//! What can be wrong with a Dockerfile, in BuildKit's words, and where.

use std::fmt;

use crate::expand::ExpandError;
use crate::source::{Lines, excerpt};
use crate::suggest::Hint;
use crate::text::quoted;

/// A line may be so long, in bytes, its end not counted.
pub const LONGEST_LINE: usize = 65535;

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Problem {
    #[error("file with no instructions")]
    NoInstructions,
    #[error("dockerfile contains no stages to build")]
    NoStages,
    /// BuildKit has no such bounds; without them a file could keep the builder busy for hours.
    #[error("a Dockerfile may not have more than {most} {what}")]
    TooMany { what: &'static str, most: usize },
    #[error("no build stage in current context")]
    OutsideStage,
    #[error("dockerfile line greater than max allowed size of {LONGEST_LINE}")]
    LineTooLong,
    #[error("only one {0} parser directive can be used")]
    DirectiveTwice(&'static str),
    #[error("invalid escape token '{0}' does not match ` or \\")]
    EscapeToken(String),
    #[error("unterminated heredoc")]
    UnterminatedHeredoc,
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    NotOnlyStrings,
    #[error("unknown instruction: {word}{hint}")]
    UnknownInstruction { word: String, hint: Hint },
    #[error("unknown flag: --{flag}{hint}")]
    UnknownFlag { flag: String, hint: Hint },
    /// What one instruction says of its own flags and arguments.
    #[error("{0}")]
    Arguments(String),
    #[error("target stage {} could not be found{hint}", quoted(name))]
    NoTarget { name: String, hint: Hint },
    #[error("invalid stage index {0}")]
    StageIndex(i64),
    #[error(transparent)]
    Expansion(#[from] ExpandError),
    #[error("lint violation found for rules: {0}")]
    Checks(String),
}

impl Problem {
    pub(crate) fn arguments(message: impl Into<String>) -> Problem {
        Problem::Arguments(message.into())
    }

    pub(crate) fn at(self, lines: Lines) -> LocatedProblem {
        LocatedProblem {
            problem: self,
            lines: Some(lines),
            in_instruction: false,
        }
    }
}

/// A problem, and the lines that have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedProblem {
    pub problem: Problem,
    /// None where it is the file as a whole.
    pub lines: Option<Lines>,
    /// Whether it is an instruction that can't be understood, whose line the message names.
    pub in_instruction: bool,
}

impl LocatedProblem {
    /// The lines that have it and their neighbours; nothing where it is the file as a whole.
    pub fn excerpt(&self, file: &str, content: &[u8]) -> String {
        self.lines
            .map_or_else(String::new, |lines| excerpt(file, content, lines))
    }
}

impl From<Problem> for LocatedProblem {
    fn from(problem: Problem) -> LocatedProblem {
        LocatedProblem {
            problem,
            lines: None,
            in_instruction: false,
        }
    }
}

impl fmt::Display for LocatedProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lines {
            Some(lines) if self.in_instruction => {
                let line = lines.first;
                write!(f, "dockerfile parse error on line {line}: {}", self.problem)
            }
            _ => self.problem.fmt(f),
        }
    }
}

impl std::error::Error for LocatedProblem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.problem)
    }
}
