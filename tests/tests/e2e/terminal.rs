//! The stock client in a real terminal.

use dhow_tests::TestHost;

#[test]
fn a_shell_with_a_prompt_that_knows_its_size() {
    let host = TestHost::start();
    let terminal = host.terminal("docker run -it --rm busybox sh");
    terminal.shows_line("/ #");
    terminal.enter("tty; stty size");
    terminal.shows_line("/dev/pts/0");
    terminal.shows_line("30 100");
    terminal.resize(70, 20);
    // The new size reaches the container with a signal: it is asked until it is there.
    dhow_tests::eventually("the new size is there", || {
        terminal.enter("clear; stty size");
        std::thread::sleep(std::time::Duration::from_millis(200));
        terminal
            .screen()
            .lines()
            .any(|line| line.trim_end() == "20 70")
            .then_some(())
    });
    terminal.enter("exit 3");
    terminal.is_back_at_prompt();
    terminal.enter("echo code $?");
    terminal.shows_line("code 3");
}

#[test]
fn detach_and_attach() {
    let host = TestHost::start();
    let terminal = host.terminal("docker run -it --name shell busybox sh");
    terminal.shows_line("/ #");
    terminal.enter("x=kept");
    terminal.detach_with(["C-p", "C-q"]);
    assert_eq!(host.state("shell"), "running");
    terminal.enter("clear; docker attach shell");
    // The size is set anew at the attach, which makes the shell draw its prompt.
    terminal.enter("");
    terminal.shows_text("/ #");
    terminal.enter("echo is $x");
    terminal.shows_line("is kept");
    terminal.enter("exit");
    terminal.is_back_at_prompt();
    assert_eq!(host.state("shell"), "exited");
}

#[test]
fn detach_keys_of_ones_own() {
    let host = TestHost::start();
    let terminal = host.terminal("docker run -it --name shell --detach-keys ctrl-x,x busybox sh");
    terminal.shows_line("/ #");
    // The default ones are just typed then.
    terminal.enter("echo ready");
    terminal.shows_line("ready");
    terminal.detach_with(["C-x", "x"]);
    assert_eq!(host.state("shell"), "running");
}

#[test]
fn interrupt_reaches_the_foreground_process() {
    let host = TestHost::start();
    let terminal = host.terminal("docker run -it --rm busybox sh");
    terminal.shows_line("/ #");
    terminal.enter("sleep 1000");
    terminal.key("C-c");
    terminal.enter("echo interrupted $?");
    terminal.shows_line("interrupted 130");
    terminal.enter("exit");
    terminal.is_back_at_prompt();
}

#[test]
fn interrupt_of_a_run_without_a_terminal_is_passed_on() {
    let host = TestHost::start();
    let terminal = host.terminal("docker run --rm busybox sh -c 'trap \"echo bye; exit 0\" INT; echo up; while :; do sleep 0.1; done'");
    terminal.shows_line("up");
    terminal.key("C-c");
    terminal.shows_text("bye\n");
    terminal.is_back_at_prompt();
}

#[test]
fn exec_in_a_terminal() {
    let host = TestHost::start();
    host.sh("docker run -d --name box busybox sleep 10000").ok();
    let terminal = host.terminal("docker exec -it box sh");
    terminal.shows_line("/ #");
    terminal.enter("stty size; tty");
    terminal.shows_line("30 100");
    terminal.enter("exit 4");
    terminal.is_back_at_prompt();
    terminal.enter("echo code $?");
    terminal.shows_line("code 4");
}

#[test]
fn following_logs_can_be_interrupted() {
    let host = TestHost::start();
    host.sh("docker run -d --name ticking busybox sh -c 'i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.1; done'").ok();
    let terminal = host.terminal("docker logs -f ticking");
    terminal.shows_line("tick 5");
    terminal.key("C-c");
    terminal.is_back_at_prompt();
    assert_eq!(host.state("ticking"), "running");
}

#[test]
fn pulling_draws_a_line_for_each_layer() {
    let host = TestHost::empty();
    let terminal = host.terminal("docker pull busybox");
    terminal.shows_line("Using default tag: latest");
    terminal.shows_line("latest: Pulling from library/busybox");
    terminal.shows_text(": Pull complete");
    terminal.shows_text("Digest: sha256:");
    terminal.shows_line("Status: Downloaded newer image for busybox:latest");
    terminal.shows_line("docker.io/library/busybox:latest");
    terminal.is_back_at_prompt();
}
