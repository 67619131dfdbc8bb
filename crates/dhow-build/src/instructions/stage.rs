//! Stages: what FROM begins.

use std::collections::BTreeMap;

use crate::parser::{Document, Statement};
use crate::problem::{LocatedProblem, Problem};
use crate::source::Lines;
use crate::suggest::closest;
use crate::text::quoted;

use super::flags::{Flags, Kind};
use super::{Action, Instruction, Meaning, description, understand};

/// No Dockerfile that anyone wrote has nearly as many stages.
const MOST: usize = 10_000;

/// A Dockerfile that is understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Dockerfile {
    /// ARG in front of the first FROM.
    pub globals: Vec<Instruction>,
    /// At least one.
    pub stages: Vec<Stage>,
    /// What escapes characters: a backslash or a backquote.
    pub escape: char,
    /// Where the stages of each name are, first to last.
    names: BTreeMap<String, Vec<usize>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    pub from: From,
    pub instructions: Vec<Instruction>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// A stage, a named context or an image, its variables not replaced.
    pub base: String,
    pub platform: Option<String>,
    /// In small letters.
    pub name: Option<String>,
    /// The name and the word before it as they are written.
    pub written: Option<(String, String)>,
    /// The word `FROM` as it is written.
    pub keyword: String,
    /// What the comment above says of it.
    pub description: String,
    /// The whole in one line.
    pub text: String,
    pub lines: Lines,
    /// The comments right above.
    pub comments: Vec<String>,
}

impl From {
    pub(super) fn parse(statement: &Statement, words: &[String]) -> Result<From, Problem> {
        let (base, written) = match words {
            [base] => (base, None),
            [base, word, name] if word.eq_ignore_ascii_case("as") => {
                (base, Some((word.clone(), name.clone())))
            }
            _ => {
                let message = "FROM requires either one or three arguments";
                return Err(Problem::arguments(message));
            }
        };
        let name = written.as_ref().map(|(_, name)| name.to_lowercase());
        if let (Some(name), Some((_, written))) = (&name, &written)
            && !is_stage_name(name)
        {
            return Err(Problem::Arguments(format!(
                "invalid name for build stage: {}, name can't start with a number or contain symbols",
                quoted(written)
            )));
        }
        let flags = Flags::parse(&statement.flags, &[("platform", Kind::Text)])?;
        let platform = flags.text("platform").filter(|text| !text.is_empty());
        Ok(From {
            base: base.clone(),
            platform: platform.map(str::to_owned),
            description: description(&statement.comments, name.as_deref().unwrap_or_default()),
            name,
            written,
            keyword: statement.keyword.clone(),
            text: statement.text.trim_end().to_owned(),
            lines: statement.lines,
            comments: statement.comments.clone(),
        })
    }
}

fn is_stage_name(name: &str) -> bool {
    let rest =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(rest)
}

impl Dockerfile {
    pub fn parse(document: &Document) -> Result<Dockerfile, LocatedProblem> {
        match Dockerfile::understood(document) {
            (dockerfile, None) => Ok(dockerfile),
            (_, Some(error)) => Err(error),
        }
    }

    /// What can be understood up to the first mistake.
    pub(crate) fn understood(document: &Document) -> (Dockerfile, Option<LocatedProblem>) {
        let mut dockerfile = Dockerfile {
            globals: Vec::new(),
            stages: Vec::new(),
            escape: document.escape,
            names: BTreeMap::new(),
        };
        let mut statements = document.statements.iter();
        let error = statements.find_map(|statement| dockerfile.add(statement).err());
        let none = dockerfile
            .stages
            .is_empty()
            .then(|| Problem::NoStages.into());
        (dockerfile, error.or(none))
    }

    fn add(&mut self, statement: &Statement) -> Result<(), LocatedProblem> {
        let action = match understand(statement)? {
            Meaning::Action(action) => action,
            Meaning::From(_) if self.stages.len() >= MOST => {
                let too_many = Problem::TooMany {
                    what: "stages",
                    most: MOST,
                };
                return Err(too_many.at(statement.lines));
            }
            Meaning::From(from) => {
                if let Some(name) = &from.name {
                    let places = self.names.entry(name.clone()).or_default();
                    places.push(self.stages.len());
                }
                self.stages.push(Stage {
                    from,
                    instructions: Vec::new(),
                });
                return Ok(());
            }
        };
        let is_arg = matches!(action, Action::Arg(_));
        let instruction = Instruction::new(statement, action);
        match self.stages.last_mut() {
            Some(stage) => stage.instructions.push(instruction),
            None if is_arg => self.globals.push(instruction),
            None => return Err(Problem::OutsideStage.at(statement.lines)),
        }
        Ok(())
    }

    /// The stage of this name, in any case. Of several the last counts.
    pub fn stage(&self, name: &str) -> Option<usize> {
        self.named(name, self.stages.len())
    }

    /// The stage that another's FROM means with `base`: one before it. Nothing where it is an image.
    pub fn base(&self, base: &str, of: usize) -> Option<usize> {
        // Here small letters are asked for: an image's name has no others, and what has is no stage.
        self.named(base, of).filter(|_| base.to_lowercase() == base)
    }

    fn named(&self, name: &str, before: usize) -> Option<usize> {
        let places = self.names.get(&name.to_lowercase())?;
        let after = places.partition_point(|place| *place < before);
        places[..after].last().copied()
    }

    /// The stage that `--from` means, by number or name. Nothing where it is a context or an image.
    pub fn copied_from(&self, from: &str) -> Result<Option<usize>, Problem> {
        match from.parse::<i64>() {
            Ok(number) => match usize::try_from(number) {
                Ok(index) if index < self.stages.len() => Ok(Some(index)),
                _ => Err(Problem::StageIndex(number)),
            },
            Err(_) => Ok(self.stage(from)),
        }
    }

    /// The stage that is to be built: by name or number, or the last.
    pub fn target(&self, wanted: &str) -> Result<usize, Problem> {
        if wanted.is_empty() {
            return Ok(self.stages.len() - 1);
        }
        let number = || wanted.parse().ok().filter(|n| *n < self.stages.len());
        self.stage(wanted).or_else(number).ok_or_else(|| {
            let names = self.names.keys().map(String::as_str);
            Problem::NoTarget {
                name: wanted.to_owned(),
                hint: closest(wanted, names),
            }
        })
    }
}
