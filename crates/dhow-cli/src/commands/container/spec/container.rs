//! The definition as a whole.

use dhow_api::{ContainerConfig, ContainerCreateRequest, HostConfig};

use super::ports::Ports;
use super::{capabilities, mounts, networks, resources, security, volumes};
use crate::commands::image::asked_platform;
use crate::environment;
use crate::error::Refusal;
use crate::flags::Args;

/// What `create` sends.
#[derive(Debug)]
pub struct Definition {
    pub request: ContainerCreateRequest,
    pub name: Option<String>,
    pub platform: Option<String>,
}

/// Reads the flags; `proxy` are variables that the user's configuration adds.
pub fn define(args: &Args, proxy: &[(String, String)]) -> Result<Definition, Refusal> {
    let (image, command) = args
        .rest
        .split_first()
        .ok_or_else(|| "an image is needed".to_owned())?;
    let attached = attached(args)?;
    let interactive = args.is_set("interactive");
    let mut ports = Ports::default();
    for spec in args.list("publish") {
        ports.publish(spec)?;
    }
    for spec in args.list("expose") {
        ports.expose(spec)?;
    }
    let (binds, anonymous) = volumes::read(&args.list("volume"))?;
    let mounts = args
        .list("mount")
        .into_iter()
        .map(mounts::mount)
        .collect::<Result<Vec<_>, _>>()?;
    let (network_mode, networking_config) = networks::read(args)?;
    let (security_opt, unconfined_paths) = security::read(&args.list("security-opt"))?;
    let restart_policy = resources::restart_policy(args.text("restart").unwrap_or("no"))?;
    let auto_remove = args.is_set("rm");
    if auto_remove && !matches!(restart_policy.name.as_str(), "" | "no") {
        return Err("conflicting options: cannot specify both --restart and --rm".to_owned());
    }
    namespace_modes(args)?;
    let config = ContainerConfig {
        hostname: args.string("hostname"),
        domainname: args.string("domainname"),
        user: args.string("user"),
        attach_stdin: attached.stdin,
        attach_stdout: attached.stdout,
        attach_stderr: attached.stderr,
        exposed_ports: ports.exposed,
        tty: args.is_set("tty"),
        open_stdin: interactive,
        stdin_once: interactive && attached.stdin,
        env: env(args, proxy)?,
        cmd: Some(command.to_vec()).filter(|command| !command.is_empty()),
        healthcheck: resources::health(args)?,
        image: image.clone(),
        volumes: Some(anonymous).filter(|set| !set.is_empty()),
        working_dir: args.string("workdir"),
        // An empty entrypoint takes the image's away.
        entrypoint: args
            .was_given("entrypoint")
            .then(|| vec![args.string("entrypoint")]),
        labels: environment::read_labels(&args.list("label-file"), &args.list("label"))?,
        stop_signal: args.string("stop-signal"),
        stop_timeout: args.int("stop-timeout"),
        ..ContainerConfig::default()
    };
    let (cap_add, cap_drop) =
        capabilities::effective(args.some_strings("cap-add"), args.some_strings("cap-drop"));
    let host_config = HostConfig {
        binds: Some(binds).filter(|list| !list.is_empty()),
        container_id_file: args.string("cidfile"),
        log_config: resources::log_config(args)?,
        network_mode,
        port_bindings: Some(ports.bindings),
        restart_policy,
        auto_remove,
        volume_driver: args.string("volume-driver"),
        links: args.some_strings("link"),
        volumes_from: args.some_strings("volumes-from"),
        console_size: console_size(),
        annotations: environment::pairs(&args.list("annotation")),
        cap_add,
        cap_drop,
        cgroupns_mode: args.string("cgroupns"),
        dns: Some(args.strings("dns")),
        dns_options: Some(args.strings("dns-option")),
        dns_search: Some(args.strings("dns-search")),
        extra_hosts: extra_hosts(&args.list("add-host"))?,
        group_add: args.some_strings("group-add"),
        ipc_mode: args.string("ipc"),
        oom_score_adj: args.int("oom-score-adj").unwrap_or(0),
        pid_mode: args.string("pid"),
        privileged: args.is_set("privileged"),
        publish_all_ports: args.is_set("publish-all"),
        readonly_rootfs: args.is_set("read-only"),
        security_opt,
        storage_opt: environment::pairs(&args.list("storage-opt")),
        tmpfs: mounts::tmpfs(&args.list("tmpfs")),
        uts_mode: args.string("uts"),
        userns_mode: args.string("userns"),
        shm_size: args.bytes("shm-size").unwrap_or(0),
        sysctls: environment::pairs(&args.list("sysctl")),
        runtime: args.string("runtime"),
        isolation: args.string("isolation"),
        resources: resources::read(args)?,
        mounts,
        masked_paths: unconfined_paths.then(Vec::new),
        readonly_paths: unconfined_paths.then(Vec::new),
        // Only if it was said: the daemon has a default of its own.
        init: args.was_given("init").then(|| args.is_set("init")),
        ..HostConfig::default()
    };
    Ok(Definition {
        request: ContainerCreateRequest {
            config,
            host_config: Some(host_config),
            networking_config,
            mac_address: None,
        },
        name: args.nonempty("name").map(str::to_owned),
        platform: asked_platform(args),
    })
}

