//! What leaves a container: `diff`, `commit`, `export`.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use dhow_tests::http::Exchange;
use dhow_tests::{Engine, TestHost, eventually};
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

fn committed(host: &TestHost) -> String {
    host.sh("docker events --since 1h --until $(date +%s.%N) --format '{{.Type}} {{.Action}}' -f event=commit -f event=create -f event=tag -f event=pause -f event=unpause -f event=export").ok()
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
    for (name, value) in [
        (c"security.capability", &capability[..]),
        (c"user.note", b"kept"),
    ] {
        let path = format!("{root}/bin/busybox");
        rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
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
        let length = rustix::fs::getxattr(&path, c"user.note", &mut value[..]).unwrap();
        assert_eq!(&value[..length], b"kept");
        let (old, new) = (
            std::fs::metadata(format!("{root}/bin/busybox")).unwrap(),
            std::fs::metadata(&path).unwrap(),
        );
        let time = |m: &std::fs::Metadata| (m.mtime(), m.mtime_nsec());
        assert_eq!(time(&old), time(&new), "to the nanosecond");
    }
}

#[test]
fn an_images_configuration_is_its_containers() {
    let host = TestHost::start();
    host.sh("docker run --name cc -e A=1 -l kept=1 -u 33 -w /tmp -v /data --expose 80 --stop-signal INT --health-cmd 'test -e /x' --health-retries 7 busybox touch /tmp/x").ok();
    let inspect = |image: &str| host.sh(&format!("docker image inspect {image}")).json()[0].take();
    let base = inspect("busybox");
    let id = host
        .sh("docker commit -a 'A. Uthor' -m 'what it was for' cc made")
        .ok();
    let made = inspect("made");
    let config = &made["Config"];
    assert_eq!(made["Id"], id.as_str());
    assert_eq!(made["RepoTags"], json!(["made:latest"]));
    assert_eq!(
        (made["Author"].as_str(), made["Comment"].as_str()),
        (Some("A. Uthor"), Some("what it was for"))
    );
    assert_eq!(config["Cmd"], json!(["touch", "/tmp/x"]));
    assert_eq!(
        (config["User"].as_str(), config["WorkingDir"].as_str()),
        (Some("33"), Some("/tmp"))
    );
    assert_eq!(
        (&config["Labels"], &config["Volumes"]),
        (&json!({"kept": "1"}), &json!({"/data": {}}))
    );
    assert_eq!(
        (&config["ExposedPorts"], config["StopSignal"].as_str()),
        (&json!({"80/tcp": {}}), Some("INT"))
    );
    assert_eq!(
        config["Healthcheck"],
        json!({"Test": ["CMD-SHELL", "test -e /x"], "Retries": 7})
    );
    let env = config["Env"].as_array().unwrap();
    assert!(
        env.contains(&json!("A=1")) && env.contains(&base["Config"]["Env"][0]),
        "{env:?}"
    );
    assert_eq!(made["Architecture"], base["Architecture"]);
    let history = host
        .sh("docker history --no-trunc --format '{{.CreatedBy}}|{{.Comment}}' made")
        .ok();
    assert_eq!(
        history.lines().collect::<Vec<_>>(),
        ["touch /tmp/x|what it was for", "made for a test|"]
    );
    // The name goes to the next one, and the first stays without it.
    host.sh("docker commit cc made").ok();
    assert_ne!(inspect("made")["Id"], id.as_str());
    assert_eq!(inspect(&id)["RepoTags"], json!([]));

    // Instructions, in lines or one by one; an entrypoint takes the command away.
    host.sh("docker commit -c 'ENTRYPOINT [\"echo\", \"said\"]' -c 'ENV PATH=/x:$PATH B=\"two words\"' --change 'LABEL more=2' --change 'EXPOSE 81/udp' --change 'USER 0' cc changed").ok();
    let config = inspect("changed")["Config"].take();
    assert_eq!(
        (&config["Entrypoint"], &config["Cmd"]),
        (&json!(["echo", "said"]), &Value::Null)
    );
    let path = base["Config"]["Env"][0]
        .as_str()
        .unwrap()
        .replace("PATH=", "PATH=/x:");
    let env = config["Env"].as_array().unwrap();
    assert!(
        env.contains(&json!(path)) && env.contains(&json!("B=two words")),
        "{env:?}"
    );
    assert_eq!(config["Labels"], json!({"kept": "1", "more": "2"}));
    assert_eq!(config["ExposedPorts"], json!({"80/tcp": {}, "81/udp": {}}));
    assert_eq!(host.sh("docker run --rm changed it").ok(), "said it");
    // A body goes before the container's, and instructions before the body.
    let body =
        json!({"Cmd": ["body"], "Env": ["C=3"], "Labels": {"kept": "2"}, "WorkingDir": "/body"});
    let answer = host.api(
        "POST",
        "/v1.45/commit?container=cc&repo=made&tag=3&changes=CMD%20%5B%22x%22%5D%0AWORKDIR%20%2Fy",
        Some(&body),
    );
    assert_eq!(
        (answer.status, answer.json().as_object().unwrap().len()),
        (201, 1)
    );
    let config = inspect("made:3")["Config"].take();
    assert_eq!(
        (&config["Cmd"], config["WorkingDir"].as_str()),
        (&json!(["x"]), Some("/y"))
    );
    let env = config["Env"].as_array().unwrap();
    assert!(
        env.contains(&json!("C=3")) && env.contains(&json!("A=1")),
        "{env:?}"
    );
    assert_eq!(config["Labels"]["kept"], "2");

    let events = host
        .sh("docker events --since 1h --until $(date +%s.%N) --format json -f event=commit")
        .ok();
    let first: Value = serde_json::from_str(events.lines().next().unwrap()).unwrap();
    let attributes = &first["Actor"]["Attributes"];
    assert_eq!(
        (first["Type"].as_str(), attributes["name"].as_str()),
        (Some("container"), Some("cc"))
    );
    assert_eq!(
        (
            attributes["comment"].as_str(),
            attributes["imageID"].as_str(),
            attributes["imageRef"].as_str()
        ),
        (
            Some("what it was for"),
            Some(id.as_str()),
            Some("made:latest")
        )
    );
    if host.engine == Engine::Dhow {
        let seen = committed(&host);
        assert!(
            seen.contains("container create\nimage create\nimage tag\ncontainer commit\n"),
            "{seen}"
        );
    }
}

