//! The flags of `run` and `create`, of which `update` has some.

use super::{container, devices, mounts, networks, resources};
use crate::environment;
use crate::flags::{Flag, Kind};

/// What both have, beside the limits.
pub const CONTAINER: &[Flag] = &[
    Flag::new(
        "add-host",
        Kind::List,
        "Add a line to the container's hosts file (name:ip)",
    )
    .checked(|text| container::extra_host(text).map(drop)),
    Flag::new(
        "annotation",
        Kind::Map,
        "Add an annotation, which is passed on to the OCI runtime",
    ),
    Flag::new("attach", Kind::List, "Attach to stdin, stdout or stderr")
        .short('a')
        .checked(container::check_stream),
    Flag::new(
        "blkio-weight-device",
        Kind::List,
        "Share of block I/O of a device (path:weight)",
    )
    .checked(|text| devices::weights(&[text]).map(drop)),
    Flag::new("cap-add", Kind::List, "Add a capability"),
    Flag::new("cap-drop", Kind::List, "Drop a capability"),
    Flag::new(
        "cgroup-parent",
        Kind::String,
        "Cgroup to put the container's own into",
    ),
    Flag::new("cgroupns", Kind::String, "Cgroup namespace (host|private)"),
    Flag::new(
        "cidfile",
        Kind::String,
        "Write the container's ID to a file",
    ),
    Flag::new("device", Kind::List, "Give access to a device of the host")
        .checked(|text| devices::read(&[text]).map(drop)),
    Flag::new(
        "device-cgroup-rule",
        Kind::List,
        "Add a rule to the list of allowed devices",
    ),
    Flag::new(
        "device-read-bps",
        Kind::List,
        "Limit reading from a device, in bytes a second (path:rate)",
    )
    .checked(|text| devices::throttles(&[text], true).map(drop)),
    Flag::new(
        "device-read-iops",
        Kind::List,
        "Limit reading from a device, in operations a second",
    )
    .checked(|text| devices::throttles(&[text], false).map(drop)),
    Flag::new(
        "device-write-bps",
        Kind::List,
        "Limit writing to a device, in bytes a second (path:rate)",
    )
    .checked(|text| devices::throttles(&[text], true).map(drop)),
    Flag::new(
        "device-write-iops",
        Kind::List,
        "Limit writing to a device, in operations a second",
    )
    .checked(|text| devices::throttles(&[text], false).map(drop)),
    Flag::new("dns", Kind::List, "Use a DNS server of one's own"),
    Flag::new("dns-option", Kind::List, "Set a DNS option").older(&["dns-opt"]),
    Flag::new("dns-search", Kind::List, "Set a DNS search domain"),
    Flag::new("domainname", Kind::String, "Domain name of the container"),
    Flag::new(
        "entrypoint",
        Kind::String,
        "Replace the entrypoint of the image",
    ),
    Flag::new("env", Kind::List, "Set an environment variable")
        .short('e')
        .checked(environment::check),
    Flag::new(
        "env-file",
        Kind::List,
        "Read environment variables from a file",
    ),
    Flag::new("expose", Kind::List, "Expose a port or a range of ports"),
    Flag::new("gpus", Kind::String, "Ask for GPUs ('all' or a number)")
        .checked(|text| devices::gpus(text).map(drop)),
    Flag::new("group-add", Kind::List, "Add the user to a further group"),
    Flag::new(
        "health-cmd",
        Kind::String,
        "Command that tells whether the container is healthy",
    ),
    Flag::new("health-interval", Kind::Duration, "Time between two checks"),
    Flag::new(
        "health-retries",
        Kind::Int,
        "Failures in a row that make it unhealthy",
    ),
    Flag::new(
        "health-restart",
        Kind::Int,
        "Failures in a row after which its restart policy starts it again (0: never)",
    ),
    Flag::new(
        "health-start-interval",
        Kind::Duration,
        "Time between two checks while it starts",
    ),
    Flag::new(
        "health-start-period",
        Kind::Duration,
        "Time to start in, while failures do not count",
    ),
    Flag::new(
        "health-timeout",
        Kind::Duration,
        "Longest time that a check may take",
    ),
    Flag::new("hostname", Kind::String, "Host name of the container").short('h'),
    Flag::new(
        "init",
        Kind::Bool,
        "Run an init that passes signals on and reaps processes",
    ),
    Flag::new(
        "interactive",
        Kind::Bool,
        "Keep stdin open even if nobody is attached",
    )
    .short('i'),
    Flag::new("ip", Kind::String, "IPv4 address (such as 172.30.100.104)"),
    Flag::new("ip6", Kind::String, "IPv6 address (such as 2001:db8::33)"),
    Flag::new("ipc", Kind::String, "IPC namespace to use"),
    Flag::new(
        "isolation",
        Kind::String,
        "Technology of isolation (Windows)",
    ),
    Flag::new("label", Kind::List, "Set a label")
        .short('l')
        .checked(|text| environment::read_labels(&[], &[text]).map(drop)),
    Flag::new("label-file", Kind::List, "Read labels from a file"),
    Flag::new("link", Kind::List, "Add a link to another container").checked(networks::check_link),
    Flag::new(
        "link-local-ip",
        Kind::List,
        "Link-local address of the container",
    ),
    Flag::new("log-driver", Kind::String, "Where the log is kept"),
    Flag::new("log-opt", Kind::List, "Set an option of the log driver"),
    Flag::new(
        "mac-address",
        Kind::String,
        "MAC address (such as 92:d0:c6:0a:29:33)",
    ),
    Flag::new(
        "memory-swappiness",
        Kind::Int,
        "Inclination to swap, from 0 to 100",
    ),
    Flag::new(
        "mount",
        Kind::List,
        "Mount a filesystem (type=,source=,target=,...)",
    )
    .checked(|text| mounts::mount(text).map(drop)),
    Flag::new("name", Kind::String, "Name of the container"),
    Flag::new(
        "network",
        Kind::List,
        "Network to connect the container to, or more of them (name=,alias=,ip=,...)",
    )
    .older(&["net"])
    .checked(networks::check),
    Flag::new(
        "network-alias",
        Kind::List,
        "Further name of the container in its network",
    )
    .older(&["net-alias"]),
    Flag::new(
        "no-healthcheck",
        Kind::Bool,
        "Do without the image's health check",
    ),
    Flag::new(
        "oom-kill-disable",
        Kind::Bool,
        "Do not kill the container when memory runs out",
    ),
    Flag::new(
        "oom-score-adj",
        Kind::Int,
        "Inclination to be killed when memory runs out (-1000 to 1000)",
    ),
    Flag::new("pid", Kind::String, "PID namespace to use"),
    Flag::new(
        "platform",
        Kind::String,
        "Platform of the image (os[/arch[/variant]])",
    ),
    Flag::new(
        "privileged",
        Kind::Bool,
        "Give the container all privileges",
    ),
    Flag::new(
        "publish",
        Kind::List,
        "Publish a port to the host ([ip:][port:]port[/protocol])",
    )
    .short('p'),
    Flag::new(
        "publish-all",
        Kind::Bool,
        "Publish all exposed ports to free ones",
    )
    .short('P'),
    Flag::new(
        "pull",
        Kind::String,
        "Pull the image first (\"always\", \"missing\", \"never\")",
    )
    .default("missing"),
    Flag::new("quiet", Kind::Bool, "Do not show the progress of the pull").short('q'),
    Flag::new(
        "read-only",
        Kind::Bool,
        "Mount the root filesystem read-only",
    ),
    Flag::new("restart", Kind::String, "When to start the container again").default("no"),
    Flag::new(
        "rm",
        Kind::Bool,
        "Remove the container and its anonymous volumes when it exits",
    ),
    Flag::new("runtime", Kind::String, "OCI runtime to use"),
    Flag::new("security-opt", Kind::List, "Set a security option"),
    Flag::new("shm-size", Kind::Bytes, "Size of /dev/shm"),
    Flag::new(
        "stop-signal",
        Kind::String,
        "Signal that stops the container",
    ),
    Flag::new(
        "stop-timeout",
        Kind::Int,
        "Seconds to wait before a stop becomes a kill",
    ),
    Flag::new(
        "storage-opt",
        Kind::List,
        "Set an option of the storage driver",
    ),
    Flag::new("sysctl", Kind::Map, "Set a kernel parameter").checked(resources::check_sysctl),
    Flag::new("tmpfs", Kind::List, "Mount a tmpfs (path[:options])"),
    Flag::new("tty", Kind::Bool, "Give the process a terminal").short('t'),
    Flag::new(
        "ulimit",
        Kind::List,
        "Set a resource limit (name=soft[:hard])",
    )
    .checked(|text| resources::ulimit(text).map(drop)),
    Flag::new(
        "user",
        Kind::String,
        "User, or number of one (name|uid[:group|gid])",
    )
    .short('u'),
    Flag::new("userns", Kind::String, "User namespace to use"),
    Flag::new("uts", Kind::String, "UTS namespace to use"),
    Flag::new(
        "volume",
        Kind::List,
        "Mount a volume or a path of the host ([source:]target[:options])",
    )
    .short('v'),
    Flag::new("volume-driver", Kind::String, "Driver of the volumes"),
    Flag::new(
        "volumes-from",
        Kind::List,
        "Mount the volumes of another container",
    ),
    Flag::new("workdir", Kind::String, "Working directory").short('w'),
];