struct Attached {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

fn attached(args: &Args) -> Result<Attached, Refusal> {
    let list = args.list("attach");
    let mut attached = Attached {
        stdin: args.is_set("interactive"),
        stdout: list.is_empty(),
        stderr: list.is_empty(),
    };
    for stream in list {
        match stream.to_ascii_lowercase().as_str() {
            "stdin" => attached.stdin = true,
            "stdout" => attached.stdout = true,
            "stderr" => attached.stderr = true,
            _ => check_stream(stream)?,
        }
    }
    Ok(attached)
}

fn env(args: &Args, proxy: &[(String, String)]) -> Result<Option<Vec<String>>, Refusal> {
    let mut env = environment::read(&args.list("env-file"), &args.list("env"))?;
    for (name, value) in proxy {
        let given = env
            .iter()
            .any(|variable| variable.split('=').next() == Some(name.as_str()));
        if !given {
            env.push(format!("{name}={value}"));
        }
    }
    Ok(Some(env).filter(|env| !env.is_empty()))
}

fn console_size() -> [u32; 2] {
    match crate::terminal::size() {
        Some((rows, columns)) => [rows.into(), columns.into()],
        None => [0, 0],
    }
}

fn extra_hosts(specs: &[&str]) -> Result<Option<Vec<String>>, Refusal> {
    let all: Vec<String> = specs
        .iter()
        .map(|spec| extra_host(spec))
        .collect::<Result<_, _>>()?;
    Ok(Some(all).filter(|list| !list.is_empty()))
}

/// `name:ip` or `name=ip`, in the API's form.
pub fn extra_host(spec: &str) -> Result<String, Refusal> {
    let split = spec.split_once('=').or_else(|| spec.split_once(':'));
    let (name, ip) = match split {
        Some((name, ip)) if !name.is_empty() => (name, ip),
        _ => return Err(format!("bad format for add-host: {spec:?}")),
    };
    let bare = ip
        .strip_prefix('[')
        .and_then(|ip| ip.strip_suffix(']'))
        .unwrap_or(ip);
    if ip != "host-gateway" && bare.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address in add-host: {ip:?}"));
    }
    Ok(format!("{name}:{bare}"))
}

