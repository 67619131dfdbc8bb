//! The table of all commands.

mod completion;
pub(crate) mod container;
mod context;
pub mod help;
mod image;
mod inspect;
mod login;
mod man;
mod network;
mod prune;
pub mod system;
mod volume;

use self::container::spec::flags as spec;
use crate::command::{Arity, Command, Face, Group};
use crate::flags::{Flag, Kind};
use crate::lists::{OBSOLETE, TRUST};

pub const GLOBAL: &[Flag] = &[
    Flag::new(
        "config",
        Kind::String,
        "Directory of the client's configuration",
    )
    .default("~/.docker"),
    Flag::new(
        "context",
        Kind::String,
        "Name of the context whose daemon is used, whatever the environment says",
    )
    .short('c'),
    Flag::new("debug", Kind::Bool, "Say more").short('D'),
    Flag::new("host", Kind::List, "Where the daemon listens").short('H'),
    Flag::new(
        "log-level",
        Kind::String,
        "How much to say (debug|info|warn|error|fatal)",
    )
    .short('l')
    .default("info"),
    Flag::new("tls", Kind::Bool, "Use TLS; implied by --tlsverify"),
    Flag::new(
        "tlscacert",
        Kind::String,
        "File of the authority that signs the daemon's certificate",
    )
    .default("~/.docker/ca.pem"),
    Flag::new("tlscert", Kind::String, "File of the client's certificate")
        .default("~/.docker/cert.pem"),
    Flag::new("tlskey", Kind::String, "File of the client's key").default("~/.docker/key.pem"),
    Flag::new(
        "tlsverify",
        Kind::Bool,
        "Use TLS and check the daemon's certificate",
    ),
    Flag::new("version", Kind::Bool, "Print the version and quit").short('v'),
];

pub const GROUPS: &[Group] = &[
    Group {
        name: "container",
        about: "Manage containers",
    },
    Group {
        name: "context",
        about: "Manage contexts",
    },
    Group {
        name: "image",
        about: "Manage images",
    },
    Group {
        name: "network",
        about: "Manage networks",
    },
    Group {
        name: "system",
        about: "Manage Dhow",
    },
    Group {
        name: "volume",
        about: "Manage volumes",
    },
];

pub const FACES: &[Face] = &[
    Face {
        name: "daemon",
        about: "Run the daemon",
    },
    Face {
        name: "registry",
        about: "Run a registry",
    },
];

/// Docker's commands that are not here, and why.
pub const ABSENT: &[(&[&str], &str)] = &[
    (
        &["build", "builder", "buildx", "compose", "search"],
        "is not there yet",
    ),
    (
        &["checkpoint", "manifest", "plugin", "trust"],
        "is not a part of Dhow",
    ),
    (
        &["config", "node", "secret", "service", "stack", "swarm"],
        "belongs to swarms, in none of which this engine is",
    ),
];

/// What help shows first.
pub const TOP: &[&str] = &[
    "run", "exec", "ps", "pull", "push", "images", "login", "logout", "version", "info",
];

macro_rules! commands {
    ($( $paths:expr, $aliases:expr, $usage:expr, $about:expr, $arity:expr, $first:expr, $flags:expr, $run:path; )*) => {
        &[$( Command {
            paths: &$paths,
            aliases: &$aliases,
            usage: $usage,
            about: $about,
            arity: $arity,
            flags_first: $first,
            flags: &$flags,
            run: |session, args| Box::pin($run(session, args)),
        } ),*]
    };
}

const CONTAINERS: &str = "CONTAINER [CONTAINER...]";
const OPTIONS_CONTAINERS: &str = "[OPTIONS] CONTAINER [CONTAINER...]";
const ONE: Arity = Arity::AtLeast(1);