#[test]
fn what_cannot_be_committed_is_refused() {
    let host = TestHost::start();
    host.sh("docker create --name cc busybox").ok();
    let images = || host.sh("docker images -aq").ok();
    let before = images();
    for (query, status, message) in [
        ("container=nothing", 404, "No such container: nothing"),
        (
            "container=cc&repo=UPPER",
            400,
            "invalid reference format: repository name (library/UPPER) must be lowercase",
        ),
        ("container=cc&repo=a&tag=b/c", 400, "invalid tag format"),
        (
            "container=cc&changes=RUN%20x",
            400,
            "run is not a valid change command",
        ),
        (
            "container=cc&changes=ENV",
            400,
            "ENV requires at least one argument",
        ),
    ] {
        let answer = host.api("POST", &format!("/v1.45/commit?{query}"), None);
        assert_eq!(answer.status, status, "{query}: {answer:#?}");
        let said = answer.json()["message"].as_str().unwrap().to_lowercase();
        if host.engine == Engine::Dhow {
            assert_eq!(said, message.to_lowercase(), "{query}");
        }
    }
    let digest = format!("a@sha256:{}", "0".repeat(64));
    let answer = host.api(
        "POST",
        &format!("/v1.45/commit?container=cc&repo={digest}"),
        None,
    );
    assert_eq!(
        (answer.status, answer.json()["message"].as_str()),
        (400, Some("cannot import digest reference"))
    );
    for (line, message) in [
        (
            "dhow commit cc UPPER",
            "invalid reference format: repository name (library/UPPER) must be lowercase",
        ),
        (
            "dhow commit --no-pause --pause cc",
            "conflicting options: --no-pause and --pause cannot be used together",
        ),
        (
            "dhow commit",
            "'dhow commit' requires at least 1 and at most 2 arguments",
        ),
        (
            &format!("dhow commit cc {digest}"),
            "refusing to create a tag with a digest reference",
        ),
    ] {
        let said = host.sh(line).fails(1);
        assert!(said.contains(message), "{line}: {said}");
    }
    assert_eq!(images(), before);
    if host.engine == Engine::Dhow {
        host.sh("docker run --name odd busybox touch /.wh.etc").ok();
        let said = host.sh("docker commit odd").fails(1);
        assert!(
            said.contains("an image can't hold the file /.wh.etc"),
            "{said}"
        );
        assert_eq!(images(), before);
    }
}

