//! What leaves a container as files: the list of its changes, an image's layer, an archive of its root.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use dhow_tests::http::Exchange;
use dhow_tests::{Background, Engine, TestHost, eventually};
use rustix::fs::XattrFlags;
use serde_json::{Value, json};

/// Changes of every kind, made through a real overlay.
const CHANGES: &str = r#"
set -e
echo new > /etc/new
echo changed >> /etc/passwd
rm /etc/group
rm -rf /var && mkdir -m 750 /var && echo again > /var/again
rm -rf /home && echo file > /home
rm /bin/yes && mkdir /bin/yes && echo in > /bin/yes/in
mkdir -p /deep/er && echo x > /deep/er/one && ln /deep/er/one /deep/two
chown 33:44 /deep/er/one && chmod 4750 /deep/er/one
ln -s ../../../etc /deep/up && mkfifo /deep/pipe && mknod /deep/null c 1 3
touch -d @1234567890 /root
chmod 711 /usr/bin
touch /bin/busybox
"#;

/// Runs the changes in a container with this name.
fn changed(host: &TestHost, name: &str) {
    std::fs::write(host.path("changes"), CHANGES).unwrap();
    host.sh(&format!(
        "docker run --name {name} -v {}:/changes:ro busybox sh /changes",
        host.path("changes").display()
    ))
    .ok();
}

#[test]
fn a_diff_lists_what_changed() {
    let host = TestHost::start();
    changed(&host, "cc");
    let expected = [
        "C /bin",
        "C /bin/busybox",
        "C /bin/yes",
        "A /bin/yes/in",
        "A /changes",
        "A /deep",
        "A /deep/er",
        "A /deep/er/one",
        "A /deep/null",
        "A /deep/pipe",
        "A /deep/two",
        "A /deep/up",
        "C /etc",
        "D /etc/group",
        "A /etc/new",
        "C /etc/passwd",
        "C /home",
        "C /usr",
        "C /usr/bin",
        "C /var",
        "A /var/again",
        "D /var/www",
    ];
    for client in ["docker diff cc", "docker container diff cc", "dhow diff cc"] {
        let diff = host.sh(client).ok();
        let mut lines: Vec<&str> = diff.lines().collect();
        if host.engine != Engine::Dhow {
            // A peer tells them in no order.
            lines.sort_by_key(|line| line[2..].to_owned());
        }
        assert_eq!(lines, expected, "{client}");
    }
    let kinds = host.api("GET", "/v1.45/containers/cc/changes", None).json();
    assert!(
        kinds
            .as_array()
            .unwrap()
            .contains(&json!({"Path": "/etc/group", "Kind": 2}))
    );
    // What a start makes is no change, nor is a file that was opened to be written and was not.
    host.sh("docker run --name same busybox sh -c ': >> /etc/passwd'")
        .ok();
    let answer = host.api("GET", "/v1.45/containers/same/changes", None);
    assert_eq!((answer.status, answer.json()), (200, Value::Null));
    assert_eq!(host.sh("docker diff same").ok(), "");
    let message = host.sh("dhow diff nothing").fails(1);
    assert!(message.ends_with("No such container: nothing"), "{message}");
}

