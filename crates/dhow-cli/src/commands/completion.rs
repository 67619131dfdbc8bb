//! `completion`, and the hidden command that prints the reference.

use clap_complete::{Shell, generate};

use super::{COMMANDS, FACES, GLOBAL, GROUPS, help};
use crate::command::Command;
use crate::error::{Result, message};
use crate::flags::Args;
use crate::session::Session;
use crate::stdio;

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let shell = match args.rest[0].as_str() {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        other => {
            return Err(message(format!(
                "there is no completion for {other:?}: there is one for bash, zsh and fish"
            )));
        }
    };
    let mut script = Vec::new();
    generate(shell, &mut tree(), session.program.as_str(), &mut script);
    Ok(stdio::print(&String::from_utf8_lossy(&script))?)
}

/// All commands in one parser, which is too much to build on each start.
fn tree() -> clap::Command {
    let child = |name: &'static str, command: &Command| command.parser(name).about(command.about);
    let mut root = clap::Command::new("dhow")
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .args(GLOBAL.iter().map(|flag| flag.arg()));
    for group in GROUPS {
        let mut parent = clap::Command::new(group.name)
            .about(group.about)
            .disable_help_flag(true)
            .disable_help_subcommand(true);
        for command in COMMANDS {
            for path in command.paths {
                if let Some((first, name)) = path.split_once(' ')
                    && first == group.name
                {
                    parent = parent.subcommand(child(name, command));
                }
            }
        }
        root = root.subcommand(parent);
    }
    for command in COMMANDS {
        for path in command.paths {
            if !path.contains(' ') && !path.starts_with('_') {
                root = root.subcommand(child(path, command));
            }
        }
    }
    root.subcommands(
        FACES
            .iter()
            .map(|face| clap::Command::new(face.name).about(face.about)),
    )
}

pub async fn docs(_session: &Session, _args: &Args) -> Result<()> {
    Ok(stdio::print(&help::reference())?)
}
