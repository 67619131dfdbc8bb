//! Completion, in a real bash: commands, flags, and the names of what there is.

use std::time::{Duration, Instant};

use dhow_tests::{Terminal, TestHost, eventually};

/// Types text and the tab key, and waits until the line is the whole one.
#[track_caller]
fn completes(bash: &Terminal, typed: &str, whole: &str) {
    bash.key("C-u");
    eventually("the line is empty", || {
        bash.screen().trim_end().ends_with('>').then_some(())
    });
    bash.key(typed);
    bash.key("Tab");
    let line = format!("> {whole}");
    eventually(
        &format!("{typed:?} becomes {whole:?}\n{}", bash.screen()),
        || bash.screen().trim_end().ends_with(&line).then_some(()),
    );
}

#[test]
fn bash_completes_commands_flags_and_names() {
    let host = TestHost::start();
    host.sh("docker run -d --name web-runs busybox sleep 1000; docker create --name web-made busybox; docker volume create data-1; docker tag busybox localhost:5000/a/tool:v1; dhow context create faraway --docker host=tcp://127.0.0.1:1")
        .ok();
    let bash = host.terminal("exec bash --norc --noprofile");
    bash.enter("PS1='> '; source <(dhow completion bash); clear");
    for (typed, whole) in [
        ("dhow contai", "dhow container"),
        ("dhow run --inter", "dhow run --interactive"),
        ("dhow run --restart=un", "dhow run --restart=unless-stopped"),
        // Running ones only; then whatever there is, but for what stands there.
        ("dhow stop web", "dhow stop web-runs"),
        ("dhow rm web-runs we", "dhow rm web-runs web-made"),
        ("dhow exec web", "dhow exec web-runs"),
        ("dhow run --rm bus", "dhow run --rm busybox:latest"),
        ("dhow rmi loc", "dhow rmi localhost:5000/a/tool:v1"),
        ("dhow rmi localhost:50", "dhow rmi localhost:5000/a/tool:v1"),
        ("dhow volume inspect da", "dhow volume inspect data-1"),
        ("dhow run --network=bri", "dhow run --network=bridge"),
        ("dhow context use far", "dhow context use faraway"),
        ("dhow -c def", "dhow -c default"),
        ("dhow load -i ./home/.do", "dhow load -i ./home/.docker/"),
    ] {
        completes(&bash, typed, whole);
    }
    host.sh("docker rm -f web-runs web-made").ok();
}

#[test]
fn without_a_daemon_it_is_quick_and_silent() {
    let host = TestHost::empty();
    let started = Instant::now();
    for words in [
        "stop ''",
        "-c nope rm ''",
        "rmi x",
        "-H bad:// rm ''",
        "-H ssh://nobody.invalid rm ''",
    ] {
        let asked = host.sh(&format!(
            "export DOCKER_HOST=unix:///not/there; PATH=$PWD/bin; dhow __complete {words}"
        ));
        assert_eq!(
            (asked.code, asked.stdout.as_str(), asked.stderr.as_str()),
            (0, ":4\n", ""),
            "{words}"
        );
    }
    assert!(started.elapsed() < Duration::from_secs(30));
    // Under Docker's name, Docker's own script asks in the same way.
    let asked = host
        .sh("mkdir alias; ln -s ../bin/dhow alias/docker; alias/docker __complete context sh")
        .ok();
    assert!(
        asked.starts_with("show\t") && asked.ends_with(":4"),
        "{asked}"
    );
}
