//! `completion`, and the hidden commands that print the reference and write the manual.

use crate::commands::{help, man};
use crate::complete::script;
use crate::error::{Result, message};
use crate::flags::Args;
use crate::session::Session;
use crate::stdio;

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let shell = &args.rest[0];
    match script(shell, &session.program) {
        Some(text) => Ok(stdio::print(&text)?),
        None => Err(message(format!(
            "there is no completion for {shell:?}: there is one for bash, zsh, fish and powershell"
        ))),
    }
}

pub async fn docs(_session: &Session, _args: &Args) -> Result<()> {
    Ok(stdio::print(&help::reference())?)
}

pub async fn manual(_session: &Session, args: &Args) -> Result<()> {
    man::write(std::path::Path::new(&args.rest[0]))
}
