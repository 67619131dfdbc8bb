//! Every command and flag of Docker's client, as its own help tells them, is ours as well, but for those that are
//! listed here.

use std::collections::BTreeSet;
use std::process::Command;

use dhow_tests::{Engine, TestHost, engine};

/// Commands that are not there, with all beneath them.
const NO_COMMANDS: &[&str] = &[
    "build",
    "builder",
    "checkpoint",
    "config",
    "image build",
    "manifest",
    "node",
    "plugin",
    "search",
    "secret",
    "service",
    "stack",
    "swarm",
    "trust",
];

/// Flags that are not there, by the last word of their command.
const NO_FLAGS: &[(&str, &[&str])] = &[
    // Of Windows, but for the last.
    (
        "create",
        &[
            "cpu-count",
            "cpu-percent",
            "io-maxbandwidth",
            "io-maxiops",
            "use-api-socket",
        ],
    ),
    (
        "run",
        &[
            "cpu-count",
            "cpu-percent",
            "io-maxbandwidth",
            "io-maxiops",
            "use-api-socket",
        ],
    ),
    ("start", &["checkpoint", "checkpoint-dir"]),
    // Of swarms' cluster volumes.
    ("volume ls", &["cluster"]),
    (
        "volume create",
        &[
            "availability",
            "group",
            "limit-bytes",
            "required-bytes",
            "scope",
            "secret",
            "sharing",
            "topology-preferred",
            "topology-required",
            "type",
        ],
    ),
];

fn help(program: &str, path: &[String]) -> String {
    let output = Command::new(program)
        .args(path)
        .arg("--help")
        .env("DOCKER_CONFIG", "/nonexistent")
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The commands and flags (as `-s, --long` or `--long`) that a help text lists.
fn listed(help: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut commands, mut flags) = (BTreeSet::new(), BTreeSet::new());
    let mut section = "";
    for line in help.lines() {
        if line.ends_with(':') && !line.starts_with(' ') {
            section = line;
        } else if section.ends_with("ommands:") && line.starts_with("  ") {
            let name = line.split_whitespace().next().unwrap_or_default();
            if !line.starts_with("   ") {
                commands.insert(name.to_owned());
            }
        } else if section.ends_with("ptions:")
            && line.trim_start().starts_with('-')
            // Not the second line of an explanation.
            && line.starts_with("  ")
            && !line.starts_with("        ")
        {
            let mut words = line
                .split_whitespace()
                .take_while(|word| word.starts_with('-'));
            let first = words.next().unwrap_or_default();
            flags.insert(match first.strip_suffix(',') {
                Some(_) => format!("{first} {}", words.next().unwrap_or_default()),
                None => first.to_owned(),
            });
        }
    }
    (commands, flags)
}

#[derive(Default)]
struct Lacking {
    commands: BTreeSet<String>,
    flags: BTreeSet<(String, String)>,
    compared: usize,
}

fn compare(ours: &str, path: &[String], lacking: &mut Lacking) {
    let name = path.join(" ");
    let (commands, flags) = listed(&help("docker", path));
    let text = help(ours, path);
    if !text.starts_with(format!("Usage:  dhow {name}").trim_end()) {
        lacking.commands.insert(name);
        return;
    }
    lacking.compared += 1;
    let (_, known) = listed(&text);
    for flag in flags.difference(&known) {
        let long = flag.rsplit("--").next().unwrap_or(flag);
        // Of a command with two names, the shorter has the list.
        let name = match name.strip_prefix("container ") {
            Some(short) => short.to_owned(),
            None => name.clone(),
        };
        lacking.flags.insert((name, long.to_owned()));
    }
    for command in commands {
        let mut path = path.to_vec();
        path.push(command);
        compare(ours, &path, lacking);
    }
}

#[test]
fn every_command_and_flag_of_dockers_client_is_there() {
    if Engine::under_test() != Engine::Dhow {
        return;
    }
    let ours = engine::dhow().display().to_string();
    let mut lacking = Lacking::default();
    compare(&ours, &[], &mut lacking);
    assert!(lacking.compared > 100, "{}", lacking.compared);
    let commands: BTreeSet<String> = NO_COMMANDS.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(lacking.commands, commands);
    let flags: BTreeSet<(String, String)> = NO_FLAGS
        .iter()
        .flat_map(|(name, flags)| {
            flags
                .iter()
                .map(move |flag| ((*name).to_owned(), (*flag).to_owned()))
        })
        .collect();
    assert_eq!(lacking.flags, flags);
}

#[test]
fn what_is_absent_is_said() {
    let host = TestHost::empty();
    for (line, said) in [
        ("build .", "dhow: 'dhow build' is not there yet"),
        (
            "swarm init",
            "dhow: 'dhow swarm' belongs to swarms, in none of which this engine is",
        ),
        ("nonsense", "dhow: unknown command: dhow nonsense"),
    ] {
        let error = host.sh(&format!("dhow {line}")).fails(1);
        assert!(error.starts_with(said), "{error}");
    }
}

#[test]
fn disk_usage_is_told_one_by_one() {
    let host = TestHost::start();
    host.sh("docker create --name one -v data:/d busybox; docker run --name two busybox sh -c 'echo text > /file'; docker tag busybox other:1")
        .ok();
    for line in [
        "system df -v",
        "system df -v --format '{{range .Images}}{{.Repository}}:{{.Tag}} {{.Size}} {{.UniqueSize}} {{.Containers}} {{end}}{{range .Volumes}}{{.Name}} {{.Links}} {{.Size}}{{end}}{{range .Containers}}{{.Names}} {{.Size}} {{.LocalVolumes}} {{end}}'",
    ] {
        let [theirs, ours] =
            ["docker", "dhow"].map(|client| host.sh(&format!("{client} {line}")).ok());
        assert_eq!(ours, theirs);
    }
    let json = host.sh("dhow system df -v --format json").json();
    assert_eq!(json["Volumes"][0]["Name"], "data");
    host.sh("docker rm one two; docker volume rm data").ok();
}

#[test]
fn what_is_no_template_is_refused_with_dockers_status() {
    let host = TestHost::start();
    for command in [
        "inspect -f '{{bad' busybox",
        "network inspect -f '{{bad' bridge",
        "version -f '{{bad'",
        "info -f '{{bad'",
        "events --format '{{bad'",
        "ps --format '{{bad'",
        "images --format '{{bad'",
        "inspect -f '{{.Nope}}' busybox",
    ] {
        let of = |client: &str| host.sh(&format!("{client} {command}"));
        let (ours, dockers) = (of("dhow"), of("docker"));
        assert_eq!(ours.code, dockers.code, "{command}: {ours:?}, {dockers:?}");
        // Lists don't agree on the words among themselves.
        let words = |text: &str| text.trim().split(": ").next().unwrap_or("").to_owned();
        if dockers.code == 64 {
            assert_eq!(words(&ours.stderr), words(&dockers.stderr), "{command}");
        }
    }
}
