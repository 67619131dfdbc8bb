//! `attach`, `start` and `exec`: the user's streams on a process that is there or begins.

use dhow_api::{ExecCreateRequest, ExecStartRequest};
use dhow_client::{AttachOptions, WaitCondition};

use crate::attachment::{self, End, Streams};
use crate::error::{Error, Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::session::Session;
use crate::signals::{self, Forwarding, Task};
use crate::{stdio, terminal};

pub const ATTACH: &[Flag] = &[
    Flag::new(
        "detach-keys",
        Kind::String,
        "Keys that detach from the container",
    ),
    Flag::new("no-stdin", Kind::Bool, "Do not attach stdin"),
    Flag::new("sig-proxy", Kind::Bool, "Pass signals on to the process").default("true"),
];

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

pub const EXEC: &[Flag] = &[
    Flag::new("detach", Kind::Bool, "Run in the background").short('d'),
    Flag::new(
        "detach-keys",
        Kind::String,
        "Keys that detach from the process",
    ),
    Flag::new("env", Kind::List, "Set an environment variable")
        .short('e')
        .checked(crate::spec::check_variable),
    Flag::new(
        "env-file",
        Kind::List,
        "Read environment variables from a file",
    ),
    Flag::new("interactive", Kind::Bool, "Attach stdin").short('i'),
    Flag::new("privileged", Kind::Bool, "Give the process all privileges"),
    Flag::new("tty", Kind::Bool, "Give the process a terminal").short('t'),
    Flag::new(
        "user",
        Kind::String,
        "User, or number of one (name|uid[:group|gid])",
    )
    .short('u'),
    Flag::new("workdir", Kind::String, "Working directory").short('w'),
];

/// Follows the terminal's size for a container's process.
fn follow_size(session: &Session, id: &str) -> Result<Task> {
    let client = session.client_as_is().clone();
    let id = id.to_owned();
    Ok(signals::watch_size(move |rows, columns| {
        let (client, id) = (client.clone(), id.clone());
        async move {
            // The process may have ended.
            let _ = client.container_resize(&id, rows, columns).await;
        }
    })?)
}

pub async fn attach(session: &Session, args: &Args) -> Result<()> {
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
        .container_attach(&container.id, &attach_options(&streams))
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
            Some(follow_size(session, &container.id)?)
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

fn attach_options(streams: &Streams) -> AttachOptions {
    AttachOptions {
        stdin: streams.stdin,
        stdout: streams.stdout,
        stderr: streams.stderr,
        logs: false,
        detach_keys: streams.detach_keys.clone(),
    }
}

pub async fn start(session: &Session, args: &Args) -> Result<()> {
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
    let options = attach_options(&streams);
    let (hijacked, wait) = tokio::try_join!(
        client.container_attach(id, &options),
        client.container_wait(id, condition)
    )?;
    client
        .container_start(id, streams.detach_keys.as_deref())
        .await?;
    let _size = match streams.tty && terminal::stdout_is_terminal() {
        true => Some(follow_size(session, id)?),
        false => None,
    };
    match attachment::carry(hijacked, &streams).await? {
        End::Detached => Ok(()),
        End::Finished => attachment::exit_with(wait.result().await?.status_code),
    }
}

pub async fn exec(session: &Session, args: &Args) -> Result<()> {
    let (container, command) = args
        .rest
        .split_first()
        .ok_or_else(|| message("a container is needed"))?;
    let detach = args.is_set("detach");
    let tty = args.is_set("tty");
    let stdin = args.is_set("interactive") && !detach;
    let env = crate::spec::read_environment(&args.list("env-file"), &args.list("env"))
        .map_err(message)?;
    let detach_keys = session.detach_keys(args);
    let client = session.client().await?;
    if !detach && stdin && tty && !terminal::stdin_is_terminal() {
        // That the container is missing is the better thing to say.
        client.container_inspect(container).await?;
        attachment::check_tty(stdin, tty)?;
    }
    let console_size = match tty {
        true => terminal::size().map(|(rows, columns)| [rows.into(), columns.into()]),
        false => None,
    };
    let request = ExecCreateRequest {
        user: args.string("user"),
        privileged: args.is_set("privileged"),
        tty,
        console_size,
        attach_stdin: stdin,
        attach_stdout: !detach,
        attach_stderr: !detach,
        detach_keys: detach_keys.clone().unwrap_or_default(),
        env: Some(env).filter(|env| !env.is_empty()),
        working_dir: args.string("workdir"),
        cmd: Some(command.to_vec()),
    };
    let id = client.exec_create(container, &request).await?;
    let start = ExecStartRequest {
        detach,
        tty,
        console_size,
    };
    if detach {
        return Ok(client.exec_start(&id, &start).await?);
    }
    let hijacked = client.exec_attach(&id, &start).await?;
    let _size = match tty && terminal::stdout_is_terminal() {
        true => {
            let (client, id) = (client.clone(), id.clone());
            Some(signals::watch_size(move |rows, columns| {
                let (client, id) = (client.clone(), id.clone());
                async move {
                    // The process may have ended, or not begun.
                    let _ = client.exec_resize(&id, rows, columns).await;
                }
            })?)
        }
        false => None,
    };
    let streams = Streams {
        stdin,
        stdout: true,
        stderr: true,
        tty,
        detach_keys,
        signals_caught: false,
    };
    match attachment::carry(hijacked, &streams).await? {
        End::Detached => Err(message("read escape sequence")),
        End::Finished => {
            let exec = client.exec_inspect(&id).await?;
            attachment::exit_with(exec.exit_code.unwrap_or(0))
        }
    }
}
