//! The command line: commands, tables, templates, progress, terminal.
//!
//! It says and prints what Docker's does, under its own name, and works with any daemon that speaks the
//! Engine API. This crate must never know how the engine works: it has only the API.

mod autostart;
mod command;
mod commands;
mod complete;
mod config;
mod contexts;
mod credentials;
mod csv;
mod environment;
mod error;
mod flags;
mod format;
mod lists;
mod output_file;
mod progress;
mod reference;
mod session;
mod signals;
mod stdio;
mod terminal;
#[doc(hidden)]
pub mod untrusted;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::command::Command;
use crate::commands::{ABSENT, COMMANDS, GLOBAL, GROUPS, help};
use crate::session::Session;

pub use crate::commands::help::reference;

/// What a command line asks for that can't be done; Docker's status for it.
const USAGE: u8 = 125;

/// Runs the client. The first argument is the name it was called by.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let mut words = args.into_iter();
    let program = match words.next() {
        Some(name) if Path::new(&name).file_name().is_some_and(|n| n == "docker") => "docker",
        _ => "dhow",
    };
    let words: Vec<OsString> = words.collect();
    ExitCode::from(run(program, &words))
}

fn fail(code: u8, text: &str) -> u8 {
    eprintln!("{text}");
    code
}

fn show(text: &str) -> u8 {
    match stdio::print(text) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

fn run(program: &str, words: &[OsString]) -> u8 {
    // Its words are those of an unfinished command line.
    if words
        .first()
        .is_some_and(|first| complete::ASKS.iter().any(|ask| first == ask))
    {
        return complete::run(program, words);
    }
    let parser = flags::parser("dhow", GLOBAL.iter().copied(), true);
    let globals = match flags::parse(parser, GLOBAL.iter().copied(), words) {
        Ok(globals) => globals,
        Err(sentence) => {
            let usage = format!("Usage:  {program} [OPTIONS] COMMAND [ARG...]");
            let hint = format!("Run '{program} --help' for more information");
            return fail(USAGE, &format!("{sentence}\n\n{usage}\n\n{hint}"));
        }
    };
    if globals.is_set("version") {
        return show(&format!("{}\n", commands::system::version::short()));
    }
    let rest = &globals.rest;
    if globals.is_set("help") || rest.is_empty() {
        return show(&help::top(program, terminal::columns()));
    }
    let asks_help = rest[0] == "help";
    let path = if asks_help { &rest[1..] } else { &rest[..] };
    match find(path) {
        Found::Top => show(&help::top(program, terminal::columns())),
        Found::Group(group, _) if asks_help => show(&help::group(program, group.name, group.about)),
        Found::Group(group, next) => match next {
            None | Some("--help" | "-h") => show(&help::group(program, group.name, group.about)),
            Some(unknown) => {
                let path = format!("{program} {}", group.name);
                fail(
                    1,
                    &unknown_command(program, &format!("{path} {unknown}"), &path),
                )
            }
        },
        Found::Unknown(unknown) => fail(
            1,
            &unknown_command_top(program, &format!("{program} {unknown}")),
        ),
        Found::Command(command, path, _) if asks_help => {
            show(&help::command(program, &path, command, terminal::columns()))
        }
        Found::Command(command, path, used) => {
            // The words as they were given, which need not be text.
            let own = &words[words.len() - rest.len() + used..];
            carry_out(program, command, &path, own, &globals)
        }
    }
}

fn unknown_command(program: &str, full: &str, parent: &str) -> String {
    format!(
        "{program}: unknown command: {full}\n\nUsage:  {parent}\n\nRun '{parent} --help' for more information"
    )
}

fn unknown_command_top(program: &str, full: &str) -> String {
    let name = full.rsplit(' ').next().unwrap_or_default();
    if let Some((_, why)) = ABSENT.iter().find(|(names, _)| names.contains(&name)) {
        return format!("{program}: '{full}' {why}\n\nRun '{program} --help' for more information");
    }
    format!("{program}: unknown command: {full}\n\nRun '{program} --help' for more information")
}

enum Found<'a> {
    Top,
    Command(&'static Command, String, usize),
    Group(&'static command::Group, Option<&'a str>),
    Unknown(&'a str),
}

fn find(words: &[String]) -> Found<'_> {
    let Some(first) = words.first() else {
        return Found::Top;
    };
    let named = |name: &str| {
        COMMANDS
            .iter()
            .find(|command| command.names().any(|own| own == name))
    };
    if let Some(group) = GROUPS.iter().find(|group| group.name == first.as_str()) {
        if let Some(second) = words.get(1) {
            let path = format!("{first} {second}");
            if let Some(command) = named(&path) {
                return Found::Command(command, path, 2);
            }
        }
        return Found::Group(group, words.get(1).map(String::as_str));
    }
    match named(first) {
        Some(command) => Found::Command(command, first.clone(), 1),
        None => Found::Unknown(first),
    }
}

fn carry_out(
    program: &str,
    command: &'static Command,
    path: &str,
    words: &[OsString],
    globals: &flags::Args,
) -> u8 {
    let usage = || help::usage_line(program, path, command);
    let parser = command.parser(command.paths[0]);
    // Where the letter is not taken, -h asks for help.
    let asks = command.flags().all(|flag| flag.short != Some('h'))
        && words.iter().any(|word| word == "-h")
        && !command.flags_first;
    let args = match flags::parse(parser, command.flags(), words) {
        Ok(args) => args,
        Err(_) if asks => return show(&help::command(program, path, command, terminal::columns())),
        Err(sentence) => {
            let hint = format!("Run '{program} {path} --help' for more information");
            return fail(USAGE, &format!("{sentence}\n\n{}\n\n{hint}", usage()));
        }
    };
    if args.is_set("help") {
        return show(&help::command(program, path, command, terminal::columns()));
    }
    if let Err(wrong) = command
        .arity
        .check(&format!("{program} {path}"), args.rest.len())
    {
        let hint = command.arity.hint();
        return fail(
            1,
            &format!(
                "{program}: {wrong}\n\n{}\n\n{hint} '{program} {path} --help' for more information",
                usage()
            ),
        );
    }
    let outcome = Session::new(program.to_owned(), globals).and_then(|session| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let outcome = runtime.block_on((command.run)(&session, &args));
        // A thread that is still writing to a pipe nobody reads must not keep the process.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => 0,
        Err(error) => match error.text() {
            Some(text) => fail(error.code(), &text),
            None => error.code(),
        },
    }
}
