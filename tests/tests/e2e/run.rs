//! `docker run` with the stock client.

use dhow_tests::TestHost;

#[test]
fn run_on_an_empty_store_pulls_and_prints() {
    let host = TestHost::empty();
    let finished = host.sh("docker run --rm busybox echo hi");
    assert!(
        finished
            .stderr
            .contains("Unable to find image 'busybox:latest' locally"),
        "{finished:#?}"
    );
    assert!(
        finished
            .stderr
            .contains("Status: Downloaded newer image for busybox:latest"),
        "{finished:#?}"
    );
    assert_eq!(finished.ok(), "hi");
    assert_eq!(host.sh("docker ps -aq").ok(), "");
}

#[test]
fn exit_codes() {
    let host = TestHost::start();
    host.sh("docker run --rm busybox true").fails(0);
    host.sh("docker run --rm busybox sh -c 'exit 42'").fails(42);
    // Command not found, and found but not executable.
    let message = host.sh("docker run --rm busybox nosuchcommand").fails(127);
    assert!(
        message.contains(r#"exec: "nosuchcommand": executable file not found in $PATH"#),
        "{message}"
    );
    let message = host.sh("docker run --rm busybox /nosuchcommand").fails(127);
    assert!(message.contains("no such file or directory"), "{message}");
    let message = host.sh("docker run --rm busybox /etc/passwd").fails(126);
    assert!(message.contains("permission denied"), "{message}");
    let message = host.sh("docker run --rm busybox /etc").fails(126);
    assert!(
        message.contains("is a directory") || message.contains("permission denied"),
        "{message}"
    );
    host.sh("docker run --rm --no-such-flag busybox").fails(125);
    // None of them left a container.
    assert_eq!(host.sh("docker ps -aq").ok(), "");
}

#[test]
fn standard_streams_are_kept_apart() {
    let host = TestHost::start();
    let finished = host.sh("docker run --rm busybox sh -c 'echo out; echo err >&2'");
    assert_eq!(
        (finished.stdout.as_str(), finished.stderr.as_str()),
        ("out\n", "err\n")
    );
}

#[test]
fn standard_input_goes_in_to_its_end() {
    let host = TestHost::start();
    assert_eq!(
        host.sh("printf 'one\ntwo' | docker run --rm -i busybox cat")
            .ok(),
        "one\ntwo"
    );
    // Without -i there is none.
    assert_eq!(host.sh("echo hi | docker run --rm busybox cat").ok(), "");
    // Much more than any buffer on the way holds.
    let sum = host
        .sh("head -c 20000000 /dev/zero | docker run --rm -i busybox wc -c")
        .ok();
    assert_eq!(sum.trim(), "20000000");
}

#[test]
fn output_comes_out_whole() {
    let host = TestHost::start();
    let sum = host
        .sh("docker run --rm busybox seq 1 1000000 | md5sum")
        .ok();
    assert_eq!(sum, host.sh("seq 1 1000000 | md5sum").ok());
}

#[test]
fn environment() {
    let host = TestHost::start();
    std::fs::write(
        host.path("env"),
        "# a comment\nFROM_FILE=a b\nTAKEN_OVER\n\n",
    )
    .unwrap();
    let out = host
        .sh("TAKEN_OVER=yes docker run --rm -e ONE=1 -e EMPTY= --env-file env -e TAKEN_OVER busybox env")
        .ok();
    let lines: Vec<_> = out.lines().collect();
    for wanted in [
        "ONE=1",
        "EMPTY=",
        "FROM_FILE=a b",
        "TAKEN_OVER=yes",
        "HOME=/root",
    ] {
        assert!(lines.contains(&wanted), "{wanted} in {out}");
    }
    assert!(
        lines.contains(&"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        "{out}"
    );
    // The variables of the image can be overridden, and so can HOME.
    let out = host
        .sh("docker run --rm -e PATH=/bin -e HOME=/tmp busybox sh -c 'echo $PATH $HOME'")
        .ok();
    assert_eq!(out, "/bin /tmp");
    // A terminal names its kind.
    assert_eq!(
        host.sh("docker run --rm -t busybox sh -c 'echo $TERM'")
            .ok()
            .trim(),
        "xterm"
    );
}

#[test]
fn hostname_and_identity() {
    let host = TestHost::start();
    let id = host.sh("docker run -d --name plain busybox hostname").ok();
    host.wait("plain");
    assert_eq!(host.sh("docker logs plain").ok(), id[..12]);
    assert_eq!(
        host.sh("docker run --rm -h ship.example busybox hostname")
            .ok(),
        "ship.example"
    );
    let hosts = host
        .sh("docker run --rm -h ship --add-host port:10.1.2.3 busybox cat /etc/hosts")
        .ok();
    assert!(hosts.contains("127.0.0.1\tlocalhost"), "{hosts}");
    assert!(hosts.contains("10.1.2.3\tport"), "{hosts}");
    assert!(
        hosts.lines().any(|line| line.ends_with("\tship")),
        "{hosts}"
    );
}

#[test]
fn working_directory() {
    let host = TestHost::start();
    assert_eq!(host.sh("docker run --rm busybox pwd").ok(), "/");
    assert_eq!(host.sh("docker run --rm -w /etc busybox pwd").ok(), "/etc");
    // One that is missing is made.
    assert_eq!(
        host.sh("docker run --rm -w /made/here busybox pwd").ok(),
        "/made/here"
    );
    let message = host
        .sh("docker run --rm -w relative busybox pwd")
        .fails(125);
    assert!(
        message.contains(
            "the working directory 'relative' is invalid, it needs to be an absolute path"
        ),
        "{message}"
    );
}

#[test]
fn user() {
    let host = TestHost::start();
    let id = |user: &str| {
        host.sh(&format!("docker run --rm -u {user} busybox id"))
            .ok()
    };
    assert_eq!(id("www"), "uid=33(www) gid=33(www) groups=8(mail),33(www)");
    assert_eq!(id("33"), "uid=33(www) gid=33(www) groups=8(mail),33(www)");
    assert_eq!(id("www:mail"), "uid=33(www) gid=8(mail) groups=8(mail)");
    assert_eq!(id("1234:5678"), "uid=1234 gid=5678 groups=5678");
    assert_eq!(id("1234"), "uid=1234 gid=0(root) groups=0(root)");
    assert_eq!(
        host.sh("docker run --rm -u www busybox sh -c 'echo $HOME'")
            .ok(),
        "/var/www"
    );
    assert_eq!(
        id("www --group-add 77"),
        "uid=33(www) gid=33(www) groups=8(mail),33(www),77"
    );
    let message = host
        .sh("docker run --rm -u nobodyhere busybox id")
        .fails(125);
    assert!(
        message.contains("unable to find user nobodyhere: no matching entries in passwd file"),
        "{message}"
    );
}

#[test]
fn entrypoint() {
    let host = TestHost::start();
    assert_eq!(
        host.sh("docker run --rm --entrypoint echo busybox a b")
            .ok(),
        "a b"
    );
    // Another entrypoint drops the image's command.
    assert_eq!(
        host.sh("docker run --rm --entrypoint env busybox | head -c 4")
            .ok(),
        "PATH"
    );
    let message = host
        .sh("docker run --rm --entrypoint '' busybox")
        .fails(125);
    assert!(
        message.to_lowercase().contains("no command specified"),
        "{message}"
    );
}

#[test]
fn detached() {
    let host = TestHost::start();
    let id = host
        .sh("docker run -d --name worker --label port=lamu busybox sleep 1000")
        .ok();
    assert_eq!(id.len(), 64);
    assert_eq!(host.state("worker"), "running");
    assert_eq!(
        host.sh("docker ps -q --no-trunc --filter label=port=lamu")
            .ok(),
        id
    );
    assert_eq!(host.sh("docker rm -f worker").ok(), "worker");
}

#[test]
fn removed_on_exit() {
    let host = TestHost::start();
    host.sh("docker run -d --rm --name short busybox sleep 1000")
        .ok();
    host.sh("docker kill short").ok();
    dhow_tests::eventually("the container is gone", || {
        (host.sh("docker inspect short").code != 0).then_some(())
    });
}

#[test]
fn init_reaps_orphans_and_forwards_signals() {
    let host = TestHost::start();
    assert_ne!(
        host.sh("docker run --rm --init busybox sh -c 'echo $$'")
            .ok(),
        "1"
    );
    host.sh("docker run --rm --init busybox sh -c 'exit 7'")
        .fails(7);
    host.sh("docker run -d --init --name orphans busybox sh -c '(sleep 0.1 & ) ; exec sleep 1000'")
        .ok();
    dhow_tests::eventually("the orphan is reaped", || {
        let ps = host.sh("docker exec orphans ps -o args").ok();
        (!ps.contains("sleep 0.1") && !ps.contains("[sleep]")).then_some(())
    });
    // A plain sleep as process 1 would ignore it.
    host.sh("docker kill -s TERM orphans").ok();
    assert_eq!(host.wait("orphans"), 143);
}

/// A start is answered when the program runs, so whatever comes next finds the container whole.
#[test]
fn an_init_is_ready_when_its_start_is_answered() {
    let host = TestHost::start();
    for round in 0..20 {
        let line = format!(
            "docker run -d --init --name now{round} busybox sleep 1000 >id && docker exec now{round} sh -c 'test -c /dev/null && cat /proc/2/comm'"
        );
        assert_eq!(host.sh(&line).ok(), "sleep");
        host.sh(&format!("docker rm -f now{round}")).ok();
    }
    // And the reason why it does not run is known by then.
    host.sh("docker run --init busybox nosuchcommand")
        .fails(127);
    host.sh("docker run --init busybox /etc/passwd").fails(126);
}

#[test]
fn pull_policy() {
    let host = TestHost::empty();
    let message = host
        .sh("docker run --rm --pull never busybox true")
        .fails(125);
    assert!(
        message.contains("No such image: busybox:latest"),
        "{message}"
    );
    host.sh("docker run --rm --pull missing busybox true").ok();
    let finished = host.sh("docker run --rm --pull always busybox true");
    assert!(
        finished
            .stderr
            .contains("Status: Image is up to date for busybox:latest"),
        "{finished:#?}"
    );
}

#[test]
fn process_ids_start_at_one() {
    let host = TestHost::start();
    assert_eq!(host.sh("docker run --rm busybox sh -c 'echo $$'").ok(), "1");
    let seen = host.sh("docker run --rm busybox ps -o pid,args").ok();
    assert_eq!(seen.lines().count(), 2, "only its own process: {seen}");
}
