//! `run` and `create`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use dhow_client::{Client, WaitCondition, WaitHandle};

use super::attachment::{self, End, Streams};
use super::spec::{self, Definition};
use crate::commands::image::pull;
use crate::error::{Error, Result, message, plain};
use crate::flags::Args;
use crate::progress::Output;
use crate::reference::Reference;
use crate::session::Session;
use crate::signals::Forwarding;
use crate::{stdio, terminal};

/// What Docker's client ends with when the container never ran.
const NOT_RUN: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let program = &session.program;
    start_to_end(session, args)
        .await
        .map_err(|error| match error {
            Error::Exit(_) | Error::Status { .. } => error,
            Error::Client(error) => {
                let text = error.to_string();
                failed(program, "run", status_of(&text), &text)
            }
            error => failed(program, "run", NOT_RUN, &error.to_string()),
        })
}

/// The status that tells why a container did not run, found in the daemon's sentence as Docker does.
fn status_of(text: &str) -> u8 {
    let says = |part: &str| text.contains(part);
    if says("executable file not found") || says("no such file or directory") {
        NOT_FOUND
    } else if (says("permission denied") && !says("daemon socket")) || says("is a directory") {
        NOT_EXECUTABLE
    } else {
        NOT_RUN
    }
}

fn failed(program: &str, command: &str, code: u8, text: &str) -> Error {
    Error::Status {
        code,
        message: format!(
            "{program}: {text}\n\nRun '{program} {command} --help' for more information"
        ),
    }
}

async fn start_to_end(session: &Session, args: &Args) -> Result<()> {
    check_pull(args)?;
    let mut definition = define(session, args)?;
    // Said before anybody is asked for an image of that name.
    reference_of(&definition.request.config.image)?;
    let config = &mut definition.request.config;
    let detach = args.is_set("detach");
    if detach {
        if args.was_given("attach") {
            return Err(plain(
                "conflicting options: cannot specify both --attach and --detach",
            ));
        }
        config.attach_stdin = false;
        config.attach_stdout = false;
        config.attach_stderr = false;
        config.stdin_once = false;
    } else {
        attachment::check_tty(config.attach_stdin, config.tty)?;
    }
    let streams = Streams {
        stdin: config.attach_stdin,
        stdout: config.attach_stdout,
        stderr: config.attach_stderr,
        tty: config.tty,
        detach_keys: session.detach_keys(args),
        signals_caught: args.is_set_or("sig-proxy", true),
    };
    let attach = streams.stdin || streams.stdout || streams.stderr;
    let forwarding = match attach && streams.signals_caught {
        true => Some(Forwarding::catch()?),
        false => None,
    };
    let client = session.client().await?;
    let id = create_container(session, client, args, &definition).await?;
    let _forwarding = forwarding.map(|caught| caught.forward_to(client.clone(), id.clone()));
    if !attach {
        client
            .container_start(&id, streams.detach_keys.as_deref())
            .await?;
        return Ok(stdio::println(&id)?);
    }
    let remove = args.is_set("rm");
    let condition = match remove {
        true => WaitCondition::Removed,
        false => WaitCondition::NextExit,
    };
    let options = streams.options();
    // Both must be there before the start, or the first output and a quick end would be missed.
    let (hijacked, wait) = tokio::try_join!(
        client.container_attach(&id, &options),
        client.container_wait(&id, condition)
    )?;
    if let Err(error) = client
        .container_start(&id, streams.detach_keys.as_deref())
        .await
    {
        if remove {
            // Gone before the user reads why.
            let _ = wait.result().await;
        }
        return Err(error.into());
    }
    if !streams.stdout && !streams.stderr {
        stdio::println(&id)?;
    }
    let _size = match streams.tty && terminal::stdout_is_terminal() {
        true => Some(attachment::follow_size(client, &id)?),
        false => None,
    };
    match attachment::carry(hijacked, &streams).await? {
        End::Detached => Ok(()),
        End::Finished if !streams.stdout && !streams.stderr => Ok(()),
        End::Finished => ended(wait).await,
    }
}

/// The status of the process, once it is known.
async fn ended(wait: WaitHandle) -> Result<()> {
    match wait.result().await {
        Ok(response) => match response.error {
            Some(error) if !error.message.is_empty() => {
                eprintln!("Error waiting for container: {}", error.message);
                Err(Error::Exit(NOT_RUN))
            }
            _ => attachment::exit_with(response.status_code),
        },
        Err(error) => {
            eprintln!("error waiting for container: {error}");
            Err(Error::Exit(NOT_RUN))
        }
    }
}

