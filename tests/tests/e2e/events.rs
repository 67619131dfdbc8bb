//! `docker events`.

use std::time::Duration;

use dhow_tests::TestHost;
use dhow_tests::http::{Exchange, request};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

fn actions(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            format!(
                "{} {}",
                event["Type"].as_str().unwrap_or(""),
                event["Action"].as_str().unwrap_or("")
            )
        })
        .collect()
}

#[test]
fn a_run_tells_its_story() {
    let host = TestHost::start();
    let live = host.spawn("docker events --format json");
    // The subscription is made when something of it is seen: a network-less container's creation, repeated.
    dhow_tests::eventually("events arrive", || {
        host.sh("docker create --name probe busybox && docker rm probe")
            .ok();
        live.stdout().contains("probe").then_some(())
    });
    let start = host.sh("date +%s.%N").ok();
    host.sh("docker run --rm --name story -l port=lamu busybox sh -c 'exit 3'")
        .fails(3);
    let out = dhow_tests::eventually("the story ends", || {
        let out = live.stdout();
        out.lines()
            .any(|line| line.contains("story") && line.contains(r#""Action":"destroy""#))
            .then_some(out)
    });
    let story: String = out
        .lines()
        .filter(|line| line.contains("story") || line.contains(r#""Type":"network""#))
        .map(|line| format!("{line}\n"))
        .collect();
    let seen = actions(&story);
    let containers: Vec<_> = seen
        .iter()
        .filter(|action| action.starts_with("container"))
        .map(String::as_str)
        .collect();
    assert_eq!(
        containers,
        [
            "container create",
            "container attach",
            "container start",
            "container die",
            "container destroy"
        ]
    );
    assert!(seen.contains(&"network connect".to_owned()), "{seen:?}");
    assert!(seen.contains(&"network disconnect".to_owned()), "{seen:?}");
    let die: Value = serde_json::from_str(
        out.lines()
            .find(|line| line.contains("story") && line.contains(r#""Action":"die""#))
            .unwrap(),
    )
    .unwrap();
    let attributes = &die["Actor"]["Attributes"];
    assert_eq!(attributes["exitCode"], "3");
    assert_eq!(attributes["image"], "busybox");
    assert_eq!(attributes["name"], "story");
    assert_eq!(attributes["port"], "lamu");
    assert!(
        die["time"].is_i64() && die["timeNano"].is_i64() && die["scope"] == "local",
        "{die:#}"
    );
    // The past can be asked for.
    let past = host
        .sh(&format!("docker events --since {start} --until $(date +%s.%N) --format json -f container=story -f event=die"))
        .ok();
    assert_eq!(actions(&past), ["container die"]);
}

#[test]
fn stop_kill_and_exec_events() {
    let host = TestHost::start();
    host.sh("docker run -d --name cc --stop-signal KILL busybox sleep 1000")
        .ok();
    host.sh("docker exec cc true && docker pause cc && docker unpause cc && docker rename cc dd && docker stop dd").ok();
    let past = host
        .sh("docker events --since 1h --until $(date +%s.%N) --format '{{.Type}} {{.Action}}' -f type=container")
        .ok();
    for action in [
        "exec_create: true",
        "exec_start: true",
        "exec_die",
        "pause",
        "unpause",
        "rename",
        "kill",
        "stop",
        "die",
    ] {
        assert!(
            past.lines()
                .any(|line| line.trim_start_matches("container ").trim() == action),
            "{action} in {past}"
        );
    }
}

#[test]
fn image_events() {
    let host = TestHost::start();
    host.sh("docker tag busybox other:1 && docker rmi other:1")
        .ok();
    let past = host.sh("docker events --since 1h --until $(date +%s.%N) --format '{{.Action}} {{.ID}}' -f type=image").ok();
    assert!(past.contains("pull busybox:latest"), "{past}");
    assert!(past.lines().any(|line| line.starts_with("tag ")), "{past}");
    assert!(
        past.lines().any(|line| line.starts_with("untag ")),
        "{past}"
    );
}

#[test]
fn who_hears_of_a_change_and_looks_finds_it() {
    let host = TestHost::start();
    host.sh("docker create --name it busybox sh -c 'trap exit TERM; while :; do sleep 0.1; done'")
        .ok();
    for (action, command, state) in [
        ("start", "start it", "running"),
        ("pause", "pause it", "paused"),
        ("unpause", "unpause it", "running"),
        ("die", "kill it", "exited"),
        ("start", "start it", "running"),
        ("stop", "stop it", "exited"),
        ("destroy", "rm it", ""),
    ] {
        let of = format!("/events?filters=%7B%22event%22%3A%5B%22{action}%22%5D%7D");
        let mut events = Exchange::begin(&host.socket(), "GET", &of, None, PATIENCE).unwrap();
        // Subscribed when this is here.
        events.head().unwrap();
        let change = host.spawn(&format!("docker {command}"));
        events.begins_body().unwrap();
        // Not by a program, which takes longer to begin than a change to be made.
        let all = "/containers/json?all=1";
        let listed = request(&host.socket(), "GET", all, None, PATIENCE);
        let listed = listed.unwrap().json();
        assert_eq!(
            listed[0]["State"].as_str().unwrap_or(""),
            state,
            "on {action}: {listed:#}"
        );
        change.finish().ok();
    }
}