/// Whether this is the name of a stream.
pub fn check_stream(name: &str) -> Result<(), Refusal> {
    match name.to_ascii_lowercase().as_str() {
        "stdin" | "stdout" | "stderr" => Ok(()),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

fn namespace_modes(args: &Args) -> Result<(), Refusal> {
    let of_container = |mode: &str| {
        mode.strip_prefix("container:")
            .is_some_and(|id| !id.is_empty())
    };
    let pid = args.text("pid").unwrap_or_default();
    if !matches!(pid, "" | "host") && !of_container(pid) {
        return Err("--pid: invalid PID mode".to_owned());
    }
    if !matches!(args.text("uts").unwrap_or_default(), "" | "host") {
        return Err("--uts: invalid UTS mode".to_owned());
    }
    if !matches!(args.text("userns").unwrap_or_default(), "" | "host") {
        return Err("--userns: invalid USER mode".to_owned());
    }
    if !matches!(
        args.text("cgroupns").unwrap_or_default(),
        "" | "host" | "private"
    ) {
        return Err("--cgroupns: invalid CGROUP mode".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::flags::{CONTAINER, LIMITS, RUN};
    use super::*;
    use crate::flags::{parse, parser};
    use std::ffi::OsString;

    fn definition(line: &[&str]) -> Result<Definition, Refusal> {
        let words: Vec<OsString> = line.iter().map(OsString::from).collect();
        let flags = || CONTAINER.iter().chain(LIMITS).chain(RUN).copied();
        let args = parse(parser("run", flags(), true), flags(), &words)?;
        define(&args, &[("HTTP_PROXY".to_owned(), "http://p".to_owned())])
    }

    #[test]
    fn flags_become_a_definition() {
        let definition = definition(&[
            "-it",
            "--rm",
            "--name",
            "web",
            "-e",
            "A=1",
            "-w",
            "/w",
            "-u",
            "1:2",
            "--entrypoint",
            "",
            "-p",
            "8080:80",
            "-v",
            "/h:/c:ro",
            "-v",
            "/anon",
            "--tmpfs",
            "/t:size=1m",
            "-m",
            "64m",
            "--memory-swap",
            "-1",
            "--cpus",
            "1.5",
            "--pids-limit",
            "9",
            "--cap-add",
            "ALL",
            "--label",
            "l=1",
            "--add-host",
            "h=::1",
            "--init=false",
            "--stop-timeout",
            "3",
            "--network",
            "none",
            "busybox",
            "sh",
            "-c",
            "true",
        ])
        .unwrap();
        let config = &definition.request.config;
        let host = definition.request.host_config.as_ref().unwrap();
        assert_eq!(definition.name.as_deref(), Some("web"));
        assert_eq!(config.image, "busybox");
        assert_eq!(config.cmd.as_ref().unwrap(), &["sh", "-c", "true"]);
        assert_eq!(config.entrypoint.as_ref().unwrap(), &[""]);
        assert_eq!(
            config.env.as_ref().unwrap(),
            &["A=1", "HTTP_PROXY=http://p"]
        );
        assert!(config.tty && config.open_stdin && config.stdin_once && config.attach_stdin);
        assert_eq!(config.volumes.as_ref().unwrap().len(), 1);
        assert_eq!(config.stop_timeout, Some(3));
        assert_eq!(host.binds.as_ref().unwrap(), &["/h:/c:ro"]);
        assert_eq!(host.port_bindings.as_ref().unwrap().len(), 1);
        assert_eq!(host.resources.memory, 64 << 20);
        assert_eq!(host.resources.memory_swap, -1);
        assert_eq!(host.resources.nano_cpus, 1_500_000_000);
        assert_eq!(host.resources.pids_limit, Some(9));
        assert_eq!(host.extra_hosts.as_ref().unwrap(), &["h:::1"]);
        assert_eq!(host.init, Some(false));
        assert_eq!(host.network_mode, "none");
        assert!(host.auto_remove);
        assert_eq!(definition.request.networking_config, None);
    }

    #[test]
    fn contradictions_are_refused() {
        for (line, why) in [
            (
                &["--rm", "--restart", "always", "x"][..],
                "conflicting options: cannot specify both --restart and --rm",
            ),
            (
                &["--no-healthcheck", "--health-cmd", "x", "x"],
                "--no-healthcheck conflicts with --health-* options",
            ),
            (
                &["-a", "foo", "x"],
                "invalid argument \"foo\" for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR",
            ),
            (&["--pid", "x", "x"], "--pid: invalid PID mode"),
            (
                &["--add-host", "x", "x"],
                "invalid argument \"x\" for \"--add-host\" flag: bad format for add-host: \"x\"",
            ),
            (
                &["--log-driver", "none", "--log-opt", "a=b", "x"],
                "invalid logging opts for driver none",
            ),
        ] {
            assert_eq!(definition(line).unwrap_err(), why);
        }
    }
}
