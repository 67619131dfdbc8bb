//! A spawner that ends is replaced, and takes nothing with it.

use std::time::Duration;

use dhow_runtime::Target;
use tokio::runtime::Runtime;

use crate::host::*;
use crate::survival::children;

pub const TESTS: &[crate::Test] = &[
    ("spawner::another_takes_its_place", another_takes_its_place),
    (
        "spawner::starts_while_it_is_killed_over_and_over",
        starts_while_it_is_killed_over_and_over,
    ),
];

const PATIENCE: Duration = Duration::from_secs(20);

/// The spawners of this process; one at most, but for an instant.
fn spawners() -> Vec<u32> {
    children(std::process::id())
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// The one spawner, once it is another than before and has come to its work.
async fn another_than(before: u32) -> u32 {
    let found = async {
        loop {
            if let [pid] = spawners()[..]
                && pid != before
                && title(pid) == "dhow spawner"
            {
                return pid;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(pid) => pid,
        Err(_) => panic!("no other spawner than {before}: {:?}", spawners()),
    }
}

fn title(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).trim_end_matches('\0').into()
}

/// What a spawner has in common with the one that was forked: names, session, descriptors.
fn traits(pid: u32) -> (String, String, Vec<(String, String)>, bool) {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    let stat = read("stat");
    let after = stat.rsplit(") ").next().unwrap();
    let session = after.split(' ').nth(3).unwrap().to_owned();
    let mut descriptors: Vec<_> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten()
        .map(|entry| {
            let target = std::fs::read_link(entry.path()).unwrap();
            let target = target.to_string_lossy().into_owned();
            // A socket's number is its own.
            let kind = target.split(':').next().unwrap().to_owned();
            (entry.file_name().to_string_lossy().into_owned(), kind)
        })
        .collect();
    descriptors.sort();
    let descriptors = descriptors
        .into_iter()
        .map(|(number, kind)| match kind.as_str() {
            "socket" => ("n".to_owned(), kind),
            _ => (number, kind),
        })
        .collect();
    let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    (
        read("comm"),
        directory.to_string_lossy().into_owned(),
        descriptors,
        session == pid.to_string(),
    )
}

fn another_takes_its_place(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let [first] = spawners()[..] else {
            panic!("the spawners are {:?}", spawners())
        };
        // What has forked a shim has taken itself out of this process's affairs.
        let before = host.container(&["sleep", "1000"]).start().await.unwrap();
        // Nor is it in the middle of forking the next.
        while host.spawner.prepares() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let traits_before = traits(first);
        kill(first);
        // Noticed without a start.
        let second = another_than(first).await;
        let traits_now = async {
            while traits(second) != traits_before {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, traits_now).await.is_err() {
            assert_eq!(traits(second), traits_before);
        }
        assert_eq!(host.container(&["true"]).run().await.0, 0);
        // Starts that meet a dead one, together: each is answered, and there is one spawner.
        tokio::time::sleep(Duration::from_secs(1)).await;
        kill(second);
        let starts = (0..4).map(|_| host.container(&["true"]).run());
        for (code, ..) in join_all(starts).await {
            assert_eq!(code, 0);
        }
        let third = another_than(second).await;
        // The container that the first one had forked runs on, and is served.
        assert_eq!(before.exec("still", |_| {}).await.unwrap().0, 0);
        before.shim.signal(Target::Init, 9).await.unwrap();
        assert_eq!(before.exit().await.code, 137);
        before.shim.release().await.unwrap();
        assert_eq!(spawners(), [third]);
    });
}

async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

fn starts_while_it_is_killed_over_and_over(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        for round in 0..10u64 {
            let [pid] = spawners()[..] else {
                panic!("the spawners are {:?}", spawners())
            };
            let killer = async {
                // Before, during and after the fork.
                tokio::time::sleep(Duration::from_micros(round * 150)).await;
                kill(pid);
            };
            let (_, (code, ..)) = tokio::join!(killer, host.container(&["true"]).run());
            assert_eq!(code, 0);
            // One that has lived for an instant only is replaced by the next start.
            assert_eq!(host.container(&["true"]).run().await.0, 0);
            another_than(pid).await;
        }
    });
}
