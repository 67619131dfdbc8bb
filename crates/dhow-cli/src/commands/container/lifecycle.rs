//! Commands that take containers by name and do one thing to each: `stop`, `kill`, `rm` and the like.

use futures_util::{StreamExt, stream};

use dhow_client::{Client, WaitCondition};

use crate::error::{Error, Result, all_done, message};
use crate::flags::{Args, Flag, Kind};
use crate::session::Session;
use crate::stdio;

pub const STOP: &[Flag] = &[
    Flag::new(
        "signal",
        Kind::String,
        "Signal to send instead of the container's own",
    )
    .short('s'),
    Flag::new(
        "timeout",
        Kind::Int,
        "Seconds to wait before the kill (-1 for ever)",
    )
    .short('t'),
    Flag::new("time", Kind::Int, "The same as --timeout, its older name"),
];

pub const KILL: &[Flag] =
    &[Flag::new("signal", Kind::String, "Signal to send instead of KILL").short('s')];

pub const RM: &[Flag] = &[
    Flag::new(
        "force",
        Kind::Bool,
        "Remove running containers, too (they are killed)",
    )
    .short('f'),
    Flag::new("link", Kind::Bool, "Remove the link of this name").short('l'),
    Flag::new(
        "volumes",
        Kind::Bool,
        "Remove the containers' anonymous volumes",
    )
    .short('v'),
];

/// How many containers are worked on at once.
const AT_ONCE: usize = 50;

/// Does one thing to each name, several at once, and prints each name for which it worked. The failures
/// come together at the end.
async fn each<'a, R>(names: &'a [String], action: impl Fn(&'a str) -> R) -> Result<()>
where
    R: Future<Output = dhow_client::Result<()>>,
{
    each_but_missing(names, false, action).await
}

/// The same; a name that is not there may be no failure.
async fn each_but_missing<'a, R>(
    names: &'a [String],
    forgive_missing: bool,
    action: impl Fn(&'a str) -> R,
) -> Result<()>
where
    R: Future<Output = dhow_client::Result<()>>,
{
    let mut outcomes = stream::iter(names)
        .map(|name| {
            let done = action(name);
            async move { (name, done.await) }
        })
        .buffered(AT_ONCE);
    let mut failures = Vec::new();
    while let Some((name, outcome)) = outcomes.next().await {
        match outcome {
            Ok(()) => stdio::println(name)?,
            Err(error) if forgive_missing && error.is_not_found() => eprintln!("{error}"),
            Err(error) => failures.push(error.to_string()),
        }
    }
    all_done(failures)
}

fn timeout(args: &Args) -> Option<i64> {
    args.int("timeout").or_else(|| args.int("time"))
}

pub async fn stop(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    let (signal, timeout) = (args.nonempty("signal"), timeout(args));
    each(&args.rest, |name| {
        client.container_stop(name, signal, timeout)
    })
    .await
}

pub async fn restart(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    let (signal, timeout) = (args.nonempty("signal"), timeout(args));
    each(&args.rest, |name| {
        client.container_restart(name, signal, timeout)
    })
    .await
}

pub async fn kill(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    let signal = args.nonempty("signal");
    each(&args.rest, |name| client.container_kill(name, signal)).await
}

pub async fn pause(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    each(&args.rest, |name| client.container_pause(name)).await
}

pub async fn unpause(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    each(&args.rest, |name| client.container_unpause(name)).await
}

pub async fn rm(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    let (force, volumes, link) = (
        args.is_set("force"),
        args.is_set("volumes"),
        args.is_set("link"),
    );
    if args
        .rest
        .iter()
        .any(|name| name.trim_matches('/').is_empty())
    {
        return Err(message("container name cannot be empty"));
    }
    // Forced removal is about the result: what is not there is as good as removed.
    each_but_missing(&args.rest, force, |name| {
        client.container_remove(name.trim_matches('/'), force, volumes, link)
    })
    .await
}

pub async fn rename(session: &Session, args: &Args) -> Result<()> {
    let (old, new) = (args.rest[0].trim(), args.rest[1].trim());
    if old.is_empty() || new.is_empty() {
        return Err(message("Error: Neither old nor new names may be empty"));
    }
    let client = session.client().await?;
    client.container_rename(old, new).await.map_err(|error| {
        eprintln!("{error}");
        message(format!("Error: failed to rename container named {old}"))
    })
}

pub async fn wait(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    let mut failures = Vec::new();
    for name in &args.rest {
        match wait_one(client, name).await {
            Ok(status) => stdio::println(&status.to_string())?,
            Err(error) => failures.push(error.to_string()),
        }
    }
    all_done(failures)
}

async fn wait_one(client: &Client, name: &str) -> Result<i64> {
    let response = client
        .container_wait(name, WaitCondition::NotRunning)
        .await?
        .result()
        .await?;
    match response.error {
        Some(error) if !error.message.is_empty() => Err(Error::Message(error.message)),
        _ => Ok(response.status_code),
    }
}
