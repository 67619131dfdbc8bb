//! `context use`, `context show` and `context rm`: the context that is in use, and its end.

use crate::contexts::choice::{HOST_VARIABLES, variable};
use crate::contexts::{DEFAULT, check_name};
use crate::error::{Result, all_done, message};
use crate::flags::{Args, Flag, Kind};
use crate::session::Session;
use crate::stdio;

pub const RM: &[Flag] =
    &[Flag::new("force", Kind::Bool, "Remove also one that is in use").short('f')];

pub async fn use_(session: &Session, args: &Args) -> Result<()> {
    let name = args.rest[0].as_str();
    let value = match name {
        DEFAULT => None,
        name => {
            check_name(name)?;
            session.contexts().read(name)?;
            Some(name)
        }
    };
    if session.config.text("currentContext") != value {
        let mut config = session.reload_config()?;
        config.set_text("currentContext", value);
        config.save()?;
    }
    stdio::println(name)?;
    eprintln!("Current context is now {name:?}");
    if let (Some(_), Some((variable, _))) = (value, variable(&HOST_VARIABLES)) {
        eprintln!(
            "Warning: {variable} environment variable overrides the active context. To use {name:?}, either set the global --context flag, or unset {variable} environment variable."
        );
    }
    Ok(())
}

pub async fn show(session: &Session, _args: &Args) -> Result<()> {
    Ok(stdio::println(session.choice.name())?)
}

pub async fn rm(session: &Session, args: &Args) -> Result<()> {
    let mut failures = Vec::new();
    for name in &args.rest {
        match remove(session, name, args.is_set("force")) {
            Ok(()) => stdio::println(name)?,
            Err(error) => failures.push(error.to_string()),
        }
    }
    all_done(failures)
}

fn remove(session: &Session, name: &str, force: bool) -> Result<()> {
    if name == DEFAULT {
        return Err(message("context \"default\" cannot be removed"));
    }
    let contexts = session.contexts();
    if !force && !contexts.exists(name) {
        return Err(message(format!("context {name:?} does not exist")));
    }
    if !force && session.choice.name() == name {
        return Err(message(format!(
            "context {name:?} is in use, set -f flag to force remove"
        )));
    }
    let mut config = session.reload_config()?;
    if force && config.text("currentContext") == Some(name) {
        config.set_text("currentContext", None);
        config.save()?;
    }
    contexts.remove(name)
}
