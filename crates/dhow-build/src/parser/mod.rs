//! A Dockerfile's statements, by lines: directives, comments, lines that go on, heredocs.
//!
//! Instructions are not understood here but in [`crate::instructions`]. A document that is written out again
//! ([`Document::print`]) and read has the same statements.

mod arguments;
mod directives;
mod heredoc;
mod lines;
mod print;
mod statement;

use std::borrow::Cow;

pub use arguments::{Arguments, Pair};
pub(crate) use directives::check_in_comment;
pub use directives::{Directive, Directives, syntax};
pub use heredoc::Heredoc;
pub(crate) use heredoc::of_word as heredoc_of_word;
pub use statement::Statement;

use crate::problem::{LocatedProblem, Problem};
use crate::source::Lines;

/// A Dockerfile that is well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub directives: Directives,
    /// What escapes characters and ends of lines: a backslash or a backquote.
    pub escape: char,
    pub statements: Vec<Statement>,
    /// The last lines of statements that have empty lines in them.
    pub empty_continuations: Vec<Lines>,
}

pub fn parse(content: &[u8]) -> Result<Document, LocatedProblem> {
    let mut parser = Parser {
        lines: lines::Reader::new(content),
        directives: directives::Reader::new("#"),
        comments: Vec::new(),
        document: Document {
            directives: Directives::default(),
            escape: '\\',
            statements: Vec::new(),
            empty_continuations: Vec::new(),
        },
    };
    while let Some(line) = parser.lines.next()? {
        let line = lines::text(line);
        parser.first_line(&line)?;
    }
    if parser.document.statements.is_empty() {
        return Err(Problem::NoInstructions.into());
    }
    parser.document.directives = parser.directives.found;
    Ok(parser.document)
}

/// The only statement of a text, as an image's ONBUILD has it.
pub fn parse_trigger(text: &str) -> Result<Statement, Problem> {
    let mut document = parse(text.as_bytes()).map_err(|e| e.problem)?;
    match (document.statements.pop(), document.statements.pop()) {
        (Some(statement), None) => Ok(statement),
        _ => Err(Problem::arguments(
            "onbuild trigger should be a single expression",
        )),
    }
}

struct Parser<'a> {
    lines: lines::Reader<'a>,
    directives: directives::Reader,
    /// Those since the last statement, or since the last that is empty.
    comments: Vec<String>,
    document: Document,
}

impl Parser<'_> {
    /// A line that no statement goes on in.
    fn first_line(&mut self, line: &str) -> Result<(), LocatedProblem> {
        let number = self.lines.number;
        let directive = self.directive(line.trim_start())?;
        if lines::is_comment(line) {
            if !directive {
                self.comment(line);
            }
            return Ok(());
        }
        let line = line.trim_start();
        let (line, goes_on) = match lines::continued(line, self.document.escape) {
            Some(line) => (Cow::Borrowed(line), true),
            None if line.is_empty() => return Ok(()),
            None => (Cow::Borrowed(line), false),
        };
        let line = match goes_on {
            true => self.rest_of(line.into_owned())?,
            false => line.into_owned(),
        };
        self.statement(&line, number)
    }

    fn directive(&mut self, line: &str) -> Result<bool, LocatedProblem> {
        let here = Lines::one(self.lines.number);
        let is_one = self
            .directives
            .line(line, here.first)
            .map_err(|problem| problem.at(here))?;
        // Only the line that has just been read can have brought it.
        match &self.directives.found.escape {
            Some(directive) if is_one && directive.lines == here => {
                self.document.escape = match directive.value.as_str() {
                    "\\" => '\\',
                    "`" => '`',
                    other => return Err(Problem::EscapeToken(other.to_owned()).at(here)),
                };
            }
            _ => {}
        }
        Ok(is_one)
    }

    fn comment(&mut self, line: &str) {
        // Where the line is indented that leaves the mark in, in BuildKit too.
        let mut rest = line.chars();
        rest.next();
        match rest.as_str().trim() {
            "" => self.comments.clear(),
            comment => self.comments.push(comment.to_owned()),
        }
    }

    /// The lines in which a statement goes on, joined. Comments between them are left out, empty lines as well.
    fn rest_of(&mut self, mut joined: String) -> Result<String, LocatedProblem> {
        let mut empty = false;
        while let Some(line) = self.lines.next()? {
            let line = lines::text(line);
            if lines::is_comment(&line) {
                continue;
            }
            if line.trim_start().is_empty() {
                empty = true;
                continue;
            }
            match lines::continued(&line, self.document.escape) {
                Some(line) => joined.push_str(line),
                None => {
                    joined.push_str(&line);
                    break;
                }
            }
        }
        if empty {
            let here = Lines::one(self.lines.number);
            self.document.empty_continuations.push(here);
        }
        Ok(joined)
    }

    fn statement(&mut self, line: &str, first: usize) -> Result<(), LocatedProblem> {
        let here = Lines::new(first, self.lines.number);
        let mut statement =
            statement::parse(line, self.document.escape).map_err(|problem| problem.at(here))?;
        if statement.may_have_heredocs() && line.contains("<<") {
            let opened = heredoc::of_line(line).map_err(|problem| problem.at(here))?;
            for mut heredoc in opened {
                heredoc.content = self.content(&heredoc, here)?;
                statement.heredocs.push(heredoc);
            }
        }
        statement.lines = Lines::new(first, self.lines.number);
        statement.comments = std::mem::take(&mut self.comments);
        self.document.statements.push(statement);
        Ok(())
    }

    /// The lines up to the one that is the heredoc's name.
    fn content(&mut self, heredoc: &Heredoc, opened: Lines) -> Result<Vec<u8>, LocatedProblem> {
        let mut content = Vec::new();
        while let Some(line) = self.lines.next()? {
            let mut bare = lines::without_end(line);
            if heredoc.chomps {
                let tabs = bare.iter().take_while(|b| **b == b'\t').count();
                bare = &bare[tabs..];
            }
            if bare == heredoc.name.as_bytes() {
                return Ok(content);
            }
            content.extend_from_slice(line);
        }
        Err(Problem::UnterminatedHeredoc.at(opened))
    }
}

#[cfg(test)]
mod tests;
