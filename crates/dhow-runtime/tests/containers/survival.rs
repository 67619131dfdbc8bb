//! What outlives the daemon, and what is left behind: nothing.

use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use dhow_runtime::{Shim, Target};
use tokio::runtime::Runtime;

use crate::host::*;

pub const TESTS: &[crate::Test] = &[
    (
        "survival::a_container_goes_on_without_a_daemon",
        a_container_goes_on_without_a_daemon,
    ),
    (
        "survival::an_exit_without_a_daemon_is_on_record",
        an_exit_without_a_daemon_is_on_record,
    ),
    (
        "survival::what_the_shim_keeps_open",
        what_the_shim_keeps_open,
    ),
    ("survival::the_built_in_init", the_built_in_init),
    ("survival::host_pid_namespace", host_pid_namespace),
    ("survival::pause_and_resume", pause_and_resume),
    ("survival::nothing_is_left", nothing_is_left),
    (
        "survival::a_failed_start_leaves_nothing",
        a_failed_start_leaves_nothing,
    ),
];

fn a_container_goes_on_without_a_daemon(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let running = host
            .container(&[
                "sh",
                "-c",
                "n=0; while [ $n -lt 200 ]; do echo line $n; n=$((n+1)); sleep 0.005; done; exit 5",
            ])
            .start()
            .await
            .unwrap();
        let exec = running
            .shim
            .exec(
                exec_request("gone", &["sh", "-c", "sleep 0.3; exit 6"]),
                None,
            )
            .await
            .unwrap();
        let (dir, id, bundle, started) = (
            running.runtime_dir.clone(),
            running.id.clone(),
            running.bundle.clone(),
            running.started.clone(),
        );
        drop(running.shim);
        let (shim, again) = Shim::connect(&dir, &id).await.unwrap();
        assert_eq!(again.unwrap().pid, started.pid);
        assert!(exec.pid > 0);
        assert_eq!(ended(shim.exec_exit("gone")).await.code, 6);
        let (ours, theirs) = UnixStream::pair().unwrap();
        shim.attach(Target::Init, OUTPUT, theirs.into())
            .await
            .unwrap();
        let record = ended(shim.exit()).await;
        assert_eq!(record.code, 5);
        assert!(frames(ours).0.ends_with("line 199\n"));
        let text = std::fs::read_to_string(bundle.join("log.json")).unwrap();
        assert_eq!(text.lines().count(), 200);
        assert_eq!(
            dhow_runtime::read_exit_record(&bundle).unwrap(),
            Some(record)
        );
        shim.release().await.unwrap();
    });
}

fn an_exit_without_a_daemon_is_on_record(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let mut container = host.container(&["sh", "-c", "echo last words; exit 12"]);
        container.request.sync_exit = true;
        let running = container.start().await.unwrap();
        let (dir, id, bundle) = (
            running.runtime_dir.clone(),
            running.id.clone(),
            running.bundle.clone(),
        );
        drop(running.shim);
        let record = loop {
            if let Some(record) = dhow_runtime::read_exit_record(&bundle).unwrap() {
                break record;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        assert_eq!(record.code, 12);
        assert!(
            std::fs::read_to_string(bundle.join("log.json"))
                .unwrap()
                .contains("last words")
        );
        let error = loop {
            match Shim::connect(&dir, &id).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(2)).await,
                Err(error) => break error,
            }
        };
        assert!(
            matches!(
                error.raw_os_error(),
                Some(libc::ENOENT | libc::ECONNREFUSED | libc::ECONNRESET)
            ),
            "{error:?}"
        );
    });
}

fn what_the_shim_keeps_open(host: &Host, runtime: &Runtime) {
    // Datagrams that wait in a socket, and nobody but the shim has it.
    let socket = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        socket.send_to(b"waiting", address).unwrap();
        (OwnedFd::from(socket), address)
    };
    let receives = |fd: OwnedFd| {
        let socket = UdpSocket::from(fd);
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 16];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"waiting");
        from
    };
    runtime.block_on(async {
        let mut container = host.container(&["sleep", "1000"]);
        let (held, address) = socket();
        container.hold(held);
        let running = container.start().await.unwrap();
        let (dir, id) = (running.runtime_dir.clone(), running.id.clone());
        drop(running.shim);
        let (shim, _) = Shim::connect(&dir, &id).await.unwrap();
        assert_eq!(shim.held().await.unwrap().len(), 1);
        let mut held = shim.held().await.unwrap();
        assert_eq!(receives(held.pop().unwrap()), address);

        // More than one datagram carries, and then none.
        let (more, addresses): (Vec<_>, Vec<_>) = (0..300).map(|_| socket()).unzip();
        shim.hold(&more).await.unwrap();
        drop(more);
        let held = shim.held().await.unwrap();
        let received: Vec<_> = held.into_iter().map(receives).collect();
        assert_eq!(received, addresses);
        shim.hold(&[]).await.unwrap();
        assert!(shim.held().await.unwrap().is_empty());

        // The container's end lets go of them.
        let (held, address) = socket();
        shim.hold(&[held]).await.unwrap();
        let taken = UdpSocket::bind(address).unwrap_err();
        assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
        shim.signal(Target::Init, libc::SIGKILL).await.unwrap();
        assert_eq!(ended(shim.exit()).await.code, 137);
        UdpSocket::bind(address).unwrap();
        assert!(shim.held().await.unwrap().is_empty());
        shim.release().await.unwrap();
    });
}

