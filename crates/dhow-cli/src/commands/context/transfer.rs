//! `context export` and `context import`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use super::create::{check_free, existing, keep};
use crate::contexts::{DEFAULT, archive, check_name};
use crate::error::{Result, message, system_text};
use crate::flags::Args;
use crate::session::Session;
use crate::{stdio, terminal};

pub async fn export(session: &Session, args: &Args) -> Result<()> {
    let name = &args.rest[0];
    if name != DEFAULT {
        check_name(name)?;
    }
    let (metadata, tls) = existing(session, name)?;
    let place = match args.rest.get(1) {
        Some(place) => place.clone(),
        None => format!("{name}.dockercontext"),
    };
    if place == "-" {
        if terminal::stdout_is_terminal() {
            return Err(message(
                "cowardly refusing to export to a terminal, specify a file path",
            ));
        }
        return archive::write(&metadata, &tls, io::stdout().lock());
    }
    // There may be a key in it.
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&place)
        .map_err(|error| message(format!("open {place}: {}", system_text(&error))))?;
    archive::write(&metadata, &tls, file)?;
    eprintln!("Written file {place:?}");
    Ok(())
}

pub async fn import(session: &Session, args: &Args) -> Result<()> {
    let name = &args.rest[0];
    let contexts = session.contexts();
    check_free(&contexts, name)?;
    let place = &args.rest[1];
    let (metadata, tls) = match place.as_str() {
        "-" => archive::read(name, io::stdin().lock())?,
        place => {
            let file = File::open(place)
                .map_err(|error| message(format!("open {place}: {}", system_text(&error))))?;
            archive::read(name, file)?
        }
    };
    keep(&contexts, &metadata, &tls)?;
    stdio::println(name)?;
    eprintln!("Successfully imported context {name:?}");
    Ok(())
}
