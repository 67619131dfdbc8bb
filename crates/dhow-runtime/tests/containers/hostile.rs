//! What a container does to the processes that come into it must not hold up its shim.

use std::collections::HashSet;
use std::time::Duration;

use dhow_runtime::{StartError, Target};
use tokio::runtime::Runtime;

use crate::host::*;

pub const TESTS: &[crate::Test] = &[
    (
        "hostile::execs_that_are_stopped_on_their_way",
        execs_that_are_stopped_on_their_way,
    ),
    (
        "hostile::an_exec_into_a_frozen_container",
        an_exec_into_a_frozen_container,
    ),
    (
        "hostile::an_exec_that_is_killed_on_its_way",
        an_exec_that_is_killed_on_its_way,
    ),
    (
        "hostile::what_is_asked_of_an_exec_on_its_way",
        what_is_asked_of_an_exec_on_its_way,
    ),
];

/// For a test to wait for what must come; a shim answers in less than a millisecond.
const PATIENCE: Duration = Duration::from_secs(20);

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("{what} did not happen"),
    }
}

/// Children of a process that do not run their program yet: they look like a shim.
fn on_their_way(shim: u32) -> Vec<u32> {
    let children = crate::survival::children(shim);
    let looks_like_shim = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|name| name.trim() == "dhow-shim")
    };
    children.into_iter().filter(looks_like_shim).collect()
}

/// Waits until the shim has as many children on their way.
async fn until_on_their_way(shim: u32, count: usize) {
    in_time("as many execs on their way", async {
        while on_their_way(shim).len() != count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Nobody but its own container, which does not, lets it go on again.
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let (_, state) = stat.rsplit_once(") ").unwrap_or_default();
    state.starts_with('T')
}

pub fn shim_of(running: &Running) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.started.pid)).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t"));
    parent.unwrap().parse().unwrap()
}

pub fn descriptors(pid: u32) -> HashSet<String> {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .collect()
}