/// The limits, which `update` changes.
pub const LIMITS: &[Flag] = &[
    Flag::new(
        "blkio-weight",
        Kind::Uint,
        "Share of block I/O, from 10 to 1000, or 0 for the default",
    ),
    Flag::new(
        "cpu-period",
        Kind::Int,
        "Period of the CPU quota, in microseconds",
    ),
    Flag::new(
        "cpu-quota",
        Kind::Int,
        "CPU time in each period, in microseconds",
    ),
    Flag::new(
        "cpu-rt-period",
        Kind::Int,
        "Period of the real-time scheduler, in microseconds",
    ),
    Flag::new(
        "cpu-rt-runtime",
        Kind::Int,
        "Real-time CPU time in each period, in microseconds",
    ),
    Flag::new(
        "cpu-shares",
        Kind::Int,
        "Share of the CPUs under contention",
    )
    .short('c'),
    Flag::new("cpus", Kind::Decimal, "Number of CPUs"),
    Flag::new("cpuset-cpus", Kind::String, "CPUs to run on (0-3, 0,1)"),
    Flag::new(
        "cpuset-mems",
        Kind::String,
        "Memory nodes to use (0-3, 0,1)",
    ),
    Flag::new("memory", Kind::Bytes, "Memory limit").short('m'),
    Flag::new(
        "memory-reservation",
        Kind::Bytes,
        "Memory that is left to the container under pressure",
    ),
    Flag::new(
        "memory-swap",
        Kind::BytesOrAll,
        "Limit of memory and swap together, or -1 for none",
    ),
    Flag::new("pids-limit", Kind::Int, "Limit of processes (-1 for none)"),
];

/// What only `run` has.
pub const RUN: &[Flag] = &[
    Flag::new(
        "detach",
        Kind::Bool,
        "Run in the background and print the container's ID",
    )
    .short('d'),
    Flag::new(
        "detach-keys",
        Kind::String,
        "Keys that detach from the container",
    ),
    Flag::new("sig-proxy", Kind::Bool, "Pass signals on to the process").default("true"),
];
