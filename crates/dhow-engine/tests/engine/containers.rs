//! The life of a container.

use std::sync::Arc;

use dhow_api::Filters;
use dhow_engine::{EventFilter, ListOptions, RemoveOptions, WaitCondition};
use serde_json::json;

use crate::world::{World, both, timeout, until};

pub async fn a_run_has_its_output_and_its_exit_code(w: Arc<World>) {
    let (code, text) = w
        .run(&["sh", "-c", "echo out; echo err >&2; exit 7"], json!({}))
        .await;
    assert_eq!(code, 7);
    assert!(text.contains("out\n") && text.contains("err\n"), "{text}");
}

pub async fn exit_codes_and_states(w: Arc<World>) {
    let id = w.create(&["sh", "-c", "exit 41"], json!({})).await;
    assert_eq!(w.status(&id), "created");
    w.start(&id).await;
    assert_eq!(w.wait(&id).await, 41);
    let state = w.engine().containers().inspect(&id).unwrap().state;
    assert_eq!(
        (state.status.as_str(), state.exit_code, state.pid),
        ("exited", 41, 0)
    );
    assert!(
        state.started_at > state.finished_at.replace("Z", "")
            || state.started_at < state.finished_at
    );
    // And again: a new run of the same container.
    w.start(&id).await;
    assert_eq!(w.wait(&id).await, 41);
}

pub async fn stop_kill_and_their_events(w: Arc<World>) {
    let engine = w.engine();
    let mut events = engine
        .events()
        .subscribe(None, None, EventFilter::default());
    let id = w
        .create(
            &[
                "sh",
                "-c",
                "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done",
            ],
            json!({}),
        )
        .await;
    w.start(&id).await;
    until("the trap", || {
        let log = w.data_root().join(format!("containers/{id}/{id}-json.log"));
        std::fs::read_to_string(log).is_ok_and(|t| t.contains("ready"))
    })
    .await;
    assert!(matches!(
        engine.containers().start(&id).await,
        Err(dhow_engine::EngineError::NotModified)
    ));
    timeout(engine.containers().stop(&id, None, None))
        .await
        .unwrap();
    let state = engine.containers().inspect(&id).unwrap().state;
    assert_eq!((state.status.as_str(), state.exit_code), ("exited", 3));
    assert!(matches!(
        engine.containers().stop(&id, None, None).await,
        Err(dhow_engine::EngineError::NotModified)
    ));
    let refused = engine
        .containers()
        .kill(&id, None)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        refused,
        format!("cannot kill container: {id}: container {id} is not running")
    );
    let mut actions = Vec::new();
    while let Some(event) = events.ready().await {
        if event.kind == "container" {
            actions.push(event.action.clone());
            if event.action == "die" {
                assert_eq!(event.actor.attributes["exitCode"], "3");
                assert_eq!(event.actor.attributes["tier"], "test");
            }
        }
    }
    assert_eq!(actions, ["create", "start", "kill", "stop", "die"]);
    // One that does not listen is killed after its time.
    let id = w
        .create(
            &["sh", "-c", "trap '' TERM; while :; do sleep 1; done"],
            json!({}),
        )
        .await;
    w.start(&id).await;
    timeout(engine.containers().stop(&id, Some(0), None))
        .await
        .unwrap();
    assert_eq!(
        engine.containers().inspect(&id).unwrap().state.exit_code,
        137
    );
}

pub async fn remove_rules(w: Arc<World>) {
    let engine = w.engine();
    let id = w
        .try_create(Some("rules"), &["sleep", "100"], json!({}))
        .await
        .unwrap();
    w.start(&id).await;
    let refused = engine
        .containers()
        .remove("rules", RemoveOptions::default())
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        refused,
        "cannot remove container \"/rules\": container is running: stop the container before removing or force remove"
    );
    let removed = engine
        .containers()
        .wait(&id, WaitCondition::Removed)
        .unwrap();
    let force = RemoveOptions {
        force: true,
        ..Default::default()
    };
    timeout(engine.containers().remove("rules", force))
        .await
        .unwrap();
    assert_eq!(timeout(removed).await.status_code, 137);
    let gone = engine
        .containers()
        .remove("rules", force)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(gone, "No such container: rules");
    assert!(!w.data_root().join("containers").join(&id).exists());
}

pub async fn auto_remove_resolves_with_the_exit_code(w: Arc<World>) {
    let engine = w.engine();
    let id = w
        .create(
            &["sh", "-c", "exit 9"],
            json!({"HostConfig": {"AutoRemove": true}}),
        )
        .await;
    let removed = engine
        .containers()
        .wait(&id, WaitCondition::Removed)
        .unwrap();
    w.start(&id).await;
    assert_eq!(timeout(removed).await.status_code, 9);
    assert!(engine.containers().inspect(&id).is_err());
}