fn the_built_in_init(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let mut container = host.container(&[
            "sh",
            "-c",
            "echo $$; (sleep 0.01 &); sleep 0.1; ps -o stat | grep -c Z; exit 4",
        ]);
        container.request.init = true;
        let (code, stdout, _) = container.run().await;
        // The orphan has been reaped.
        assert_eq!((code, stdout.as_str()), (4, "2\n0\n"));
        let mut container = host.container(&["sleep", "1000"]);
        container.request.init = true;
        let running = container.start().await.unwrap();
        running.shim.signal(Target::Init, 15).await.unwrap();
        assert_eq!(running.exit().await.code, 143);
        running.shim.release().await.unwrap();
        let mut container = host.container(&["nosuch"]);
        container.request.init = true;
        assert!(matches!(
            container.start().await.err(),
            Some(dhow_runtime::StartError::NotFound(_))
        ));
    });
}

fn host_pid_namespace(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let mut container = host.container(&["sh", "-c", "sleep 1000 & sleep 1000 & exit 3"]);
        container
            .linux()
            .namespaces_mut()
            .as_mut()
            .unwrap()
            .retain(|namespace| namespace.typ() != oci_spec::runtime::LinuxNamespaceType::Pid);
        let running = container.start().await.unwrap();
        let cgroup = running.cgroup();
        assert_eq!(running.exit().await.code, 3);
        assert!(cgroup.pids().unwrap().is_empty());
        running.shim.release().await.unwrap();
    });
}

fn pause_and_resume(host: &Host, runtime: &Runtime) {
    runtime.block_on(async {
        let running = host
            .container(&["sh", "-c", "while :; do echo x; sleep 0.01; done"])
            .start()
            .await
            .unwrap();
        let cgroup = running.cgroup();
        assert!(cgroup.pids().unwrap().contains(&running.started.pid));
        cgroup.freeze().unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let before = running.log().len();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(running.log().len(), before);
        cgroup.thaw().unwrap();
        while running.log().len() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        running.shim.signal(Target::Init, 9).await.unwrap();
        running.exit().await;
        running.shim.release().await.unwrap();
    });
}

#[derive(Debug, PartialEq)]
pub struct Count {
    mounts: usize,
    cgroups: usize,
    sockets: usize,
    shims: usize,
    descriptors: usize,
}

fn count(host: &Host) -> Count {
    // Of this run's containers.
    let own = format!("{:08x}", std::process::id());
    let entries = |path: &Path| {
        let all = std::fs::read_dir(path).into_iter().flatten().flatten();
        all.filter(|entry| entry.file_name().to_string_lossy().starts_with(&own))
            .count()
    };
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    let cgroups = hierarchies
        .map(|entry| entries(&entry.path().join("dhow-test")))
        .sum::<usize>()
        + entries(Path::new("/sys/fs/cgroup/dhow-test"));
    // The spawner's children: those of this test's own spawner.
    let spawner = children(std::process::id());
    let shims = spawner.iter().map(|pid| children(*pid).len()).sum();
    Count {
        mounts: std::fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .lines()
            .filter(|line| line.contains(&*host.dir.path().to_string_lossy()))
            .count(),
        cgroups,
        sockets: std::fs::read_dir(host.dir.path().join("run")).map_or(0, Iterator::count),
        shims,
        descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count(),
    }
}

pub fn children(of: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{of}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(
            text.split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    found
}

/// Ends of processes and sockets come a moment after the answer: waits for them, without a bound of its own.
fn settled(host: &Host, runtime: &Runtime, expected: &Count) {
    for _ in 0..2000 {
        if count(host) == *expected {
            return;
        }
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(5)).await });
    }
    assert_eq!(count(host), *expected);
}

/// What there is when nothing runs, and no shim waits for the next start any more.
pub fn at_rest(host: &Host, runtime: &Runtime) -> Count {
    let nothing = |count: &Count| {
        let Count {
            mounts,
            cgroups,
            sockets,
            shims,
            ..
        } = *count;
        mounts + cgroups + sockets + shims == 0
    };
    for _ in 0..6000 {
        // A spare shim is forked a moment after a start, and so perhaps after the container's end.
        let prepares = host.spawner.prepares();
        let count = count(host);
        if !prepares && nothing(&count) {
            return count;
        }
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(5)).await });
    }
    panic!("something is left: {:?}", count(host));
}

fn nothing_is_left(host: &Host, runtime: &Runtime) {
    runtime.block_on(host.container(&["true"]).run());
    let before = at_rest(host, runtime);
    for _ in 0..50 {
        assert_eq!(runtime.block_on(host.container(&["true"]).run()).0, 0);
    }
    settled(host, runtime, &before);
}

fn a_failed_start_leaves_nothing(host: &Host, runtime: &Runtime) {
    let before = at_rest(host, runtime);
    for _ in 0..10 {
        assert!(
            runtime
                .block_on(host.container(&["nosuch"]).start())
                .is_err()
        );
        let mut container = host.container(&["true"]);
        container.mount(mount("nosuchfs", "none", "/x", &[]));
        assert!(runtime.block_on(container.start()).is_err());
    }
    settled(host, runtime, &before);
}
