//! `start`.

use dhow_client::WaitCondition;

use super::attachment::{self, End, Streams};
use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::session::Session;
use crate::signals::Forwarding;
use crate::{stdio, terminal};

pub const START: &[Flag] = &[
    Flag::new(
        "attach",
        Kind::Bool,
        "Attach stdout and stderr, and pass signals on",
    )
    .short('a'),
    Flag::new(
        "detach-keys",
        Kind::String,
        "Keys that detach from the container",
    ),
    Flag::new("interactive", Kind::Bool, "Attach stdin").short('i'),
];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    if args.is_set("attach") || args.is_set("interactive") {
        return start_attached(session, args).await;
    }
    let client = session.client().await?;
    let mut failed = Vec::new();
    for name in &args.rest {
        match client.container_start(name, None).await {
            Ok(()) => stdio::println(name)?,
            Err(error) => {
                eprintln!("{error}");
                failed.push(name.as_str());
            }
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(message(format!(
            "Error: failed to start containers: {}",
            failed.join(", ")
        ))),
    }
}

async fn start_attached(session: &Session, args: &Args) -> Result<()> {
    let [name] = args.rest.as_slice() else {
        return Err(message(
            "you cannot start and attach multiple containers at once",
        ));
    };
    let client = session.client().await?;
    let container = client.container_inspect(name).await?;
    let (id, config) = (&container.id, &container.config);
    let streams = Streams {
        stdin: args.is_set("interactive") && config.open_stdin,
        stdout: true,
        stderr: true,
        tty: config.tty,
        detach_keys: session.detach_keys(args),
        signals_caught: !config.tty,
    };
    attachment::check_tty(streams.stdin, streams.tty)?;
    let _forwarding = match config.tty {
        true => None,
        false => Some(Forwarding::catch()?.forward_to(client.clone(), id.clone())),
    };
    let condition = match container.host_config.auto_remove {
        true => WaitCondition::Removed,
        false => WaitCondition::NextExit,
    };
    let options = streams.options();
    let (hijacked, wait) = tokio::try_join!(
        client.container_attach(id, &options),
        client.container_wait(id, condition)
    )?;
    client
        .container_start(id, streams.detach_keys.as_deref())
        .await?;
    let _size = match streams.tty && terminal::stdout_is_terminal() {
        true => Some(attachment::follow_size(client, id)?),
        false => None,
    };
    match attachment::carry(hijacked, &streams).await? {
        End::Detached => Ok(()),
        End::Finished => attachment::exit_with(wait.result().await?.status_code),
    }
}
