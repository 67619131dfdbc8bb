//! Events that are kept: past a restart and a crash, in order, none twice and none missed.

use std::io::Write;

use dhow_tests::{HostOptions, TestHost, eventually};

/// The last segment of the journal.
fn journal(host: &TestHost) -> std::path::PathBuf {
    let dir = host.data_root().join("events");
    let segments = std::fs::read_dir(&dir).expect("the journal is there");
    let mut segments: Vec<_> = segments
        .map(|s| s.expect("it can be listed").path())
        .collect();
    segments.sort();
    segments.pop().expect("events were written")
}

fn text(host: &TestHost) -> String {
    std::fs::read_to_string(journal(host)).unwrap_or_default()
}

/// What a container's story is, from the beginning of the host on.
fn story(host: &TestHost, name: &str) -> Vec<String> {
    let out = host
        .sh(&format!(
            "docker events --since 1h --until $(date +%s.%N) -f container={name} -f type=container --format '{{{{.Action}}}}'"
        ))
        .ok();
    out.lines().map(str::to_owned).collect()
}

const STORY: [&str; 5] = ["create", "attach", "start", "die", "destroy"];

#[test]
fn history_reaches_past_restarts_and_crashes() {
    let mut host = TestHost::start();
    host.sh("docker run --rm --name first busybox true").ok();
    eventually("its end is on disk", || {
        text(&host)
            .lines()
            .any(|line| line.contains("first") && line.contains("destroy"))
            .then_some(())
    });
    host.kill_daemon();
    // As a crash of the machine may leave it.
    let mut torn = std::fs::File::options()
        .append(true)
        .open(journal(&host))
        .expect("it is there");
    torn.write_all(b"99 123 {\"Type\":\"contai")
        .expect("there is room");
    host.start_daemon();
    assert!(host.daemon_log().contains("was torn"));
    assert_eq!(story(&host, "first"), STORY);
    host.sh("docker run --rm --name second busybox true").ok();
    assert_eq!(host.stop_daemon(), Some(0));
    host.start_daemon();
    assert_eq!(story(&host, "first"), STORY);
    assert_eq!(story(&host, "second"), STORY);

    // From the disk to what is to come.
    let all = host.spawn("docker events --since 1h -f type=container --format '{{.Actor.Attributes.name}} {{.Action}}'");
    all.prints("second destroy");
    host.sh("docker run --rm --name third busybox true").ok();
    let told = all.prints("third destroy");
    let expected: Vec<String> = ["first", "second", "third"]
        .iter()
        .flat_map(|name| STORY.map(|action| format!("{name} {action}")))
        .collect();
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
    drop(all);

    // What is damaged is said to be missing.
    host.stop_daemon();
    let damaged: String = text(&host)
        .lines()
        .map(|line| {
            let gone = line.contains("second") && line.contains("\"die\"");
            if gone {
                "\0\n".to_owned()
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    std::fs::write(journal(&host), damaged).expect("it can be written");
    host.start_daemon();
    for client in ["docker", "dhow"] {
        let told = host
            .sh(&format!(
                "{client} events --since 1h --until $(date +%s.%N) -f container=second -f type=container"
            ))
            .ok();
        let lost = told.lines().find(|line| line.contains(" daemon lost "));
        assert!(lost.is_some_and(|line| line.contains("count=1")), "{told}");
        let lost = told.lines().position(|line| line.contains(" daemon lost "));
        let destroyed = told
            .lines()
            .position(|line| line.contains("container destroy"));
        assert!(lost < destroyed, "{told}");
    }
}

#[test]
fn times_and_filters_are_read_as_docker_reads_them() {
    let host = TestHost::start();
    host.sh("docker create --name other -l tier=web -l zone=a busybox && docker rm other")
        .ok();
    let count = |arguments: &str| {
        let line = format!("docker events {arguments} --format '{{{{.Type}}}} {{{{.Action}}}}'");
        host.sh(&line).ok().lines().count()
    };
    for since in [
        "--since 10m --until $(date +%s.%N)",
        "--since $(date -d '-1 minute' +%s) --until $(date +%s.%N)",
        "--since $(date -u -d '-1 minute' +%Y-%m-%dT%H:%M:%SZ) --until $(date +%s.%N)",
    ] {
        assert_eq!(count(&format!("{since} -f container=other")), 2, "{since}");
    }
    let past = "--since 10m --until $(date +%s.%N)";
    for (filters, expected) in [
        ("-f container=oth", 2),
        ("-f event=create -f container=other", 1),
        ("-f event=create -f event=destroy -f container=other", 2),
        ("-f label=tier=web", 2),
        ("-f label=tier=web -f label=zone=b", 0),
        ("-f label=zone -f type=container", 2),
        ("-f image=busybox -f type=container", 2),
        ("-f type=volume", 0),
        ("-f scope=swarm", 0),
        ("-f daemon=nobody", 0),
    ] {
        assert_eq!(count(&format!("{past} {filters}")), expected, "{filters}");
    }
    let bad = host.sh("docker events --since 10m --until 20m").fails(1);
    assert!(bad.contains("cannot be after `until` time"), "{bad}");
}

/// Events are written beside what is told of, and cost it nothing that can be seen.
#[test]
fn a_disk_that_is_full_of_events_keeps_running_containers() {
    let host = TestHost::with(HostOptions {
        disk_mib: Some(64),
        ..HostOptions::default()
    });
    host.sh("docker run -d --name web busybox sleep 1000").ok();
    let fill = host.data_root().join("fill");
    host.sh(&format!(
        "dd if=/dev/zero of={} bs=1M 2>/dev/null; true",
        fill.display()
    ))
    .ok();
    host.sh("docker exec web true && docker exec web true").ok();
    std::fs::remove_file(&fill).expect("it is there");
    host.sh("docker exec web true").ok();
    host.sh("docker rm -f web").ok();
    let told = story(&host, "web");
    assert_eq!(told.last().map(String::as_str), Some("destroy"), "{told:?}");
}
