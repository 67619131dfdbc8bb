//! What the arguments of commands and the values of flags are.

use super::walk::{Place, Walk};
use super::{Candidate, Choices, Names, Then, plain};
use crate::command::{Arity, Command};
use crate::flags::{Flag, Kind};

const RUNNING: Names = Names::Containers(&["running", "restarting"]);
const ANY: Names = Names::Containers(&[]);

/// What a command's next argument may be.
pub fn of_argument(walk: &Walk, command: &Command) -> Choices {
    let given = &walk.arguments;
    let full = match command.arity {
        Arity::None => true,
        Arity::Exactly(most) | Arity::AtMost(most) | Arity::Between(_, most) => given.len() >= most,
        Arity::AtLeast(_) => false,
    };
    if full {
        return nothing();
    }
    let first = given.is_empty();
    match command.paths[0] {
        "attach" | "kill" | "pause" | "stats" | "stop" | "wait" => {
            Choices::Live(match command.paths[0] {
                "stop" | "kill" | "wait" => RUNNING,
                _ => Names::Containers(&["running"]),
            })
        }
        "unpause" => Choices::Live(Names::Containers(&["paused"])),
        "start" => Choices::Live(Names::Containers(&["created", "exited", "paused"])),
        "exec" | "port" | "top" if first => Choices::Live(RUNNING),
        "commit" | "diff" | "export" | "logs" | "rename" if first => Choices::Live(ANY),
        "rm" | "restart" | "update" | "container inspect" => Choices::Live(ANY),
        "create" | "push" | "run" | "tag" | "history" if first => Choices::Live(Names::Images),
        "tag" | "rmi" | "save" | "images" | "image inspect" => Choices::Live(Names::Images),
        "network inspect" | "network rm" | "network graph" => Choices::Live(Names::Networks),
        "network connect" | "network disconnect" if first => Choices::Live(Names::Networks),
        "network connect" => Choices::Live(Names::Members(false)),
        "network disconnect" => Choices::Live(Names::Members(true)),
        "volume inspect" | "volume rm" | "volume update" => Choices::Live(Names::Volumes),
        "context inspect" | "context rm" | "context update" | "context use" => {
            Choices::Live(Names::Contexts)
        }
        "context export" if first => Choices::Live(Names::Contexts),
        "context import" if first => nothing(),
        "inspect" => Choices::Live(match walk.value("type") {
            Some("container") => ANY,
            Some("image") => Names::Images,
            Some("network") => Names::Networks,
            Some("volume") => Names::Volumes,
            _ => Names::Objects,
        }),
        "completion" => fixed(&["bash", "zsh", "fish", "powershell"]),
        // Programs of a container, files, and what is not known.
        "create" | "exec" | "run" | "top" | "cp" | "import" | "context export"
        | "context import" => Choices::Fixed(Vec::new(), Then::Files),
        _ => nothing(),
    }
}

/// What a flag's value may be.
pub fn of_flag(walk: &Walk, flag: &Flag) -> Choices {
    let command = match walk.place {
        Place::Command(command) => command.paths[0],
        _ => "",
    };
    let makes = matches!(command, "run" | "create");
    match flag.long {
        "context" if command.is_empty() => Choices::Live(Names::Contexts),
        "from" if command == "context create" => Choices::Live(Names::Contexts),
        "config" if command.is_empty() => Choices::Fixed(Vec::new(), Then::Directories),
        "host" if command.is_empty() => {
            let kinds = ["unix://", "tcp://", "ssh://"];
            Choices::Fixed(kinds.map(plain).into(), Then::NoSpaceNothing)
        }
        "log-level" => fixed(&["debug", "info", "warn", "error", "fatal"]),
        "network" => Choices::Live(Names::Networks),
        "volumes-from" => Choices::Live(ANY),
        "link" if makes || command == "network connect" => Choices::Live(RUNNING),
        "config-from" => Choices::Live(Names::Networks),
        "restart" => fixed(&["no", "always", "on-failure", "unless-stopped"]),
        "pull" => fixed(&["always", "missing", "never"]),
        "type" if command == "inspect" => fixed(&["container", "image", "network", "volume"]),
        "signal" | "stop-signal" => fixed(&[
            "SIGHUP", "SIGINT", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGSTOP",
            "SIGCONT", "SIGWINCH",
        ]),
        "cap-add" | "cap-drop" => fixed(CAPABILITIES),
        "ipc" => fixed(&["host", "private", "shareable", "none", "container:"]),
        "pid" => fixed(&["host", "container:"]),
        "uts" | "userns" => fixed(&["host"]),
        "cgroupns" => fixed(&["host", "private"]),
        "log-driver" => fixed(&["json-file", "local", "none", "syslog", "journald"]),
        "platform" => fixed(&["linux", "linux/amd64", "linux/arm64"]),
        "format" if command == "network graph" => fixed(&["text", "dot", "svg"]),
        "format" => fixed(&["json", "table"]),
        "driver" if command == "volume create" => fixed(&["local"]),
        "driver" if command == "network create" => fixed(&["bridge", "ipvlan", "macvlan"]),
        "device-cgroup-rule" | "hostname" | "name" | "user" | "username" | "password"
        | "publish-add" | "publish-rm" => nothing(),
        "env" => {
            let mut names: Vec<String> = std::env::vars_os()
                .filter_map(|(name, _)| name.into_string().ok())
                .collect();
            names.sort();
            Choices::Fixed(names.into_iter().map(plain).collect(), Then::NoSpaceNothing)
        }
        _ => match flag.kind {
            Kind::Bool => fixed(&["true", "false"]),
            // Many of them are files.
            Kind::String | Kind::List if !command.starts_with("network ") => {
                Choices::Fixed(Vec::new(), Then::Files)
            }
            _ => nothing(),
        },
    }
}

fn nothing() -> Choices {
    Choices::Fixed(Vec::new(), Then::Nothing)
}

fn fixed(values: &[&'static str]) -> Choices {
    let candidates: Vec<Candidate> = values.iter().copied().map(plain).collect();
    // What ends with a colon goes on.
    Choices::Fixed(candidates, Then::Nothing)
}

const CAPABILITIES: &[&str] = &[
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];