#[rustfmt::skip]
pub const COMMANDS: &[Command] = commands! {
    ["run", "container run"], [], "[OPTIONS] IMAGE [COMMAND] [ARG...]", "Create and run a new container from an image", ONE, true, [spec::CONTAINER, spec::LIMITS, spec::RUN, TRUST, OBSOLETE], container::run::run;
    ["create", "container create"], [], "[OPTIONS] IMAGE [COMMAND] [ARG...]", "Create a new container", ONE, true, [spec::CONTAINER, spec::LIMITS, TRUST, OBSOLETE], container::run::create;
    ["start", "container start"], [], OPTIONS_CONTAINERS, "Start one or more stopped containers", ONE, false, [container::start::START], container::start::run;
    ["attach", "container attach"], [], "[OPTIONS] CONTAINER", "Attach stdin, stdout and stderr to a running container", Arity::Exactly(1), false, [container::attach::ATTACH], container::attach::run;
    ["exec", "container exec"], [], "[OPTIONS] CONTAINER COMMAND [ARG...]", "Execute a command in a running container", Arity::AtLeast(2), true, [container::exec::EXEC], container::exec::run;
    ["wait", "container wait"], [], CONTAINERS, "Wait until containers stop, then print their exit statuses", ONE, false, [], container::lifecycle::wait;
    ["logs", "container logs"], [], "[OPTIONS] CONTAINER", "Show what a container has said", Arity::Exactly(1), false, [container::logs::LOGS], container::logs::run;
    ["stop", "container stop"], [], OPTIONS_CONTAINERS, "Stop one or more running containers", ONE, false, [container::lifecycle::STOP], container::lifecycle::stop;
    ["restart", "container restart"], [], OPTIONS_CONTAINERS, "Restart one or more containers", ONE, false, [container::lifecycle::STOP], container::lifecycle::restart;
    ["kill", "container kill"], [], OPTIONS_CONTAINERS, "Kill one or more running containers", ONE, false, [container::lifecycle::KILL], container::lifecycle::kill;
    ["pause", "container pause"], [], CONTAINERS, "Freeze all processes of containers", ONE, false, [], container::lifecycle::pause;
    ["unpause", "container unpause"], [], CONTAINERS, "Thaw all processes of containers", ONE, false, [], container::lifecycle::unpause;
    ["rename", "container rename"], [], "CONTAINER NEW_NAME", "Rename a container", Arity::Exactly(2), false, [], container::lifecycle::rename;
    ["rm", "container rm"], ["container remove"], OPTIONS_CONTAINERS, "Remove one or more containers", ONE, false, [container::lifecycle::RM], container::lifecycle::rm;
    ["ps", "container ls"], ["container list", "container ps"], "[OPTIONS]", "List containers", Arity::None, false, [container::ps::PS], container::ps::run;
    ["top", "container top"], [], "CONTAINER [ps OPTIONS]", "Show the processes of a container", ONE, true, [], container::top::run;
    ["port", "container port"], [], "CONTAINER [PRIVATE_PORT[/PROTO]]", "Show where a container's ports are published", Arity::Between(1, 2), false, [], container::port::run;
    ["stats", "container stats"], [], "[OPTIONS] [CONTAINER...]", "Show what containers use of their host", Arity::AtLeast(0), false, [container::stats::STATS], container::stats::run;
    ["update", "container update"], [], OPTIONS_CONTAINERS, "Change limits, restart policy or published ports of containers", ONE, false, [spec::LIMITS, container::update::UPDATE], container::update::run;
    ["diff", "container diff"], [], "CONTAINER", "Show what a container has changed of its image's files", Arity::Exactly(1), false, [], container::diff::run;
    ["export", "container export"], [], "[OPTIONS] CONTAINER", "Write a container's files as a tar archive", Arity::Exactly(1), false, [container::export::EXPORT], container::export::run;
    ["commit", "container commit"], [], "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]", "Make an image of a container's changes", Arity::Between(1, 2), true, [container::commit::COMMIT], container::commit::run;
    ["cp", "container cp"], [], "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|- | SRC_PATH|- CONTAINER:DEST_PATH", "Copy files between a container and this machine", Arity::Exactly(2), false, [container::cp::CP], container::cp::run;
    ["container inspect"], [], OPTIONS_CONTAINERS, "Show all about one or more containers", ONE, false, [inspect::CONTAINER], inspect::container;
    ["container prune"], [], "[OPTIONS]", "Remove all stopped containers", Arity::None, false, [container::prune::PRUNE], container::prune::run;
    ["inspect"], [], "[OPTIONS] NAME|ID [NAME|ID...]", "Show all about containers, images, networks or volumes", ONE, false, [inspect::INSPECT], inspect::any;
    ["pull", "image pull"], [], "[OPTIONS] NAME[:TAG|@DIGEST]", "Download an image from a registry", Arity::Exactly(1), false, [image::pull::PULL, TRUST], image::pull::run;
    ["push", "image push"], [], "[OPTIONS] NAME[:TAG]", "Upload an image to a registry", Arity::Exactly(1), false, [image::push::PUSH, TRUST], image::push::run;
    ["import", "image import"], [], "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]", "Make an image of a root filesystem in a tar archive", Arity::Between(1, 2), false, [image::import::IMPORT], image::import::run;
    ["save", "image save"], [], "[OPTIONS] IMAGE [IMAGE...]", "Write images to a tar archive, on standard output unless told otherwise", ONE, false, [image::save::SAVE], image::save::run;
    ["load", "image load"], [], "[OPTIONS]", "Read images from a tar archive, on standard input unless told otherwise", Arity::None, false, [image::load::LOAD], image::load::run;
    ["images", "image ls"], ["image list"], "[OPTIONS] [REPOSITORY[:TAG]]", "List images", Arity::AtMost(1), false, [image::list::IMAGES], image::list::run;
    ["rmi", "image rm"], ["image remove"], "[OPTIONS] IMAGE [IMAGE...]", "Remove one or more images", ONE, false, [image::remove::RMI], image::remove::run;
    ["tag", "image tag"], [], "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", "Give an image a further name", Arity::Exactly(2), false, [], image::tag::run;
    ["history", "image history"], [], "[OPTIONS] IMAGE", "Show how an image was made", Arity::Exactly(1), false, [image::history::HISTORY], image::history::run;
    ["image inspect"], [], "[OPTIONS] IMAGE [IMAGE...]", "Show all about one or more images", ONE, false, [inspect::IMAGE], inspect::image;
    ["image prune"], [], "[OPTIONS]", "Remove unused images", Arity::None, false, [image::prune::PRUNE], image::prune::run;
    ["network create"], [], "[OPTIONS] NETWORK", "Create a network", Arity::Exactly(1), false, [network::create::CREATE], network::create::run;
    ["network connect"], [], "[OPTIONS] NETWORK CONTAINER", "Connect a container to a network", Arity::Exactly(2), false, [network::endpoint::CONNECT], network::endpoint::connect;
    ["network disconnect"], [], "[OPTIONS] NETWORK CONTAINER", "Disconnect a container from a network", Arity::Exactly(2), false, [network::endpoint::DISCONNECT], network::endpoint::disconnect;
    ["network ls"], ["network list"], "[OPTIONS]", "List networks", Arity::None, false, [network::list::LS], network::list::run;
    ["network graph"], [], "[OPTIONS] [NETWORK...]", "Draw who is on which network, with addresses and published ports", Arity::AtLeast(0), false, [network::graph::GRAPH], network::graph::run;
    ["network rm"], ["network remove"], "NETWORK [NETWORK...]", "Remove one or more networks that no container uses", ONE, false, [network::remove::RM], network::remove::run;
    ["network prune"], [], "[OPTIONS]", "Remove all networks that no container uses", Arity::None, false, [network::prune::PRUNE], network::prune::run;
    ["network inspect"], [], "[OPTIONS] NETWORK [NETWORK...]", "Show all about one or more networks", ONE, false, [inspect::NETWORK], inspect::network;
    ["volume ls"], ["volume list"], "[OPTIONS]", "List volumes", Arity::None, false, [volume::LS], volume::ls;
    ["volume create"], [], "[OPTIONS] [VOLUME]", "Create a volume", Arity::AtMost(1), false, [volume::CREATE], volume::create;
    ["volume inspect"], [], "[OPTIONS] VOLUME [VOLUME...]", "Show all about one or more volumes", ONE, false, [inspect::VOLUME], inspect::volume;
    ["volume rm"], ["volume remove"], "[OPTIONS] VOLUME [VOLUME...]", "Remove one or more volumes that no container uses", ONE, false, [volume::RM], volume::rm;
    ["volume update"], [], "[OPTIONS] VOLUME", "Update a volume of a cluster", Arity::Exactly(1), false, [volume::UPDATE], volume::update;
    ["volume prune"], [], "[OPTIONS]", "Remove unused volumes", Arity::None, false, [volume::prune::PRUNE], volume::prune::run;
    ["context create"], [], "[OPTIONS] CONTEXT", "Create a context: a daemon with a name", Arity::Exactly(1), false, [context::create::CREATE], context::create::run;
    ["context update"], [], "[OPTIONS] CONTEXT", "Change a context", Arity::Exactly(1), false, [context::create::UPDATE], context::create::update;
    ["context ls"], ["context list"], "[OPTIONS]", "List contexts", Arity::None, false, [context::list::LS], context::list::run;
    ["context inspect"], [], "[OPTIONS] [CONTEXT] [CONTEXT...]", "Show all about one or more contexts", Arity::AtLeast(0), false, [context::inspect::INSPECT], context::inspect::run;
    ["context rm"], ["context remove"], "CONTEXT [CONTEXT...]", "Remove one or more contexts", ONE, false, [context::current::RM], context::current::rm;
    ["context use"], [], "CONTEXT", "Use a context from now on", Arity::Exactly(1), false, [], context::current::use_;
    ["context show"], [], "", "Print the name of the context in use", Arity::None, false, [], context::current::show;
    ["context export"], [], "[OPTIONS] CONTEXT [FILE|-]", "Write a context to a tar archive", Arity::Between(1, 2), false, [], context::transfer::export;
    ["context import"], [], "CONTEXT FILE|-", "Read a context from a tar archive", Arity::Exactly(2), false, [], context::transfer::import;
    ["login"], [], "[OPTIONS] [SERVER]", "Log in to a registry", Arity::AtMost(1), false, [login::LOGIN], login::login;
    ["logout"], [], "[SERVER]", "Log out from a registry", Arity::AtMost(1), false, [], login::logout;
    ["version"], [], "[OPTIONS]", "Show the versions of client and daemon", Arity::None, false, [system::version::VERSION], system::version::run;
    ["info", "system info"], [], "[OPTIONS]", "Show what the daemon is and has", Arity::None, false, [system::info::INFO], system::info::run;
    ["events", "system events"], [], "[OPTIONS]", "Show what happens, as it happens", Arity::None, false, [system::events::EVENTS], system::events::run;
    ["system df"], [], "[OPTIONS]", "Show how much disk is used", Arity::None, false, [system::df::DF], system::df::run;
    ["system prune"], [], "[OPTIONS]", "Remove what is not used", Arity::None, false, [system::prune::PRUNE], system::prune::run;
    ["system dial-stdio"], [], "", "Join the standard streams to the daemon (for ssh:// hosts)", Arity::None, false, [], system::dial_stdio::run;
    ["completion"], [], "SHELL", "Print the completion script for a shell (bash|zsh|fish|powershell)", Arity::Exactly(1), false, [], completion::run;
    ["__man"], [], "DIRECTORY", "Write the manual's pages into a directory", Arity::Exactly(1), false, [], completion::manual;
    ["__docs"], [], "", "Print the reference of the command line", Arity::None, false, [], completion::docs;
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_and_flags_are_unique() {
        let mut names = HashSet::new();
        for command in COMMANDS {
            for name in command.names() {
                assert!(names.insert(name), "{name} is there twice");
                if let Some((group, _)) = name.split_once(' ') {
                    assert!(GROUPS.iter().any(|known| known.name == group), "{name}");
                }
            }
            let (mut long, mut short) = (HashSet::new(), HashSet::new());
            for flag in command.flags() {
                for name in [flag.long].iter().chain(flag.older) {
                    assert!(long.insert(*name), "{}: --{name}", command.paths[0]);
                }
                if let Some(letter) = flag.short {
                    assert!(short.insert(letter), "{}: -{letter}", command.paths[0]);
                }
            }
            // The parser's own checks.
            command.parser(command.paths[0]).debug_assert();
        }
        for name in TOP {
            assert!(names.contains(name), "{name}");
        }
    }
}