pub async fn create(session: &Session, args: &Args) -> Result<()> {
    // What the flags say is as wrong as with `run`; the rest is said as it is.
    let refused = |error: Error| failed(&session.program, "create", NOT_RUN, &error.to_string());
    check_pull(args).map_err(refused)?;
    let definition = define(session, args).map_err(refused)?;
    reference_of(&definition.request.config.image)?;
    let client = session.client().await?;
    let id = create_container(session, client, args, &definition).await?;
    Ok(stdio::println(&id)?)
}

fn check_pull(args: &Args) -> Result<()> {
    match args.text("pull").unwrap_or("missing") {
        "always" | "missing" | "never" | "" => Ok(()),
        other => Err(message(format!(
            "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
        ))),
    }
}

fn define(session: &Session, args: &Args) -> Result<Definition> {
    let host = session.client_as_is()?.host().to_string();
    let proxy = session.config.proxy_environment(&host);
    spec::define(args, &proxy).map_err(message)
}

/// Creates the container, and pulls its image if that is missing and may be pulled.
async fn create_container(
    session: &Session,
    client: &Client,
    args: &Args,
    definition: &Definition,
) -> Result<String> {
    let cidfile = args.nonempty("cidfile").map(Path::new);
    if let Some(path) = cidfile
        && path.exists()
    {
        return Err(message(format!(
            "container ID file found, make sure the other container isn't running or delete {}",
            path.display()
        )));
    }
    let reference = reference_of(&definition.request.config.image)?;
    let policy = args.text("pull").unwrap_or("missing");
    let output = match args.is_set("quiet") {
        true => Output::Nowhere,
        false => Output::Stderr,
    };
    let platform = definition.platform.as_deref();
    if let (Some(reference), "always") = (&reference, policy) {
        pull::pull(session, client, reference, platform, output).await?;
    }
    let create =
        || client.container_create(definition.name.as_deref(), platform, &definition.request);
    let created = match (create().await, &reference) {
        (Err(error), Some(reference))
            if error.is_not_found()
                && matches!(policy, "missing" | "")
                && is_about_an_image(&error) =>
        {
            if output != Output::Nowhere {
                eprintln!("Unable to find image '{reference}' locally");
            }
            pull::pull(session, client, reference, platform, output).await?;
            create().await?
        }
        (answer, _) => answer?,
    };
    for warning in &created.warnings {
        eprintln!("WARNING: {warning}");
    }
    if let Some(path) = cidfile {
        fs::write(path, &created.id).map_err(|error| match error.kind() {
            ErrorKind::NotFound => message(format!(
                "failed to create the container ID file: open {}: no such directory",
                path.display()
            )),
            _ => message(format!(
                "failed to write the container ID file {}: {error}",
                path.display()
            )),
        })?;
    }
    Ok(created.id)
}

/// The image's reference; an id is none, and there is nothing to pull for it.
fn reference_of(image: &str) -> Result<Option<Reference>> {
    let bare = image.strip_prefix("sha256:").unwrap_or(image);
    let is_id = bare != image || (bare.len() == 64 && bare.bytes().all(|b| b.is_ascii_hexdigit()));
    match Reference::parse(bare) {
        Ok(_) if is_id => Ok(None),
        Ok(reference) => Ok(Some(reference.with_default_tag())),
        Err(error) => Err(message(error.to_string())),
    }
}

/// A network or a volume may be missing, too, and pulling won't bring it.
fn is_about_an_image(error: &dhow_client::Error) -> bool {
    let text = error.to_string().to_lowercase();
    !text.contains("network") && !text.contains("no such container")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_tell_why_nothing_ran() {
        for (text, code) in [
            (
                "Error response from daemon: exec: \"x\": executable file not found in $PATH",
                127,
            ),
            (
                "Error response from daemon: exec: \"/x\": stat /x: no such file or directory",
                127,
            ),
            (
                "Error response from daemon: exec: \"/etc/passwd\": permission denied",
                126,
            ),
            (
                "Error response from daemon: exec: \"/etc\": is a directory",
                126,
            ),
            ("Error response from daemon: Conflict", 125),
            (
                "permission denied while trying to connect to the Dhow daemon socket at unix:///x",
                125,
            ),
        ] {
            assert_eq!(status_of(text), code, "{text}");
        }
    }
}
