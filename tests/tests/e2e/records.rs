//! A record that can't be read is set aside and said: the daemon opens, and serves everyone else.

use dhow_tests::{Engine, TestHost, eventually};

fn host() -> Option<TestHost> {
    let host = TestHost::start();
    (host.engine == Engine::Dhow).then_some(host)
}

/// Changes the store of a daemon that doesn't run.
#[track_caller]
fn damage(host: &TestHost, statement: &str) {
    let script = format!(
        "import sqlite3\nstore = sqlite3.connect('data/metadata.db')\nchanged = store.execute(\"{statement}\").rowcount\nstore.commit()\nassert changed == 1, changed\n"
    );
    std::fs::write(host.path("damage.py"), script).unwrap();
    host.sh("python3 damage.py").ok();
}

/// A line of the daemon's log, from here on, that names the record as one that something is wrong with.
#[track_caller]
fn says(host: &TestHost, log_before: usize, names: &[&str]) {
    let log = host.daemon_log();
    let since = &log[log_before..];
    assert!(
        since.lines().any(|line| {
            (line.contains(" WARN ") || line.contains(" ERROR "))
                && names.iter().any(|name| line.contains(name))
        }),
        "the daemon's log doesn't say that the record of {names:?} was set aside:\n{since}"
    );
}

/// The tear-down finds what a container that nobody knows has left: the test takes it away.
fn forget(host: &mut TestHost, id: &str) {
    host.stop_daemon();
    let _ = std::fs::remove_dir_all(host.data_root().join("containers").join(id));
    host.start_daemon();
}

fn damaged_container(column: &str, text: &str) {
    let Some(mut host) = host() else { return };
    host.sh("docker run --name broken busybox sh -c 'echo precious >/precious'")
        .ok();
    host.sh("docker run -d --name sound -p 8080:80 busybox sleep 1000 && docker create --name made busybox")
        .ok();
    let id = host.id("broken");
    let sound = host.inspect("sound")["State"]["Pid"].clone();
    host.stop_daemon();
    damage(
        &host,
        &format!("UPDATE engine_containers SET {column} = '{text}' WHERE name = 'broken'"),
    );
    let log = host.daemon_log().len();
    host.start_daemon();
    says(&host, log, &["broken", &id[..12]]);
    // The others are what they were.
    assert_eq!(host.inspect("sound")["State"]["Pid"], sound);
    assert_eq!(host.sh("docker exec sound echo hi").ok(), "hi");
    assert_eq!(host.state("made"), "created");
    host.sh("docker run --rm busybox true").ok();
    // What the user has in it is not thrown away for a letter in a record.
    assert!(
        contains_file(&host.data_root(), "precious"),
        "the container's files are gone"
    );
    // A further start finds it as it was left.
    host.kill_daemon();
    host.start_daemon();
    assert_eq!(host.sh("docker exec sound echo hi").ok(), "hi");
    assert!(contains_file(&host.data_root(), "precious"));
    forget(&mut host, &id);
}

fn contains_file(dir: &std::path::Path, name: &str) -> bool {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| {
            let below = entry.file_type().is_ok_and(|kind| kind.is_dir());
            entry.file_name() == name || below && contains_file(&entry.path(), name)
        })
}

#[test]
fn a_container_whose_definition_is_no_json() {
    damaged_container("definition", "{\\\"config\\\": ");
}

#[test]
fn a_container_whose_definition_is_another_thing() {
    damaged_container("definition", "{\\\"later\\\": true}");
}

#[test]
fn a_container_whose_state_is_unknown() {
    damaged_container("life", "{\\\"state\\\": \\\"adrift\\\"}");
}

#[test]
fn a_volume_whose_record_can_not_be_read() {
    let Some(mut host) = host() else { return };
    host.sh("docker run --rm -v torn:/data -v whole:/other busybox sh -c 'echo precious >/data/precious; echo x >/other/x'")
        .ok();
    host.stop_daemon();
    damage(
        &host,
        "UPDATE engine_volumes SET record = '{' WHERE name = 'torn'",
    );
    let log = host.daemon_log().len();
    host.start_daemon();
    says(&host, log, &["torn"]);
    assert_eq!(
        host.sh("docker run --rm -v whole:/other busybox cat /other/x")
            .ok(),
        "x"
    );
    assert!(
        contains_file(&host.data_root(), "precious"),
        "the volume's files are gone"
    );
    host.sh("docker volume prune -a -f").ok();
    assert!(
        contains_file(&host.data_root(), "precious"),
        "the volume's files went with those that nobody uses"
    );
}

#[test]
fn a_running_container_whose_record_can_not_be_read_is_not_ended() {
    let Some(mut host) = host() else { return };
    host.sh("docker run -d --name broken busybox sleep 1000")
        .ok();
    host.sh("docker run -d --name sound busybox sleep 1000")
        .ok();
    let (id, init) = (host.id("broken"), host.init("broken"));
    host.stop_daemon();
    damage(
        &host,
        "UPDATE engine_containers SET definition = '{' WHERE name = 'broken'",
    );
    host.start_daemon();
    assert_eq!(host.sh("docker exec sound echo hi").ok(), "hi");
    assert!(!init.has_ended(), "its process was ended");
    init.kill();
    eventually("nothing of it runs", || {
        dhow_tests::processes::members(&id).is_empty().then_some(())
    });
    forget(&mut host, &id);
}
