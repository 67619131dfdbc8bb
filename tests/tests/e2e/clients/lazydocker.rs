//! lazydocker, in a terminal: it shows lists, logs, figures and settings, and acts on what is chosen.

use dhow_tests::{TestHost, eventually};

#[test]
fn shows_and_stops_a_container() {
    let host = TestHost::start();
    host.sh("docker run -d --name speaker --label a=b busybox sh -c 'trap exit TERM; echo said; while :; do sleep 0.1; done'")
        .ok();
    let terminal = host.terminal("lazydocker");
    let screen = terminal.shows("the containers and the logs", |screen| {
        screen.contains("running") && screen.lines().any(|line| line.contains("│said "))
    });
    for shown in ["speaker", "busybox", "latest", "bridge"] {
        assert!(screen.contains(shown), "{screen}");
    }
    // From one tab to the next.
    terminal.key("]");
    terminal.shows_text("CPU (%):");
    terminal.key("]");
    terminal.shows_text("PATH:");
    terminal.key("]");
    terminal.shows_text("a: b");
    terminal.key("]");
    terminal.shows_text("STIME");
    // What asks first.
    terminal.key("s");
    terminal.shows_text("Are you sure");
    terminal.key("Enter");
    eventually("it has been stopped", || {
        (host.state("speaker") == "exited").then_some(())
    });
    terminal.shows_text("exited");
    terminal.key("r");
    eventually("it runs again", || {
        (host.state("speaker") == "running").then_some(())
    });
    terminal.shows_text("running");
    terminal.key("q");
    terminal.is_back_at_prompt();
}