#[test]
fn an_image_has_what_its_container_had() {
    let host = TestHost::start();
    changed(&host, "cc");
    // What busybox has no program for.
    host.sh("docker run -d --name more busybox sleep 1000").ok();
    let root = format!("/proc/{}/root", host.init("more").pid);
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut noted = true;
    for (name, value) in [
        (c"security.capability", &capability[..]),
        (c"user.note", b"kept"),
    ] {
        let path = format!("{root}/bin/busybox");
        match rustix::fs::setxattr(path, name, value, XattrFlags::empty()) {
            // A data-root on tmpfs has users' attributes since Linux 6.6.
            Err(rustix::io::Errno::OPNOTSUPP) if name == c"user.note" => noted = false,
            set => set.unwrap(),
        }
    }
    host.sh("docker commit more with:attributes").ok();

    let id = host.sh("docker commit cc made:1").ok();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    let look = "cd / && cat etc/new && tail -n 1 etc/passwd && ls etc/group var home bin/yes 2>/dev/null; \
        stat -c '%n %a %u %g %h %F' deep/er/one deep/two deep/null deep/pipe; stat -c '%n %a %u %g %F' var usr/bin; \
        readlink deep/up; stat -c %Y root; cat home";
    let expected = "new\nchanged\nhome\n\nbin/yes:\nin\n\nvar:\nagain\n\
        deep/er/one 4750 33 44 2 regular file\ndeep/two 4750 33 44 2 regular file\n\
        deep/null 644 0 0 1 character special file\ndeep/pipe 644 0 0 1 fifo\n\
        var 750 0 0 directory\nusr/bin 711 0 0 directory\n../../../etc\n1700000000\nfile";
    let see = |image: &str| {
        host.sh(&format!("docker run --rm {image} sh -c \"{look}\""))
            .ok()
    };
    assert_eq!(see("made:1"), expected);
    // A commit of a container of that is no other.
    host.sh("docker create --name again made:1 && docker commit again made:2")
        .ok();
    assert_eq!(see("made:2"), expected);
    let layers = |image: &str| {
        let image = host.sh(&format!("docker image inspect {image}")).json();
        image[0]["RootFS"]["Layers"].as_array().unwrap().len()
    };
    assert_eq!(
        (layers("made:1"), layers("made:2")),
        (2, 2),
        "an empty layer is none"
    );

    // Through a registry, and from there to a host that never had it.
    let there = "127.0.0.1:5000/fleet/made:1";
    host.sh(&format!(
        "docker tag made:1 {there} && docker push -q {there}"
    ))
    .ok();
    host.sh(&format!(
        "docker rm again cc && docker rmi made:1 made:2 {there}"
    ))
    .ok();
    assert_eq!(see(there), expected);

    host.sh("docker run -d --name attributes with:attributes sleep 1000")
        .ok();
    let path = format!("/proc/{}/root/bin/busybox", host.init("attributes").pid);
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(&path, c"security.capability", &mut value[..]).unwrap();
    assert_eq!(value[..length], capability);
    if host.engine == Engine::Dhow {
        let note = rustix::fs::getxattr(&path, c"user.note", &mut value[..]);
        assert_eq!(note.is_ok_and(|length| &value[..length] == b"kept"), noted);
        let (old, new) = (
            std::fs::metadata(format!("{root}/bin/busybox")).unwrap(),
            std::fs::metadata(&path).unwrap(),
        );
        let time = |m: &std::fs::Metadata| (m.mtime(), m.mtime_nsec());
        assert_eq!(time(&old), time(&new), "to the nanosecond");
    }
}

#[test]
fn an_export_is_the_root_that_the_container_sees() {
    let host = TestHost::start();
    changed(&host, "cc");
    let list = host.sh("docker export cc | tar tf -").ok();
    let has = |path: &str| list.lines().any(|line| line == path);
    for path in [
        "etc/new",
        "etc/passwd",
        "deep/two",
        "bin/yes/in",
        "var/again",
        "home",
        "changes",
        "proc/",
        "bin/sh",
        "usr/sbin/",
    ] {
        assert!(has(path), "{path} in {list}");
    }
    for path in [
        "etc/group",
        "var/www/",
        "home/",
        "etc/.wh.group",
        "var/.wh..wh..opq",
    ] {
        assert!(!has(path), "{path} in {list}");
    }
    // A stopped one, a running one, one that never ran; to a file, and as a new image.
    host.sh("docker create --name never busybox && docker run -d --name runs -v data:/data --tmpfs /scratch busybox sh -c 'echo x > /data/in; echo x > /scratch/in; touch /done; sleep 1000'").ok();
    eventually("it has written", || {
        (host.sh("docker exec runs test -e /done").code == 0).then_some(())
    });
    assert!(host.sh("docker export never | tar tf - bin/busybox").ok() == "bin/busybox");
    let list = host
        .sh("dhow export runs | tar tf - data scratch done")
        .ok();
    assert_eq!(
        list, "data/\ndone\nscratch/",
        "what is mounted is not the container's"
    );
    host.sh("dhow container export -o c.tar cc && docker export -o d.tar cc && cmp c.tar d.tar")
        .ok();
    assert_eq!(host.sh("docker import c.tar flat && docker run --rm flat sh -c 'cat /etc/new /var/again; stat -c \"%a %u %h\" /deep/two'").ok().lines().skip(1).collect::<Vec<_>>(), ["new", "again", "4750 33 2"]);
    let mode = std::fs::metadata(host.path("c.tar")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Failures leave what was there.
    let message = host.sh("dhow export -o c.tar nothing").fails(1);
    assert!(message.ends_with("No such container: nothing"), "{message}");
    assert!(host.path("c.tar").exists());
    let message = host.sh("dhow export -o no/such/file cc").fails(1);
    assert_eq!(
        message,
        "failed to export container: invalid output path: directory \"no/such\" does not exist"
    );
    let answer = host.api("GET", "/v1.45/containers/nothing/export", None);
    assert_eq!(answer.status, 404);
    let terminal = host.terminal("dhow export cc");
    terminal.shows_text("cowardly refusing to save to a terminal. Use the -o flag or redirect");
    let left: Vec<_> = std::fs::read_dir(host.dir())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().starts_with(".dhow-"))
        .collect();
    assert_eq!(left, Vec::<std::ffi::OsString>::new());
    let events = host
        .sh("docker events --since 1h --until $(date +%s.%N) --format '{{.Actor.Attributes.name}}' -f event=export")
        .ok();
    assert_eq!(
        events.lines().collect::<Vec<_>>(),
        ["cc", "never", "runs", "cc", "cc"]
    );
}

