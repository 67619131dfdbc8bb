//! `exec`.

use dhow_api::{ExecCreateRequest, ExecStartRequest};

use super::attachment::{self, End, Streams};
use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::session::Session;
use crate::{environment, signals, terminal};

pub const EXEC: &[Flag] = &[
    Flag::new("detach", Kind::Bool, "Run in the background").short('d'),
    Flag::new(
        "detach-keys",
        Kind::String,
        "Keys that detach from the process",
    ),
    Flag::new("env", Kind::List, "Set an environment variable")
        .short('e')
        .checked(environment::check),
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

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let (container, command) = args
        .rest
        .split_first()
        .ok_or_else(|| message("a container is needed"))?;
    let detach = args.is_set("detach");
    let tty = args.is_set("tty");
    let stdin = args.is_set("interactive") && !detach;
    let env = environment::read(&args.list("env-file"), &args.list("env")).map_err(message)?;
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
