//! A new volume gets what the image has in its place: whole, whoever comes at the same time and whatever happens in
//! the middle.

use std::path::Path;
use std::time::Duration;

use dhow_tests::image::{self, Layer};
use dhow_tests::{Engine, TestHost, eventually};

const FILES: usize = 2000;

/// Counts the files, and one that has what it should have: the last that is copied, or nearly.
const COUNTS: &str = "sh -c 'ls /full | wc -l; cat /full/file*9 | wc -c'";
const COUNTED: &str = "2000\n1000";

fn host() -> TestHost {
    let host = TestHost::start();
    let mut layer = Layer::default();
    layer.directory("full", 0o755).unwrap();
    for i in 0..FILES {
        layer
            .file(&format!("full/file{i:04}"), 0o644, b"cargo")
            .unwrap();
    }
    host.push_image(&image::busybox_with(layer), "library/many:latest");
    host.sh("docker pull -q many").ok();
    host
}

/// Everything below the volumes' directory.
fn entries(dir: &Path) -> usize {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| {
            let below = entry.file_type().is_ok_and(|kind| kind.is_dir());
            1 + if below { entries(&entry.path()) } else { 0 }
        })
        .sum()
}

/// No volume is left, and nothing that was to become one.
#[track_caller]
fn nothing_left(host: &TestHost) {
    host.sh("docker ps -aq | xargs -r docker rm -f >/dev/null; docker volume ls -q | xargs -r docker volume rm")
        .ok();
    let dir = host.data_root().join("volumes");
    let mut left = Vec::new();
    dhow_tests::within(Duration::from_secs(15), || {
        left = std::fs::read_dir(&dir)
            .into_iter()
            .flatten()
            .flatten()
            // A place for those in the making may be there, with nothing in it.
            .filter(|entry| entry.path().is_file() || entries(&entry.path()) > 0)
            .map(|entry| entry.path())
            .collect();
        left.is_empty().then_some(())
    });
    assert!(left.is_empty(), "left of the volumes: {left:?}");
}

#[test]
fn containers_that_are_made_at_once_all_see_a_new_volume_whole() {
    let host = host();
    for round in 0..3 {
        let runs: Vec<_> = (0..8)
            .map(|_| {
                host.spawn(&format!(
                    "dhow run --rm -v shared{round}:/full many {COUNTS}"
                ))
            })
            .collect();
        for run in runs {
            assert_eq!(run.finish().ok(), COUNTED, "round {round}");
        }
    }
    nothing_left(&host);
}

#[test]
fn a_crash_leaves_no_volume_half_full() {
    let mut host = host();
    if host.engine != Engine::Dhow {
        return;
    }
    let dir = host.data_root().join("volumes");
    for (round, files) in [1, 200, 1000, 1900].into_iter().enumerate() {
        let before = entries(&dir);
        let create = host.spawn(&format!("dhow create -v vol{round}:/full many"));
        // As soon as so many files are there, wherever they are made.
        let there = dhow_tests::within(Duration::from_secs(10), || {
            (entries(&dir) >= before + files).then_some(())
        });
        assert!(there.is_some(), "the volume isn't filled: {create:?}");
        host.kill_daemon();
        drop(create);
        host.start_daemon();
        assert_eq!(
            host.sh(&format!(
                "docker run --rm -v vol{round}:/full many {COUNTS}"
            ))
            .ok(),
            COUNTED,
            "after a crash at {files} files"
        );
    }
    nothing_left(&host);
}

#[test]
fn a_client_that_goes_away_leaves_no_volume_half_full() {
    let host = host();
    let dir = host.data_root().join("volumes");
    for round in 0..4 {
        let before = entries(&dir);
        let create = host.spawn(&format!("exec dhow create -v vol{round}:/full many"));
        eventually("it is being filled", || {
            (entries(&dir) > before + 10).then_some(())
        });
        create.signal(rustix::process::Signal::KILL);
        drop(create);
        assert_eq!(
            host.sh(&format!(
                "docker run --rm -v vol{round}:/full many {COUNTS}"
            ))
            .ok(),
            COUNTED
        );
    }
    nothing_left(&host);
}

#[test]
fn prune_takes_no_volume_of_a_container_that_is_being_made() {
    let host = host();
    std::fs::write(host.path("go"), "").unwrap();
    let prune =
        host.spawn("while test -e go; do dhow volume prune -a -f || exit 1; done; echo pruned");
    for i in 0..25 {
        let name = format!("user{i}");
        host.sh(&format!(
            "dhow create --name {name} -v vol{i}:/full many {COUNTS}"
        ))
        .ok();
        // One that is not new, and empty by the time.
        host.sh(&format!(
            "dhow create --name second{i} -v vol{i}:/again many ls /again"
        ))
        .ok();
        assert_eq!(
            host.sh(&format!("dhow start -a {name}")).ok(),
            COUNTED,
            "vol{i} was taken from its container"
        );
        assert_eq!(
            host.sh(&format!("dhow start -a second{i} | wc -l")).ok(),
            FILES.to_string(),
            "vol{i} was taken from its container"
        );
        host.sh(&format!("dhow rm {name} second{i}")).ok();
    }
    std::fs::remove_file(host.path("go")).unwrap();
    prune.prints("pruned");
    host.sh("docker volume prune -a -f").ok();
    assert_eq!(host.sh("docker volume ls -q").ok(), "");
    nothing_left(&host);
}

#[test]
fn prune_and_creates_on_one_name_get_along() {
    let host = host();
    std::fs::write(host.path("go"), "").unwrap();
    let prune =
        host.spawn("while test -e go; do dhow volume prune -a -f || exit 1; done; echo pruned");
    let runs: Vec<_> = (0..4)
        .map(|_| {
            host.spawn(&format!(
                "set -e; i=0; while [ $i -lt 8 ]; do i=$((i+1)); dhow run --rm -v shared:/full many {COUNTS}; done"
            ))
        })
        .collect();
    for run in runs {
        let run = run.finish().ok();
        assert_eq!(run, [COUNTED; 8].join("\n"));
    }
    std::fs::remove_file(host.path("go")).unwrap();
    prune.prints("pruned");
    nothing_left(&host);
}
