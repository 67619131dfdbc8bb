//! Daemons behind `ssh`. There is no other machine: an `ssh` in front of the real one in `PATH` runs the command
//! here, with what it was called with in a file.

use std::os::unix::fs::PermissionsExt;

use dhow_tests::{TestHost, eventually};

const SSH: &str = r#"#!/bin/sh
for word; do printf '%s\n' "$word"; done > "$HOME/ssh.words"
# The other machine knows nothing of our environment.
[ -e "$HOME/.ssh-denies" ] && { echo 'Permission denied (publickey).' >&2; exit 255; }
while [ "$1" != -- ]; do shift; done
shift 2
export PATH="$HOME/there:/usr/bin:/bin" DOCKER_HOST=unix://THERE DOCKER_CONFIG=/nonexistent
unset DOCKER_CONTEXT DHOW_HOST
exec sh -c "$*"
"#;

/// A host whose clients reach its daemon by this `ssh` only.
fn host() -> TestHost {
    let host = TestHost::start();
    let program = host.path("bin/ssh");
    let socket = host.socket().display().to_string();
    std::fs::write(&program, SSH.replace("THERE", &socket)).expect("/tmp is writable");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    host.sh("mkdir home/there; ln -s ../../bin/dhow home/there/dhow")
        .ok();
    host
}

#[test]
fn a_daemon_behind_ssh_does_all_that_one_here_does() {
    let host = host();
    let ssh = "export DOCKER_HOST=ssh://me@box:2222; ";
    let sh = |line: &str| host.sh(&format!("{ssh}{line}"));
    assert_eq!(sh("dhow run --rm busybox echo hello").ok(), "hello");
    let words = host.sh("cat home/ssh.words").ok();
    assert_eq!(
        words.lines().collect::<Vec<_>>(),
        [
            "-l",
            "me",
            "-p",
            "2222",
            "-o ConnectTimeout=30",
            "-T",
            "--",
            "box",
            "dhow system dial-stdio || docker system dial-stdio"
        ]
    );
    // Input that ends before the output does, in both directions and more than pipes hold.
    let sum = sh(
        "head -c 3000000 /dev/zero | dhow run -i --rm busybox sh -c 'cat; echo end' | tail -c 4",
    )
    .ok();
    assert_eq!(sum, "end");
    assert_eq!(sh("dhow run --rm busybox sh -c 'exit 7'").code, 7);
    sh("dhow create --name cc busybox true && printf text > f && dhow cp f cc:/f && dhow cp cc:/f g && cmp f g").ok();
    sh("dhow rm cc").ok();
    // A stream that is interrupted leaves nothing behind, neither here nor there.
    let mut events = host.spawn(&format!("{ssh}exec dhow events"));
    host.sh("docker create --name seen busybox; docker rm seen")
        .ok();
    events.prints("container create");
    assert!(events.is_running());
    events.signal(rustix::process::Signal::INT);
    events.finish();
    eventually("dial-stdio ends", || {
        let left = host.sh("pgrep -f '[d]ial-stdio' -a").stdout;
        let ours = left.lines().filter(|line| {
            let pid = line.split(' ').next().unwrap_or_default();
            std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| {
                let home = format!("HOME={}", host.path("home").display());
                env.split(|b| *b == 0).any(|own| own == home.as_bytes())
            })
        });
        (ours.count() == 0).then_some(())
    });
}

#[test]
fn hosts_are_written_in_dockers_ways() {
    let host = host();
    // With a socket, whatever the other machine would have taken; and as a context.
    let socket = host.socket().display().to_string();
    host.sh(&format!(
        "sed -i 's#unix://{socket}#unix:///not/there#' bin/ssh"
    ))
    .ok();
    let there = format!("ssh://box{socket}");
    assert_eq!(
        host.sh(&format!("dhow -H {there} images -q | wc -l")).ok(),
        "1"
    );
    host.sh(&format!("docker context create far --docker host={there}"))
        .ok();
    assert_eq!(host.sh("dhow -c far images -q | wc -l").ok(), "1");
    // Only Docker's own client is there.
    host.sh("rm home/there/dhow; ln -s $(command -v docker) home/there/docker")
        .ok();
    assert_eq!(host.sh("dhow -c far images -q | wc -l").ok(), "1");
    // Docker's client, and ours at the other end under Docker's name.
    host.sh("rm home/there/docker; ln -s ../../bin/dhow home/there/docker")
        .ok();
    assert_eq!(host.sh("docker -c far images -q | wc -l").ok(), "1");
}

#[test]
fn what_goes_wrong_is_said() {
    let host = host();
    host.sh("touch home/.ssh-denies").ok();
    let denied = host.sh("dhow -H ssh://box ps").fails(1);
    for part in [
        "error during connect: ssh://box: command [",
        "has exited with exit status 255, make sure the URL is valid",
        "stderr=Permission denied (publickey).",
    ] {
        assert!(denied.contains(part), "{denied}");
    }
    host.sh("rm home/.ssh-denies; rm home/there/dhow").ok();
    let nobody = host.sh("dhow -H ssh://box ps").fails(1);
    assert!(
        nobody.contains("exit status 127") && nobody.contains("not found"),
        "{nobody}"
    );
    let program = host
        .sh("PATH=$PWD/none:/nothing; bin/dhow -H ssh://box ps")
        .fails(1);
    assert!(
        program.contains("executable file not found in $PATH"),
        "{program}"
    );
    for (url, reason) in [
        ("ssh://a:b@box", "plain-text password is not supported"),
        ("'ssh://box?x'", "query parameters are not allowed: \"x\""),
        ("ssh://", "hostname is empty"),
    ] {
        let said = host.sh(&format!("dhow -H {url} ps")).fails(1);
        assert!(
            said.contains("ssh host connection is not valid") && said.contains(reason),
            "{said}"
        );
    }
}
