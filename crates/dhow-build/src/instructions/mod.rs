//! Instructions: statements that are understood.

mod bytes;
mod copy;
mod csv;
mod expand;
mod expose;
mod flags;
mod health;
mod mount;
mod run;
mod stage;

pub use copy::{Add, Copy, Inline, Sources};
pub use expand::Expander;
pub use expose::{Exposed, Ports, Protocol, parse as parse_port};
pub use mount::{Mount, MountSpec, Owner, Sharing};
pub use run::{Command, Device, Network, Run, Script, Security};
pub use stage::{Dockerfile, From, Stage};

use dhow_oci::Healthcheck;

use crate::parser::{Arguments, Pair, Statement};
use crate::problem::{LocatedProblem, Problem};
use crate::source::Lines;
use crate::suggest::closest_in_any_case;
use flags::Flags;

pub const KEYWORDS: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// An instruction within a stage, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    pub action: Action,
    /// The name as it is written.
    pub keyword: String,
    /// The whole in one line.
    pub text: String,
    pub lines: Lines,
    /// The comments right above.
    pub comments: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Add(Add),
    Arg(Vec<Arg>),
    Cmd(Command),
    Copy(Copy),
    Entrypoint(Command),
    Env(Vec<Pair>),
    /// The words as they are written.
    Expose(Vec<String>),
    Healthcheck(Healthcheck),
    Label(Vec<Pair>),
    Maintainer(String),
    /// A statement for the images that are made from this one.
    Onbuild(String),
    Run(Run),
    Shell(Vec<String>),
    StopSignal(String),
    User(String),
    Volume(Vec<String>),
    Workdir(String),
}

/// A variable that whoever builds may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    pub name: String,
    /// With its variables and quotes still in it.
    pub default: Option<String>,
    /// What the comment above says of it.
    pub description: String,
}

/// The words of a statement.
struct Words {
    words: Vec<String>,
    json: bool,
}

/// FROM, or what belongs to a stage.
enum Meaning {
    From(From),
    Action(Action),
}

impl Instruction {
    /// Understands a statement that is to stand within a stage, such as an image's ONBUILD.
    pub fn parse(statement: &Statement) -> Result<Instruction, LocatedProblem> {
        match understand(statement)? {
            Meaning::Action(action) => Ok(Instruction::new(statement, action)),
            Meaning::From(_) => {
                Err(Problem::arguments("FROM is not a command type").at(statement.lines))
            }
        }
    }

    fn new(statement: &Statement, action: Action) -> Instruction {
        Instruction {
            action,
            keyword: statement.keyword.clone(),
            text: statement.text.trim_end().to_owned(),
            lines: statement.lines,
            comments: statement.comments.clone(),
        }
    }
}

fn understand(statement: &Statement) -> Result<Meaning, LocatedProblem> {
    meaning(statement).map_err(|problem| LocatedProblem {
        in_instruction: true,
        ..problem.at(statement.lines)
    })
}

fn meaning(statement: &Statement) -> Result<Meaning, Problem> {
    let keyword = statement.keyword.to_ascii_uppercase();
    let action = match &statement.arguments {
        Arguments::Pairs(pairs) => {
            Flags::none(&statement.flags)?;
            let pairs = named_pairs(&keyword, pairs)?;
            match keyword.as_str() {
                "ENV" => Action::Env(pairs),
                _ => Action::Label(pairs),
            }
        }
        Arguments::Statement(trigger) => onbuild(statement, trigger)?,
        Arguments::Words { words, json } => {
            let words = Words {
                words: words.clone(),
                json: *json,
            };
            if keyword == "FROM" {
                return From::parse(statement, &words.words).map(Meaning::From);
            }
            of_words(&keyword, statement, words)?
        }
    };
    Ok(Meaning::Action(action))
}

