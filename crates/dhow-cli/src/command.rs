//! What a command is: its names, its arguments, its flags and what it does.

use std::pin::Pin;

use clap::Command as Parser;

use crate::error::Result;
use crate::flags::{Args, Flag, parser};
use crate::session::Session;

pub type Run = for<'a> fn(&'a Session, &'a Args) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// How many arguments a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    None,
    Exactly(usize),
    AtLeast(usize),
    AtMost(usize),
    Between(usize, usize),
}

impl Arity {
    /// What is wrong with a number of arguments, in Docker's words.
    pub fn check(self, command: &str, count: usize) -> std::result::Result<(), String> {
        let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
        let wrong = match self {
            Arity::None if count > 0 => "accepts no arguments".to_owned(),
            Arity::Exactly(n) if count != n => format!("requires {n} {}", plural(n)),
            Arity::AtLeast(n) if count < n => format!("requires at least {n} {}", plural(n)),
            Arity::AtMost(n) if count > n => format!("requires at most {n} {}", plural(n)),
            Arity::Between(least, most) if count < least || count > most => {
                format!(
                    "requires at least {least} and at most {most} {}",
                    plural(most)
                )
            }
            _ => return Ok(()),
        };
        Err(format!("'{command}' {wrong}"))
    }

    /// Docker's two ways to point at the help.
    pub fn hint(self) -> &'static str {
        match self {
            Arity::AtLeast(_) => "See",
            _ => "Run",
        }
    }
}

#[derive(Clone, Copy)]
pub struct Command {
    /// Its full names, such as `ps` and `container ls`.
    pub paths: &'static [&'static str],
    /// Further names, which lists of commands leave out.
    pub aliases: &'static [&'static str],
    /// The arguments, as usage shows them.
    pub usage: &'static str,
    pub about: &'static str,
    pub arity: Arity,
    /// Whether the first argument ends the flags, as the rest is another program's.
    pub flags_first: bool,
    pub flags: &'static [&'static [Flag]],
    pub run: Run,
}

impl Command {
    pub fn flags(&self) -> impl Iterator<Item = Flag> {
        self.flags.iter().copied().flatten().copied()
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.paths.iter().chain(self.aliases).copied()
    }

    pub fn parser(&self, name: &'static str) -> Parser {
        parser(name, self.flags(), self.flags_first)
    }
}

/// A name that only has commands beneath it.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    pub name: &'static str,
    pub about: &'static str,
}

/// A face of the program that is not the client: it is dispatched before, and only shown here.
#[derive(Clone, Copy, Debug)]
pub struct Face {
    pub name: &'static str,
    pub about: &'static str,
}