pub async fn restart_policies(w: Arc<World>) {
    let engine = w.engine();
    let policy =
        json!({"HostConfig": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}});
    let id = w.create(&["sh", "-c", "echo run; exit 1"], policy).await;
    w.start(&id).await;
    // A wait is for one run.
    assert_eq!(w.wait(&id).await, 1);
    until("the last run", || w.status(&id) == "exited").await;
    assert_eq!(engine.containers().inspect(&id).unwrap().restart_count, 2);
    assert_eq!(w.logs(&id, both()).await, ["run\n", "run\n", "run\n"]);
    // A user's stop ends it.
    let id = w
        .create(
            &["sleep", "100"],
            json!({"HostConfig": {"RestartPolicy": {"Name": "always"}}}),
        )
        .await;
    w.start(&id).await;
    timeout(engine.containers().stop(&id, Some(0), None))
        .await
        .unwrap();
    assert_eq!(w.status(&id), "exited");
    // A process that dies by itself comes back.
    w.start(&id).await;
    let pid = engine.containers().inspect(&id).unwrap().state.pid;
    let raw = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::KILL).unwrap();
    until("another process", || {
        let state = engine.containers().inspect(&id).unwrap().state;
        state.status == "running" && state.pid != pid
    })
    .await;
    timeout(engine.containers().restart(&id, Some(0), None))
        .await
        .unwrap();
    assert_eq!(w.status(&id), "running");
}

pub async fn pause_and_unpause(w: Arc<World>) {
    let engine = w.engine();
    let id = w.create(&["sleep", "100"], json!({})).await;
    let refused = engine
        .containers()
        .pause(&id)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(refused, format!("container {id} is not running"));
    w.start(&id).await;
    engine.containers().pause(&id).await.unwrap();
    assert_eq!(w.status(&id), "paused");
    assert!(engine.containers().start(&id).await.is_err());
    engine.containers().unpause(&id).await.unwrap();
    assert_eq!(w.status(&id), "running");
    engine.containers().pause(&id).await.unwrap();
    timeout(engine.containers().stop(&id, Some(0), None))
        .await
        .unwrap();
    assert_eq!(w.status(&id), "exited");
}

pub async fn names_and_prefixes(w: Arc<World>) {
    let engine = w.engine();
    let id = w
        .try_create(Some("/first"), &["true"], json!({}))
        .await
        .unwrap();
    for reference in ["first", "/first", &id, &id[..12]] {
        assert_eq!(engine.containers().inspect(reference).unwrap().id, id);
    }
    let taken = w
        .try_create(Some("first"), &["true"], json!({}))
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        taken,
        format!(
            "Conflict. The container name \"/first\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
        )
    );
    engine.containers().rename("first", "second").await.unwrap();
    assert!(engine.containers().inspect("first").is_err());
    assert_eq!(
        engine.containers().inspect("second").unwrap().name,
        "/second"
    );
    let made_up = w.create(&["true"], json!({})).await;
    assert!(
        engine
            .containers()
            .inspect(&made_up)
            .unwrap()
            .name
            .contains('_')
    );
}