fn execs_that_are_stopped_on_their_way(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let running = host
            .container(&["sh", "-c", "echo begun; while :; do kill -STOP -1; done"])
            .start()
            .await
            .unwrap();
        in_time("the loop", async {
            while running.log().is_empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        let shim = shim_of(&running);
        let mut execs = tokio::task::JoinSet::new();
        for number in 0..40 {
            let shim = running.shim.clone();
            let request = exec_request(&format!("stopped-{number}"), &["true"]);
            execs.spawn(async move { shim.exec(request, None).await });
            // Served all the while.
            in_time(
                "an answer to a signal",
                running.shim.signal(Target::Init, 0),
            )
            .await
            .unwrap();
        }
        // One may have slipped through.
        in_time("an exec that is stopped", async {
            while !on_their_way(shim).into_iter().any(is_stopped) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        assert!(on_their_way(shim).len() <= 16);
        in_time(
            "an answer to a signal",
            running.shim.signal(Target::Init, libc::SIGKILL),
        )
        .await
        .unwrap();
        assert_eq!(in_time("the end", running.exit()).await.code, 137);
        // The one that was seen may have been a program by then: how many have failed is not said.
        while let Some(result) = in_time("an answer to each exec", execs.join_next()).await {
            if let Err(error) = result.unwrap() {
                assert!(matches!(&error, StartError::Other(_)), "{error:?}");
            }
        }
        running.shim.release().await.unwrap();
    });
}

/// Takes as long as a launch may.
fn an_exec_into_a_frozen_container(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let running = host.container(&["sleep", "1000"]).start().await.unwrap();
        let shim = shim_of(&running);
        running.exec("first", |_| {}).await.unwrap();
        let before = descriptors(shim);
        let cgroup = running.cgroup();
        cgroup.freeze().unwrap();
        let mut execs = tokio::task::JoinSet::new();
        for number in 0..3 {
            let shim = running.shim.clone();
            let request = exec_request(&format!("frozen-{number}"), &["true"]);
            execs.spawn(async move { shim.exec(request, None).await });
        }
        until_on_their_way(shim, 3).await;
        // Its client may go away; the shim ends it all the same.
        let gone = tokio::time::timeout(
            Duration::from_millis(50),
            running.shim.exec(exec_request("gone", &["true"]), None),
        );
        assert!(gone.await.is_err());
        until_on_their_way(shim, 4).await;
        let begun = std::time::Instant::now();
        tokio::time::timeout(Duration::from_secs(60), async {
            while let Some(result) = execs.join_next().await {
                match result.unwrap() {
                    Err(StartError::Other(message)) => assert!(
                        message.contains("did not come to its program within 15 seconds"),
                        "{message}"
                    ),
                    other => panic!("{other:?}"),
                }
            }
        })
        .await
        .expect("the execs' time is up");
        assert!(begun.elapsed() > Duration::from_secs(10));
        in_time("an answer", running.shim.signal(Target::Init, 0))
            .await
            .unwrap();
        cgroup.thaw().unwrap();
        until_on_their_way(shim, 0).await;
        // The names are free, and nothing is left of them.
        assert_eq!(running.exec("frozen-0", |_| {}).await.unwrap().0, 0);
        in_time("the shim's descriptors of before", async {
            while descriptors(shim) != before {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        running.shim.signal(Target::Init, 9).await.unwrap();
        running.exit().await;
        running.shim.release().await.unwrap();
    });
}

fn an_exec_that_is_killed_on_its_way(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let running = host.container(&["sleep", "1000"]).start().await.unwrap();
        let shim = shim_of(&running);
        let cgroup = running.cgroup();
        cgroup.freeze().unwrap();
        let handle = running.shim.clone();
        let exec =
            tokio::spawn(async move { handle.exec(exec_request("killed", &["true"]), None).await });
        until_on_their_way(shim, 1).await;
        let killed = Target::Exec("killed".into());
        in_time("an answer", running.shim.signal(killed, libc::SIGKILL))
            .await
            .unwrap();
        // A frozen process ends as soon as it thaws, at the latest.
        cgroup.thaw().unwrap();
        match in_time("the exec's answer", exec).await.unwrap() {
            Err(StartError::Other(message)) => assert!(
                message.starts_with("the process was killed before it could start the program"),
                "{message}"
            ),
            other => panic!("{other:?}"),
        }
        // The end of the container is the end of what is on its way.
        cgroup.freeze().unwrap();
        let handle = running.shim.clone();
        let exec =
            tokio::spawn(async move { handle.exec(exec_request("late", &["true"]), None).await });
        until_on_their_way(shim, 1).await;
        running.shim.signal(Target::Init, 9).await.unwrap();
        cgroup.thaw().unwrap();
        assert_eq!(in_time("the end", running.exit()).await.code, 137);
        // It may have come to its program in between.
        let _ = in_time("the exec's answer", exec).await.unwrap();
        running.shim.release().await.unwrap();
    });
}

fn what_is_asked_of_an_exec_on_its_way(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let running = host.container(&["sleep", "1000"]).start().await.unwrap();
        let cgroup = running.cgroup();
        cgroup.freeze().unwrap();
        let mut request = exec_request("tty", &["sh", "-c", "stty size; exec sleep 1000"]);
        request.process.set_terminal(Some(true));
        request.tty_size = Some((24, 80));
        request.open_stdin = true;
        let handle = running.shim.clone();
        let exec = tokio::spawn(async move { handle.exec(request, None).await });
        let tty = || Target::Exec("tty".into());
        until_on_their_way(shim_of(&running), 1).await;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        running
            .shim
            .attach(tty(), OUTPUT, theirs.into())
            .await
            .unwrap();
        running.shim.resize(tty(), 33, 99).await.unwrap();
        // A second of the same name is none.
        let again = running.shim.exec(exec_request("tty", &["true"]), None).await;
        assert!(
            matches!(again, Err(StartError::Other(message)) if message == "the exec tty exists already")
        );
        cgroup.thaw().unwrap();
        in_time("the exec's answer", exec).await.unwrap().unwrap();
        // Whether before or after the program asked for it.
        let size = tokio::task::spawn_blocking(move || {
            use std::io::Read;
            let mut seen = [0; 7];
            let mut ours = ours;
            ours.read_exact(&mut seen).unwrap();
            String::from_utf8_lossy(&seen).into_owned()
        });
        let size = in_time("the terminal's size", size).await.unwrap();
        assert!(size == "33 99\r\n" || size == "24 80\r\n", "{size:?}");
        running.shim.signal(tty(), libc::SIGKILL).await.unwrap();
        assert_eq!(ended(running.shim.exec_exit("tty")).await.code, 137);
        running.shim.signal(Target::Init, 9).await.unwrap();
        running.exit().await;
        running.shim.release().await.unwrap();
    });
}
