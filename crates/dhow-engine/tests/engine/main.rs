//! The engine against the real kernel: containers of busybox in a network namespace of the test's own.
//!
//! It has its own `main` because the spawner is forked before there is any thread, and because everything
//! happens in one namespace. Tests are chosen by a part of their name, as elsewhere; they need root.

mod containers;
mod execs;
mod failures;
mod images;
mod load;
mod recovery;
mod streams;
mod volumes;
mod world;

use std::process::ExitCode;

use world::World;

macro_rules! tests {
    ($($module:ident :: $name:ident),* $(,)?) => {
        &[$((concat!(stringify!($module), "::", stringify!($name)), |w| Box::pin($module::$name(w)))),*]
    };
}

const TESTS: &[(&str, world::Test)] = tests![
    containers::a_run_has_its_output_and_its_exit_code,
    containers::exit_codes_and_states,
    containers::stop_kill_and_their_events,
    containers::remove_rules,
    containers::auto_remove_resolves_with_the_exit_code,
    containers::restart_policies,
    containers::pause_and_unpause,
    containers::names_and_prefixes,
    containers::networks_and_ports,
    containers::confinement_is_dockers,
    containers::list_and_inspect,
    execs::exec_has_output_exit_code_and_environment,
    execs::exec_errors,
    failures::a_start_that_fails_leaves_nothing,
    failures::creation_errors,
    streams::attach_before_the_start,
    streams::standard_input,
    streams::a_terminal,
    streams::logs_select_and_follow,
    volumes::volumes_are_filled_and_shared,
    volumes::binds_and_tmpfs,
    recovery::running_containers_are_taken_over,
    recovery::an_end_without_a_daemon_is_not_missed,
    recovery::a_second_engine_is_refused,
    load::many_at_once_leave_nothing,
];

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    if std::env::args().any(|a| a == "--list") {
        for (name, _) in TESTS {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: these tests need root");
        return ExitCode::SUCCESS;
    }
    world::own_namespaces();
    let spawner = dhow_runtime::fork_spawner().expect("forking the spawner");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let failed = runtime.block_on(async move {
        let spawner = spawner.into_handle().expect("the spawner");
        let mut failed = 0;
        for (name, test) in TESTS {
            if !filters.is_empty() && !filters.iter().any(|f| name.contains(f.as_str())) {
                continue;
            }
            let world = World::new(spawner.clone()).await;
            let outcome = tokio::spawn(test(world.clone())).await;
            let outcome = match outcome {
                Ok(()) => {
                    world.clear().await;
                    world::assert_nothing_left(&world).await
                }
                Err(e) => {
                    world.clear().await;
                    Err(e.to_string())
                }
            };
            match outcome {
                Ok(()) => println!("test {name} ... ok"),
                Err(e) => {
                    println!("test {name} ... FAILED: {e}");
                    failed += 1;
                }
            }
        }
        failed
    });
    runtime.shutdown_background();
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        println!("{failed} failed");
        ExitCode::FAILURE
    }
}
