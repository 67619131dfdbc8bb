//! Whether a shim answers, and what follows when it does not.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use dhow_runtime::{Reach, StartError, Target, end_shim, reach};
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;

use crate::host::*;

pub const TESTS: &[crate::Test] = &[
    ("reach::connected_and_ended", connected_and_ended),
    ("reach::a_shim_that_was_killed", a_shim_that_was_killed),
    ("reach::a_shim_that_is_stopped", a_shim_that_is_stopped),
    (
        "reach::a_command_that_the_shim_does_not_know",
        a_command_that_the_shim_does_not_know,
    ),
    (
        "reach::a_start_that_is_given_up_comes_to_nothing",
        a_start_that_is_given_up_comes_to_nothing,
    ),
    (
        "reach::a_start_whose_shim_is_killed_leaves_nothing",
        a_start_whose_shim_is_killed_leaves_nothing,
    ),
];

const PATIENCE: Duration = Duration::from_secs(20);

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

async fn connected(dir: &Path, id: &str) -> (dhow_runtime::Shim, dhow_runtime::Started) {
    match reach(dir, id).await.unwrap() {
        Reach::Connected(shim, started) => (shim, started),
        Reach::Starting => panic!("it is still starting"),
        Reach::Gone => panic!("its shim is gone"),
    }
}

fn connected_and_ended(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let running = host.container(&["sleep", "1000"]).start().await.unwrap();
        let pid = crate::hostile::shim_of(&running);
        assert_eq!(running.started.shim_pid, pid);
        assert_eq!(running.shim.pid(), Some(pid));
        let (shim, started) = connected(&running.runtime_dir, &running.id).await;
        assert_eq!(started, running.started);
        assert_eq!(shim.pid(), Some(pid));
        shim.signal(Target::Init, 9).await.unwrap();
        assert_eq!(running.exit().await.code, 137);
        running.shim.release().await.unwrap();
        assert!(matches!(
            reach(&running.runtime_dir, &running.id).await,
            Ok(Reach::Gone)
        ));
        // As good as done.
        end_shim(&running.runtime_dir, &running.id).unwrap();
    });
}

fn a_shim_that_was_killed(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let running = host.container(&["sleep", "1000"]).start().await.unwrap();
        let exec = exec_request("orphan", &["sleep", "1000"]);
        let exec = running.shim.exec(exec, None).await.unwrap();
        let mut exit = running.shim.exit();
        signal(running.started.shim_pid, Signal::KILL);
        let told = tokio::time::timeout(PATIENCE, exit.wait_for(Option::is_some));
        assert!(told.await.expect("the connection's end").is_err());
        assert!(matches!(
            reach(&running.runtime_dir, &running.id).await,
            Ok(Reach::Gone)
        ));
        // Nothing of the container has ended, and nothing is on record.
        let cgroup = running.cgroup();
        let pids = cgroup.pids().unwrap();
        assert!(pids.contains(&running.started.pid) && pids.contains(&exec.pid));
        assert_eq!(
            dhow_runtime::read_exit_record(&running.bundle).unwrap(),
            None
        );
        end_shim(&running.runtime_dir, &running.id).unwrap();
        cgroup.kill().unwrap();
        cgroup.remove().unwrap();
    });
}

fn a_shim_that_is_stopped(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let running = host.container(&["sleep", "1000"]).start().await.unwrap();
        signal(running.started.shim_pid, Signal::STOP);
        let calls = async {
            tokio::join!(
                running.shim.signal(Target::Init, 0),
                reach(&running.runtime_dir, &running.id)
            )
        };
        let (signalled, reached) = tokio::time::timeout(PATIENCE, calls).await.unwrap();
        assert_eq!(signalled.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(reached.err().unwrap().kind(), ErrorKind::TimedOut);
        let (dir, id) = (running.runtime_dir.clone(), running.id.clone());
        tokio::task::spawn_blocking(move || end_shim(&dir, &id))
            .await
            .unwrap()
            .unwrap();
        assert!(matches!(
            reach(&running.runtime_dir, &running.id).await,
            Ok(Reach::Gone)
        ));
        let cgroup = running.cgroup();
        assert!(cgroup.pids().unwrap().contains(&running.started.pid));
        cgroup.kill().unwrap();
        cgroup.remove().unwrap();
    });
}