pub async fn networks_and_ports(w: Arc<World>) {
    let engine = w.engine();
    let id = w
        .create(
            &["sh", "-c", "ip -o -4 addr show eth0; cat /etc/hosts /etc/resolv.conf; while :; do echo hello | nc -l -p 80; done"],
            json!({"HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "0"}]},
                "ExtraHosts": ["db:10.1.2.3"], "Dns": ["9.9.9.9"]}, "Hostname": "web"}),
        )
        .await;
    w.start(&id).await;
    let shown = engine.containers().inspect(&id).unwrap();
    let endpoint = &shown.network_settings.networks["bridge"];
    let port = shown.network_settings.ports["80/tcp"].as_ref().unwrap()[0]
        .host_port
        .clone();
    until("the log", || {
        let log = w.data_root().join(format!("containers/{id}/{id}-json.log"));
        std::fs::read_to_string(log).is_ok_and(|t| t.contains("nameserver"))
    })
    .await;
    let text = w.logs(&id, both()).await.concat();
    assert!(text.contains(&endpoint.ip_address), "{text}");
    assert!(
        text.contains("10.1.2.3\tdb")
            && text.contains("nameserver 9.9.9.9")
            && text.contains("web"),
        "{text}"
    );
    let answer = timeout(async {
        loop {
            if let Ok(mut stream) =
                tokio::net::TcpStream::connect(format!("127.0.0.1:{port}")).await
            {
                let mut text = String::new();
                if tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut text)
                    .await
                    .is_ok()
                    && !text.is_empty()
                {
                    return text;
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(answer, "hello\n");
    assert_eq!(
        engine
            .network("bridge")
            .unwrap()
            .containers
            .map(|c| c.len()),
        Some(1)
    );
    // The port is taken, and free again once its container has ended.
    let wish = json!({"HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]}}});
    let other = w.create(&["sleep", "100"], wish).await;
    let refused = engine
        .containers()
        .start(&other)
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("port is already allocated"), "{refused}");
    timeout(engine.containers().stop(&id, Some(0), None))
        .await
        .unwrap();
    w.start(&other).await;
    let (code, text) = w
        .run(
            &["ip", "-o", "link"],
            json!({"HostConfig": {"NetworkMode": "none"}}),
        )
        .await;
    assert!(
        code == 0 && text.lines().count() == 1 && text.contains("lo"),
        "{text}"
    );
    let shared = json!({"HostConfig": {"NetworkMode": format!("container:{other}")}});
    let (_, text) = w.run(&["ip", "-o", "-4", "addr"], shared).await;
    let ip = engine
        .containers()
        .inspect(&other)
        .unwrap()
        .network_settings
        .networks["bridge"]
        .ip_address
        .clone();
    assert!(text.contains(&ip), "{text}");
}

pub async fn confinement_is_dockers(w: Arc<World>) {
    let script = "id; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; hostname; pwd; \
        touch /proc/sys/x 2>&1; ls /sys/firmware | wc -l; grep -c ' /sys ' /proc/mounts; env";
    let (code, text) = w
        .run(
            &["sh", "-c", script],
            json!({"Hostname": "box", "Env": ["MINE=1"]}),
        )
        .await;
    assert_eq!(code, 0, "{text}");
    for expected in [
        "uid=0(root) gid=0(root) groups=0(root),10(wheel)",
        "CapEff:\t00000000a80425fb",
        "Seccomp:\t2",
        "box\n",
        "MINE=1",
        "FROM=image",
        "HOME=/root",
        "HOSTNAME=box",
    ] {
        assert!(text.contains(expected), "{expected:?} in {text}");
    }
    let (_, text) = w
        .run(
            &[
                "sh",
                "-c",
                "id -u; grep CapEff /proc/self/status; echo $HOME",
            ],
            json!({"User": "web"}),
        )
        .await;
    assert!(
        text.contains("33\n") && text.contains("0000000000000000") && text.contains("/home"),
        "{text}"
    );
    let limits =
        json!({"HostConfig": {"Memory": 67108864, "PidsLimit": 33, "ReadonlyRootfs": true}});
    let (code, text) = w.run(&["sh", "-c", "touch /x 2>&1; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true"], limits).await;
    assert!(
        code == 0 && text.contains("Read-only") && text.contains("67108864"),
        "{text}"
    );
}

pub async fn list_and_inspect(w: Arc<World>) {
    let engine = w.engine();
    let first = w
        .create(&["sleep", "100"], json!({"Labels": {"a": "1"}}))
        .await;
    let second = w.create(&["sleep", "100"], json!({})).await;
    w.start(&first).await;
    let ids = |options: &ListOptions| -> Vec<String> {
        engine
            .containers()
            .list(options)
            .unwrap()
            .into_iter()
            .map(|c| c.id)
            .collect()
    };
    assert_eq!(ids(&ListOptions::default()), std::slice::from_ref(&first));
    let all = ListOptions {
        all: true,
        ..Default::default()
    };
    assert_eq!(ids(&all), [second.clone(), first.clone()]);
    let filtered = |text: &str| ListOptions {
        all: true,
        filters: Filters::parse(text).unwrap(),
        ..Default::default()
    };
    assert_eq!(
        ids(&filtered(r#"{"label":["a=1"]}"#)),
        std::slice::from_ref(&first)
    );
    assert_eq!(
        ids(&filtered(r#"{"status":["created"]}"#)),
        std::slice::from_ref(&second)
    );
    assert_eq!(ids(&filtered(r#"{"ancestor":["busybox"]}"#)).len(), 2);
    let line = &engine.containers().list(&ListOptions::default()).unwrap()[0];
    assert_eq!(
        (
            line.command.as_str(),
            line.image.as_str(),
            line.state.as_str()
        ),
        ("sleep 100", "busybox", "running")
    );
    assert!(line.status.starts_with("Up "), "{}", line.status);
    // What inspect shows can be sent to create again.
    let shown = serde_json::to_value(engine.containers().inspect(&first).unwrap()).unwrap();
    let mut again = shown["Config"].clone();
    again["HostConfig"] = shown["HostConfig"].clone();
    let copy = w.create(&["sleep", "100"], again).await;
    w.start(&copy).await;
    let top = engine.containers().top(&copy, "-ef").await.unwrap();
    assert_eq!(top.titles[1], "PID");
    assert!(top.processes[0][7].contains("sleep 100"), "{top:?}");
    let stats = engine.containers().stats(&copy).await.unwrap();
    assert!(
        stats.memory_stats.usage > 0 && stats.pids_stats.current == 1,
        "{stats:?}"
    );
}
