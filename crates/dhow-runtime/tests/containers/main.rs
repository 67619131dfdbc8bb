//! Real containers of busybox, through the spawner. Needs root and /bin/busybox (Debian's busybox-static).

mod confinement;
mod exec;
mod host;
mod hostile;
mod life;
mod reach;
mod spawner;
mod stdio;
mod survival;

use std::process::{Command, ExitCode};

use host::Host;

type Test = (&'static str, fn(&Host, &tokio::runtime::Runtime));

/// The face of a spawner that is executed, see [`spawner`].
const SPAWNER: &str = "spawner-of-the-tests";

fn replacement() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(SPAWNER);
    command
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(SPAWNER) {
        return dhow_runtime::spawner_main();
    }
    if !rustix::process::getuid().is_root() {
        eprintln!("skipped: containers need root");
        return ExitCode::SUCCESS;
    }
    let spawner = dhow_runtime::fork_spawner().expect("fork the spawner");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let host = runtime.block_on(async {
        let spawner = spawner.into_handle_with(replacement);
        Host::new(spawner.expect("the spawner's handle"))
    });
    let mut failed = Vec::new();
    let all = [
        life::TESTS,
        stdio::TESTS,
        exec::TESTS,
        hostile::TESTS,
        confinement::TESTS,
        survival::TESTS,
        reach::TESTS,
        // The last: containers have another spawner from here on.
        spawner::TESTS,
    ];
    for (name, test) in all.concat() {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&host, &runtime))) {
            Ok(()) => println!("test {name} ... ok"),
            Err(_) => {
                println!("test {name} ... FAILED");
                failed.push(name);
            }
        }
    }
    // Above the containers' own; another run's may still be in it.
    if let Ok(group) = dhow_runtime::cgroup::Cgroup::open("/dhow-test")
        && group.pids().is_ok_and(|pids| pids.is_empty())
    {
        let _ = group.remove();
    }
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        println!("failed: {}", failed.join(", "));
        ExitCode::FAILURE
    }
}