/// As a newer daemon might ask it.
fn a_command_that_the_shim_does_not_know(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let running = host.container(&["sleep", "1000"]).start().await.unwrap();
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            None,
        )
        .unwrap();
        rustix::net::sockopt::set_socket_timeout(
            &socket,
            rustix::net::sockopt::Timeout::Recv,
            Some(PATIENCE),
        )
        .unwrap();
        // Addresses are bounded to 107 bytes.
        let directory = std::fs::File::open(&running.runtime_dir).unwrap();
        let path = format!(
            "/proc/self/fd/{}/{}.sock",
            std::os::fd::AsRawFd::as_raw_fd(&directory),
            running.id
        );
        let address = rustix::net::SocketAddrUnix::new(path).unwrap();
        rustix::net::connect(&socket, &address).unwrap();
        let json = br#"{"number":77,"command":{"Checkpoint":{"to":"/somewhere"}}}"#;
        let mut datagram = Vec::new();
        for word in [1, 0, json.len() as u32, 0] {
            datagram.extend_from_slice(&word.to_le_bytes());
        }
        datagram.extend_from_slice(json);
        rustix::net::send(&socket, &datagram, rustix::net::SendFlags::empty()).unwrap();
        let mut answer = vec![0; 4096];
        let flags = rustix::net::RecvFlags::empty();
        let (length, _) = rustix::net::recv(&socket, &mut answer, flags).unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer[16..length]).unwrap();
        assert_eq!(answer["Reply"]["number"], 77);
        assert_eq!(answer["Reply"]["result"]["Err"]["Os"], libc::ENOSYS);
        running.shim.signal(Target::Init, 9).await.unwrap();
        running.exit().await;
        running.shim.release().await.unwrap();
    });
}

/// Shims, and what they have cloned, of a container.
fn processes_of(id: &str) -> Vec<u32> {
    let title = format!("dhow shim {id}");
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.starts_with(title.as_bytes()))
        })
        .collect()
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        panic!("{what} did not happen");
    }
}

/// The log is a pipe that nobody reads: its shim does not get past opening it.
fn a_start_that_is_given_up_comes_to_nothing(host: &Host, runtime: &Runtime) {
    // Its connection is to be a new one.
    crate::survival::at_rest(host, runtime);
    runtime.block_on(async {
        // Those of earlier tests may still be closing.
        let descriptors = || crate::hostile::descriptors(std::process::id());
        let before = descriptors();
        let container = host.container(&["touch", "/ran"]);
        let (id, bundle) = (
            container.request.id.clone(),
            container.request.bundle.clone(),
        );
        let log = bundle.join("log.json");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &log, mode).unwrap();
        let mut start = Box::pin(container.start());
        let two = || processes_of(&id).len() == 2;
        tokio::select! {
            _ = &mut start => panic!("it has a log that can't be opened"),
            () = until("the shim and its init", two) => {}
        }
        let own: Vec<String> = descriptors().difference(&before).cloned().collect();
        assert!(!own.is_empty());
        drop(start);
        until("the end of the connection", || {
            let now = descriptors();
            !own.iter().any(|descriptor| now.contains(descriptor))
        })
        .await;
        let reader = tokio::task::spawn_blocking(move || std::fs::File::open(&log).unwrap());
        until("the end of the shim", || processes_of(&id).is_empty()).await;
        drop(reader.await.unwrap());
        assert!(!bundle.join("upper/ran").exists());
        let socket = bundle.parent().unwrap().join(format!("run/{id}.sock"));
        assert!(!socket.exists());
        let cgroup = dhow_runtime::cgroup::Cgroup::open(&format!("/dhow-test/{id}")).unwrap();
        assert!(
            !cgroup
                .directory_of("pids")
                .is_some_and(|group| group.exists())
        );
    });
}

/// Killed at other instants of the start in each round.
fn a_start_whose_shim_is_killed_leaves_nothing(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        for round in 0..10u64 {
            let container = host.container(&["sleep", "1000"]);
            let (id, bundle) = (
                container.request.id.clone(),
                container.request.bundle.clone(),
            );
            let killer = async {
                tokio::time::sleep(Duration::from_micros(round * 400)).await;
                let (dir, id) = (bundle.parent().unwrap().join("run"), id.clone());
                tokio::task::spawn_blocking(move || end_shim(&dir, &id))
                    .await
                    .unwrap()
            };
            let (killed, started) = tokio::join!(killer, container.start());
            killed.unwrap();
            let cgroup = dhow_runtime::cgroup::Cgroup::open(&format!("/dhow-test/{id}")).unwrap();
            match started {
                Err(StartError::Other(message)) => {
                    assert!(
                        message.contains("ended before the container had started"),
                        "{message}"
                    );
                    assert!(cgroup.pids().unwrap().is_empty());
                }
                Err(other) => panic!("{other:?}"),
                // The shim was not there yet, or had answered already.
                Ok(running) => {
                    let _ = running.shim.signal(Target::Init, 9).await;
                    cgroup.kill().unwrap();
                    if let Ok(Reach::Connected(shim, _)) =
                        reach(&running.runtime_dir, &running.id).await
                    {
                        ended(shim.exit()).await;
                        shim.release().await.unwrap();
                    }
                }
            }
            cgroup.remove().unwrap();
        }
    });
}
