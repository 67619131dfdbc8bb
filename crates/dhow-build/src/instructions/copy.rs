//! COPY and ADD.

use crate::parser::{Heredoc, Statement, heredoc_of_word};
use crate::problem::Problem;

use super::Words;
use super::flags::{Flags, Kind};

/// What is copied, and to where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    pub paths: Vec<String>,
    pub inline: Vec<Inline>,
    pub destination: String,
}

/// A file whose content stands in the Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inline {
    pub name: String,
    pub content: Vec<u8>,
    /// Whether variables in it are replaced.
    pub expands: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    pub sources: Sources,
    /// A stage's name or number, a named context or an image.
    pub from: Option<String>,
    pub chown: String,
    pub chmod: String,
    pub link: bool,
    /// Whether the directories above the sources are made as well.
    pub parents: bool,
    pub exclude: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Add {
    pub sources: Sources,
    pub chown: String,
    pub chmod: String,
    pub link: bool,
    pub exclude: Vec<String>,
    pub checksum: String,
    /// Whether `.git` of a repository is kept; the source's own address may say so as well.
    pub keep_git_dir: Option<bool>,
    /// Whether archives are unpacked; the kind of the source decides where nothing is said.
    pub unpack: Option<bool>,
}

impl Copy {
    pub(super) fn parse(statement: &Statement, words: Words) -> Result<Copy, Problem> {
        let words = at_least_two("COPY", words)?;
        let known = [
            ("chown", Kind::Text),
            ("from", Kind::Text),
            ("chmod", Kind::Text),
            ("link", Kind::Switch),
            ("exclude", Kind::Texts),
            ("parents", Kind::Switch),
        ];
        let flags = Flags::parse(&statement.flags, &known)?;
        let text = |name| flags.text(name).unwrap_or_default().to_owned();
        Ok(Copy {
            sources: Sources::parse("COPY", words, &statement.heredocs)?,
            from: Some(text("from")).filter(|from| !from.is_empty()),
            chown: text("chown"),
            chmod: text("chmod"),
            link: flags.switch("link").unwrap_or_default(),
            parents: flags.switch("parents").unwrap_or_default(),
            exclude: flags.texts("exclude"),
        })
    }
}

impl Add {
    pub(super) fn parse(statement: &Statement, words: Words) -> Result<Add, Problem> {
        let words = at_least_two("ADD", words)?;
        let known = [
            ("chown", Kind::Text),
            ("chmod", Kind::Text),
            ("link", Kind::Switch),
            ("keep-git-dir", Kind::Switch),
            ("checksum", Kind::Text),
            ("unpack", Kind::Switch),
            ("exclude", Kind::Texts),
        ];
        let flags = Flags::parse(&statement.flags, &known)?;
        let text = |name| flags.text(name).unwrap_or_default().to_owned();
        Ok(Add {
            sources: Sources::parse("ADD", words, &statement.heredocs)?,
            chown: text("chown"),
            chmod: text("chmod"),
            link: flags.switch("link").unwrap_or_default(),
            exclude: flags.texts("exclude"),
            checksum: text("checksum"),
            keep_git_dir: flags.switch("keep-git-dir"),
            unpack: flags.switch("unpack"),
        })
    }
}

fn at_least_two(keyword: &str, words: Words) -> Result<Vec<String>, Problem> {
    match words.words.len() {
        0 | 1 => Err(Problem::Arguments(format!(
            "{keyword} requires at least two arguments, but only one was provided. Destination could not be determined"
        ))),
        _ => Ok(words.words),
    }
}

impl Sources {
    fn parse(
        keyword: &str,
        mut words: Vec<String>,
        heredocs: &[Heredoc],
    ) -> Result<Sources, Problem> {
        let destination = words.pop().unwrap_or_default();
        let opens = |word: &str| heredoc_of_word(word).ok().flatten();
        if opens(&destination).is_some() {
            return Err(Problem::Arguments(format!(
                "{keyword} cannot accept a heredoc as a destination"
            )));
        }
        let mut sources = Sources {
            destination,
            ..Sources::default()
        };
        for word in words {
            let Some(opened) = opens(&word) else {
                sources.paths.push(word);
                continue;
            };
            // The last of a name has its content, as those of the shell have.
            let read = heredocs.iter().rev().find(|read| read.name == opened.name);
            sources.inline.push(Inline {
                content: read.map_or_else(Vec::new, |read| {
                    let chomps = opened.chomps;
                    Heredoc {
                        chomps,
                        ..read.clone()
                    }
                    .chomped()
                }),
                name: opened.name,
                expands: opened.expands,
            });
        }
        Ok(sources)
    }
}
