//! Images made of containers.

use std::time::Duration;

use dhow_tests::{Engine, HostOptions, TestHost, eventually};
use serde_json::{Value, json};

/// What the events of the last hour say of commits.
fn told(host: &TestHost) -> String {
    host.sh("docker events --since 1h --until $(date +%s.%N) --format '{{.Type}} {{.Action}}' -f event=commit -f event=create -f event=tag -f event=pause -f event=unpause").ok()
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
        let seen = told(&host);
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
        told(&host)
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
fn a_full_disk_leaves_no_half_of_an_image() {
    let host = TestHost::with(HostOptions {
        disk_mib: Some(96),
        ..HostOptions::default()
    });
    if host.engine != Engine::Dhow {
        return;
    }
    host.sh("docker run -d --name cc busybox sh -c 'dd if=/dev/zero of=/big bs=1M count=48 2>/dev/null; touch /done; sleep 1000'").ok();
    eventually("it has written", || {
        (host.sh("docker exec cc test -e /done").code == 0).then_some(())
    });
    let images = || host.sh("docker images -aq").ok();
    let before = images();
    let message = host.sh("docker commit cc made").fails(1);
    assert!(message.contains("No space left on device"), "{message}");
    assert_eq!((images(), host.state("cc")), (before, "running".to_owned()));
    let left = std::fs::read_dir(host.data_root().join("ingest")).unwrap();
    assert_eq!(left.count(), 0);
    host.sh(
        "docker exec cc rm /big && docker commit cc made && docker run --rm made test -e /done",
    )
    .ok();
}
