//! One statement: an instruction's name and what it is given, not yet understood.

use crate::problem::Problem;
use crate::source::Lines;
use crate::text::split_words;

use super::arguments::{self, Arguments};
use super::heredoc::Heredoc;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The instruction's name as it is written.
    pub keyword: String,
    /// Words that begin with two dashes.
    pub flags: Vec<String>,
    pub arguments: Arguments,
    pub heredocs: Vec<Heredoc>,
    /// All of it in one line, spaces at its end included, without the content of heredocs.
    pub text: String,
    pub lines: Lines,
    /// The comments right above, without what marks them.
    pub comments: Vec<String>,
}

impl Statement {
    /// Whether lines that follow may be files of it.
    pub(super) fn may_have_heredocs(&self) -> bool {
        let inner = match &self.arguments {
            Arguments::Statement(inner) => inner,
            _ => self,
        };
        let json = matches!(inner.arguments, Arguments::Words { json: true, .. });
        let keyword = inner.keyword.to_ascii_uppercase();
        !json && matches!(keyword.as_str(), "ADD" | "COPY" | "RUN")
    }
}

/// A statement of this line. Heredocs, place and comments are not known to the line.
pub(super) fn parse(line: &str, escape: char) -> Result<Statement, Problem> {
    let line = line.trim_start();
    let words = split_words(line.trim_end(), 2);
    let (flags, rest) = words
        .get(1)
        .map_or((Vec::new(), ""), |rest| arguments::flags(rest, escape));
    let keyword = words[0].to_owned();
    let arguments = arguments::parse(&keyword.to_ascii_uppercase(), rest.trim(), escape)?;
    Ok(Statement {
        keyword,
        flags,
        arguments,
        heredocs: Vec::new(),
        text: line.to_owned(),
        lines: Lines::default(),
        comments: Vec::new(),
    })
}