fn of_words(keyword: &str, statement: &Statement, words: Words) -> Result<Action, Problem> {
    let no_flags = || Flags::none(&statement.flags);
    Ok(match keyword {
        "ADD" => Action::Add(Add::parse(statement, words)?),
        "ARG" => Action::Arg(args(statement, some(keyword, words)?)?),
        "CMD" => no_flags().map(|()| Action::Cmd(Command::of(words)))?,
        "COPY" => Action::Copy(Copy::parse(statement, words)?),
        "ENTRYPOINT" => no_flags().map(|()| Action::Entrypoint(Command::of(words)))?,
        "EXPOSE" => {
            let mut ports = some(keyword, words)?;
            no_flags()?;
            ports.sort();
            Action::Expose(ports)
        }
        "HEALTHCHECK" => Action::Healthcheck(health::parse(statement, words)?),
        "MAINTAINER" => {
            let maintainer = one(keyword, words)?;
            no_flags().map(|()| Action::Maintainer(maintainer))?
        }
        "ONBUILD" => return Err(at_least_one(keyword)),
        "RUN" => Action::Run(Run::parse(statement, words)?),
        "SHELL" => {
            no_flags()?;
            match words {
                Words { words, .. } if words.is_empty() => return Err(at_least_one(keyword)),
                Words { words, json: true } => Action::Shell(words),
                _ => {
                    let message = "SHELL requires the arguments to be in JSON form";
                    return Err(Problem::arguments(message));
                }
            }
        }
        // Its flags are passed over, in BuildKit too.
        "STOPSIGNAL" => Action::StopSignal(one(keyword, words)?),
        "USER" => {
            let user = one(keyword, words)?;
            no_flags().map(|()| Action::User(user))?
        }
        "VOLUME" => {
            let paths = some(keyword, words)?;
            no_flags()?;
            let paths: Vec<_> = paths.iter().map(|path| path.trim().to_owned()).collect();
            if paths.iter().any(String::is_empty) {
                let message = "VOLUME specified can not be an empty string";
                return Err(Problem::arguments(message));
            }
            Action::Volume(paths)
        }
        "WORKDIR" => {
            let path = one(keyword, words)?;
            no_flags().map(|()| Action::Workdir(path))?
        }
        _ => {
            return Err(Problem::UnknownInstruction {
                word: statement.keyword.clone(),
                hint: closest_in_any_case(&statement.keyword, KEYWORDS),
            });
        }
    })
}

fn at_least_one(keyword: &str) -> Problem {
    Problem::Arguments(format!("{keyword} requires at least one argument"))
}

fn some(keyword: &str, words: Words) -> Result<Vec<String>, Problem> {
    match words.words.is_empty() {
        true => Err(at_least_one(keyword)),
        false => Ok(words.words),
    }
}

fn one(keyword: &str, mut words: Words) -> Result<String, Problem> {
    match (words.words.pop(), words.words.is_empty()) {
        (Some(word), true) => Ok(word),
        _ => Err(Problem::Arguments(format!(
            "{keyword} requires exactly one argument"
        ))),
    }
}

fn blank_names(keyword: &str) -> Problem {
    Problem::Arguments(format!("{keyword} names can not be blank"))
}

fn named_pairs(keyword: &str, pairs: &[Pair]) -> Result<Vec<Pair>, Problem> {
    if pairs.is_empty() {
        return Err(at_least_one(keyword));
    }
    match pairs.iter().any(|pair| pair.name.is_empty()) {
        true => Err(blank_names(keyword)),
        false => Ok(pairs.to_vec()),
    }
}

/// Flags of ARG are passed over, in BuildKit too.
fn args(statement: &Statement, words: Vec<String>) -> Result<Vec<Arg>, Problem> {
    let arg = |word: String| {
        let (name, default) = match word.split_once('=') {
            Some(("", _)) => return Err(blank_names("ARG")),
            Some((name, default)) => (name.to_owned(), Some(default.to_owned())),
            None => (word, None),
        };
        Ok(Arg {
            description: description(&statement.comments, &name),
            name,
            default,
        })
    };
    words.into_iter().map(arg).collect()
}

/// What the comments say of a name: the rest of the first line that begins with it.
fn description(comments: &[String], name: &str) -> String {
    let of_name = |comment: &String| {
        let rest = comment.strip_prefix(name)?.strip_prefix(' ')?;
        (!name.is_empty()).then(|| rest.to_owned())
    };
    comments.iter().find_map(of_name).unwrap_or_default()
}

fn onbuild(statement: &Statement, trigger: &Statement) -> Result<Action, Problem> {
    Flags::none(&statement.flags)?;
    match trigger.keyword.to_uppercase().as_str() {
        "ONBUILD" => {
            let message = "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed";
            return Err(Problem::arguments(message));
        }
        keyword @ ("MAINTAINER" | "FROM") => {
            let message = format!("{keyword} isn't allowed as an ONBUILD trigger");
            return Err(Problem::Arguments(message));
        }
        _ => {}
    }
    let rest = statement.text.get(statement.keyword.len()..);
    let mut text = rest.unwrap_or_default().trim_start().to_owned();
    for heredoc in &statement.heredocs {
        text.push('\n');
        text.push_str(&String::from_utf8_lossy(&heredoc.content));
        text.push_str(&heredoc.name);
    }
    Ok(Action::Onbuild(text))
}

#[cfg(test)]
mod tests;