#[test]
fn a_container_is_still_while_it_is_committed() {
    let host = TestHost::start();
    host.sh("docker run -d --name busy busybox sh -c 'dd if=/dev/zero of=/big bs=1M count=64 2>/dev/null; touch /ready; while :; do echo x >> /log; done'").ok();
    eventually("it has written", || {
        (host.sh("docker exec busy test -e /ready").code == 0).then_some(())
    });
    assert!(
        host.sh("dhow commit -p busy paused")
            .ok()
            .starts_with("sha256:")
    );
    let pauses = || {
        committed(&host)
            .lines()
            .filter(|line| line.ends_with("pause"))
            .count()
    };
    assert_eq!((host.state("busy"), pauses()), ("running".to_owned(), 2));
    host.sh("docker exec busy true").ok();
    if host.engine == Engine::Dhow {
        // Of a file that grows meanwhile it is what was there; a peer fails.
        for line in [
            "docker commit -p=false busy",
            "dhow commit --no-pause busy",
            "dhow commit --pause=false busy",
        ] {
            host.sh(line).ok();
        }
        assert_eq!((host.state("busy"), pauses()), ("running".to_owned(), 2));
    }
    // It is a user's pause that stays.
    host.sh("docker pause busy && docker commit busy").ok();
    assert_eq!((host.state("busy"), pauses()), ("paused".to_owned(), 3));
    host.sh("docker unpause busy").ok();
    let size = host.sh("docker run --rm paused stat -c %s /big").ok();
    assert_eq!(size, (64 << 20).to_string());
}

#[test]
fn a_daemon_that_is_killed_leaves_no_half_of_an_image() {
    let mut host = TestHost::start();
    if host.engine != Engine::Dhow {
        return;
    }
    host.sh("docker run -d --name cc busybox sh -c 'dd if=/dev/urandom of=/big bs=1M count=48 2>/dev/null; md5sum /big > /sum; sleep 1000'").ok();
    eventually("it has written", || {
        (host.sh("docker exec cc test -s /sum").code == 0).then_some(())
    });
    let mut acknowledged = 0;
    for round in 0..6 {
        let commit = host.spawn(&format!("docker commit cc made:{round}"));
        eventually("the commit is under way", || {
            let begun = host.state("cc") == "paused" || !commit.stdout().is_empty();
            begun.then_some(())
        });
        std::thread::sleep(Duration::from_millis(round * 60));
        host.kill_daemon();
        let told = commit.finish().code == 0;
        host.start_daemon();
        assert_eq!(host.state("cc"), "running", "round {round}");
        host.sh("docker exec cc true").ok();
        let image = host.sh(&format!("docker run --rm made:{round} md5sum -c /sum"));
        if told {
            acknowledged += 1;
            assert_eq!(image.ok(), "/big: OK");
        } else if image.code != 125 {
            // It came to its end, and only the answer was lost.
            assert_eq!(image.ok(), "/big: OK");
        }
        let left = std::fs::read_dir(host.data_root().join("ingest")).unwrap();
        assert_eq!(left.count(), 0, "round {round}");
    }
    println!("{acknowledged} of 6 commits were acknowledged");
    host.sh("docker commit cc made:last && docker run --rm made:last md5sum -c /sum")
        .ok();
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
    assert_eq!(
        committed(&host)
            .lines()
            .filter(|line| *line == "container export")
            .count(),
        5
    );
}

/// A reader that takes nothing keeps nobody waiting, and one that goes away ends the archive's writer.
#[test]
fn a_slow_reader_of_an_export_holds_nobody_up() {
    let mut host = TestHost::start();
    host.sh("docker run -d --name cc busybox sh -c 'dd if=/dev/zero of=/big bs=1M count=64 2>/dev/null; touch /done; sleep 1000'").ok();
    eventually("it has written", || {
        (host.sh("docker exec cc test -e /done").code == 0).then_some(())
    });
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
    let threads = |host: &TestHost| {
        let tasks = std::fs::read_dir(
            Path::new("/proc")
                .join(host.daemon_pid().to_string())
                .join("task"),
        )
        .unwrap();
        let name = |task: std::fs::DirEntry| {
            std::fs::read_to_string(task.path().join("comm")).unwrap_or_default()
        };
        tasks
            .flatten()
            .map(name)
            .filter(|name| name.trim() == "export")
            .count()
    };
    eventually("nobody writes any more", || {
        (threads(&host) == 0).then_some(())
    });
    // An archive that the daemon's end cuts off is an error.
    host.sh("mkfifo pipe").ok();
    let export = host.spawn("docker export cc > pipe");
    let reader = std::fs::File::open(host.path("pipe")).unwrap();
    eventually("it is written", || (threads(&host) == 1).then_some(()));
    host.stop_daemon();
    let drained = std::thread::spawn(move || std::io::copy(&mut { reader }, &mut std::io::sink()));
    assert_ne!(export.finish().code, 0);
    assert!(drained.join().unwrap().unwrap() < 64 << 20);
    host.start_daemon();
}
