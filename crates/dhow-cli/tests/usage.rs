//! What the client says without a daemon: help, usage errors, exit statuses.

use std::process::Command;

/// The client, run as `dhow` by its library, with what it printed and its status.
fn dhow(arguments: &[&str]) -> String {
    let output = Command::new(client())
        .args(arguments)
        .env_remove("DOCKER_HOST")
        .env("DHOW_HOST", "unix:///nonexistent/dhow.sock")
        .env("DOCKER_CONFIG", "/nonexistent")
        .output()
        .unwrap();
    format!(
        "status {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Cargo builds examples with the tests, beside them.
fn client() -> std::path::PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples/client")
}

#[test]
fn usage_errors_are_dockers() {
    for (arguments, status, stderr) in [
        (
            &["run"][..],
            1,
            "dhow: 'dhow run' requires at least 1 argument\n\nUsage:  dhow run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nSee 'dhow run --help' for more information\n",
        ),
        (
            &["ps", "--foo"],
            125,
            "unknown flag: --foo\n\nUsage:  dhow ps [OPTIONS]\n\nRun 'dhow ps --help' for more information\n",
        ),
        (
            &["tag", "a"],
            1,
            "dhow: 'dhow tag' requires 2 arguments\n\nUsage:  dhow tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]\n\nRun 'dhow tag --help' for more information\n",
        ),
        (
            &["foo"],
            1,
            "dhow: unknown command: dhow foo\n\nRun 'dhow --help' for more information\n",
        ),
        (
            &["container", "foo"],
            1,
            "dhow: unknown command: dhow container foo\n\nUsage:  dhow container\n\nRun 'dhow container --help' for more information\n",
        ),
        (
            &["run", "-m", "zz", "x"],
            125,
            "invalid argument \"zz\" for \"-m, --memory\" flag: invalid size: 'zz'\n\nUsage:  dhow run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nRun 'dhow run --help' for more information\n",
        ),
        (
            &["run", "-p", "99999:1", "x"],
            125,
            "dhow: invalid hostPort: 99999\n\nRun 'dhow run --help' for more information\n",
        ),
        (
            &["run", "UPPER"],
            125,
            "dhow: invalid reference format: repository name (library/UPPER) must be lowercase\n\nRun 'dhow run --help' for more information\n",
        ),
        (
            &["ps"],
            1,
            "Cannot connect to the Dhow daemon at unix:///nonexistent/dhow.sock. Is the dhow daemon running?\n",
        ),
    ] {
        assert_eq!(
            dhow(arguments),
            format!("status {status}\n--- stdout\n--- stderr\n{stderr}"),
            "{arguments:?}"
        );
    }
}

#[test]
fn help_shows_commands_and_flags() {
    insta::assert_snapshot!("help", dhow(&["--help"]));
    insta::assert_snapshot!("help-ps", dhow(&["ps", "--help"]));
    insta::assert_snapshot!("help-volume", dhow(&["volume"]));
    assert_eq!(
        dhow(&["help", "ps"]),
        dhow(&["container", "ls", "--help"]).replace("dhow container ls [", "dhow ps [")
    );
}

#[test]
fn a_client_without_a_daemon_has_a_version() {
    let shown = dhow(&["version"]);
    assert!(
        shown.starts_with("status 1\n--- stdout\nClient: Dhow\n"),
        "{shown}"
    );
    assert!(
        shown.contains("Cannot connect to the Dhow daemon"),
        "{shown}"
    );
    assert!(dhow(&["--version"]).contains("Dhow version "));
}

#[test]
fn completion_has_a_script_for_each_shell_and_asks_the_program() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = dhow(&["completion", shell]);
        assert!(script.starts_with("status 0\n"), "{script}");
        assert!(
            script.contains("dhow") && script.contains("__complete"),
            "{shell}"
        );
    }
    let asked = dhow(&["__complete", "volu"]);
    assert!(asked.contains("volume\tManage volumes\n:4\n"), "{asked}");
    // Silent where there is nothing to ask.
    let nobody = dhow(&["__complete", "-H", "unix:///not/there", "stop", ""]);
    assert_eq!(nobody, "status 0\n--- stdout\n:4\n--- stderr\n");
    assert!(dhow(&["completion", "tcsh"]).starts_with("status 1\n"));
}