/// A container that runs and has a file of 64 MiB.
fn run_large(host: &TestHost, name: &str) {
    host.sh(&format!("docker run -d --name {name} busybox sh -c 'dd if=/dev/zero of=/big bs=1M count=64 2>/dev/null; touch /done; sleep 1000'")).ok();
    eventually("it has written", || {
        let done = host.sh(&format!("docker exec {name} test -e /done"));
        (done.code == 0).then_some(())
    });
}

/// How many archives the daemon writes now.
fn exports(host: &TestHost) -> usize {
    let process = Path::new("/proc").join(host.daemon_pid().to_string());
    let tasks = std::fs::read_dir(process.join("task")).unwrap();
    let name = |task: std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).unwrap_or_default()
    };
    let names = tasks.flatten().map(name);
    names.filter(|name| name.trim() == "export").count()
}

/// An export that is under way, and the pipe that it goes to.
fn export_to_pipe(host: &TestHost, name: &str) -> (Background, std::fs::File) {
    host.sh(&format!("mkfifo {name}.pipe")).ok();
    let export = host.spawn(&format!("docker export {name} > {name}.pipe"));
    let reader = std::fs::File::open(host.path(&format!("{name}.pipe"))).unwrap();
    eventually("it is written", || (exports(host) == 1).then_some(()));
    (export, reader)
}

/// Reads the pipe to its end: the export must have failed.
#[track_caller]
fn is_cut_off((export, mut reader): (Background, std::fs::File)) {
    let drained = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    assert_ne!(export.finish().code, 0);
    drained.join().unwrap().unwrap();
}

/// A reader that takes nothing keeps nobody waiting, and one that goes away ends the archive's writer.
#[test]
fn a_slow_reader_of_an_export_holds_nobody_up() {
    let host = TestHost::start();
    run_large(&host, "cc");
    let begin = |host: &TestHost| {
        let mut exchange = Exchange::begin(
            &host.socket(),
            "GET",
            "/v1.45/containers/cc/export",
            None,
            Duration::from_secs(60),
        )
        .unwrap();
        exchange.head().unwrap();
        exchange
    };
    let slow: Vec<_> = (0..8).map(|_| begin(&host)).collect();
    host.sh_within(
        Duration::from_secs(20),
        "docker exec cc true && docker diff cc",
    )
    .ok();
    drop(slow);
    if host.engine != Engine::Dhow {
        return;
    }
    eventually("nobody writes any more", || {
        (exports(&host) == 0).then_some(())
    });
}

#[test]
fn an_archive_that_is_cut_off_does_not_look_whole() {
    let mut host = TestHost::start();
    if host.engine != Engine::Dhow {
        return;
    }
    for name in ["removed", "stopped"] {
        run_large(&host, name);
    }
    let under_way = export_to_pipe(&host, "removed");
    host.sh("docker rm -f removed").ok();
    is_cut_off(under_way);
    host.sh("docker commit stopped kept && mkfifo kept.pipe")
        .ok();
    let saving = host.spawn("docker save kept > kept.pipe");
    let mut archive = std::fs::File::open(host.path("kept.pipe")).unwrap();
    archive.read_exact(&mut [0]).unwrap();
    let under_way = export_to_pipe(&host, "stopped");
    host.stop_daemon();
    is_cut_off(under_way);
    is_cut_off((saving, archive));
    host.start_daemon();
    host.sh("docker export stopped | tar tf - big").ok();
}
