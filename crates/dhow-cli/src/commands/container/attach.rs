//! `attach`.

use dhow_client::WaitCondition;

use super::attachment::{self, End, Streams};
use crate::error::{Error, Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::session::Session;
use crate::signals::Forwarding;
use crate::terminal;

pub const ATTACH: &[Flag] = &[
    Flag::new(
        "detach-keys",
        Kind::String,
        "Keys that detach from the container",
    ),
    Flag::new("no-stdin", Kind::Bool, "Do not attach stdin"),
    Flag::new("sig-proxy", Kind::Bool, "Pass signals on to the process").default("true"),
];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    let container = client.container_inspect(&args.rest[0]).await?;
    let state = &container.state;
    let refusal = match state {
        state if state.paused => Some("cannot attach to a paused container, unpause it first"),
        state if state.restarting => {
            Some("cannot attach to a restarting container, wait until it is running")
        }
        state if !state.running => Some("cannot attach to a stopped container, start it first"),
        _ => None,
    };
    if let Some(refusal) = refusal {
        return Err(message(refusal));
    }
    let config = &container.config;
    let sig_proxy = args.is_set_or("sig-proxy", true) && !config.tty;
    let streams = Streams {
        stdin: !args.is_set("no-stdin") && config.open_stdin,
        stdout: true,
        stderr: true,
        tty: config.tty,
        detach_keys: session.detach_keys(args),
        signals_caught: sig_proxy,
    };
    attachment::check_tty(streams.stdin, streams.tty)?;
    let _forwarding = match sig_proxy {
        true => Some(Forwarding::catch()?.forward_to(client.clone(), container.id.clone())),
        false => None,
    };
    let wait = client
        .container_wait(&container.id, WaitCondition::NotRunning)
        .await?;
    let hijacked = client
        .container_attach(&container.id, &streams.options())
        .await?;
    let _size = match (
        streams.tty && terminal::stdout_is_terminal(),
        terminal::size(),
    ) {
        (true, Some((rows, columns))) => {
            // A size that changes has the process draw what it drew before this terminal was there. That it
            // has ended meanwhile shows elsewhere.
            let _ = client
                .container_resize(
                    &container.id,
                    rows.saturating_add(1),
                    columns.saturating_add(1),
                )
                .await;
            Some(attachment::follow_size(client, &container.id)?)
        }
        _ => None,
    };
    match attachment::carry(hijacked, &streams).await? {
        End::Detached => Err(message("read escape sequence")),
        End::Finished => {
            let response = wait.result().await?;
            match response.error {
                Some(error) if !error.message.is_empty() => Err(Error::Message(error.message)),
                _ => attachment::exit_with(response.status_code),
            }
        }
    }
}
