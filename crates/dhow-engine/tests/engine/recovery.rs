//! A daemon that ends and another that takes over.

use std::sync::Arc;

use dhow_engine::{Engine, LogOptions, WaitCondition};
use serde_json::json;

use crate::world::{World, both, timeout, until};

pub async fn running_containers_are_taken_over(w: Arc<World>) {
    let script = "n=0; while [ $n -lt 60 ]; do echo $n; n=$((n+1)); sleep 0.05; done; exit 6";
    let ports = json!({"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "4243"}]}}});
    let id = w
        .try_create(Some("survivor"), &["sh", "-c", script], ports)
        .await
        .unwrap();
    w.start(&id).await;
    let before = w.engine().containers().inspect(&id).unwrap();
    w.close().await;
    let report = w.open().await;
    assert_eq!((report.containers, report.reconnected), (1, 1));
    let after = w.engine().containers().inspect("survivor").unwrap();
    assert_eq!(before.state, after.state);
    assert_eq!(before.network_settings, after.network_settings);
    assert_eq!(before.config, after.config);
    let wait = w
        .engine()
        .containers()
        .wait(&id, WaitCondition::NotRunning)
        .unwrap();
    let followed = w
        .logs(
            &id,
            LogOptions {
                follow: true,
                ..both()
            },
        )
        .await;
    assert_eq!(followed.len(), 60);
    assert_eq!(timeout(wait).await.status_code, 6);
}

pub async fn an_end_without_a_daemon_is_not_missed(w: Arc<World>) {
    let id = w
        .create(&["sh", "-c", "sleep 0.3; echo last; exit 8"], json!({}))
        .await;
    let gone = w
        .create(
            &["sh", "-c", "sleep 0.3"],
            json!({"HostConfig": {"AutoRemove": true}}),
        )
        .await;
    let always = json!({"HostConfig": {"RestartPolicy": {"Name": "always"}}});
    let back = w
        .create(&["sh", "-c", "sleep 0.3; sleep 100"], always)
        .await;
    for id in [&id, &gone, &back] {
        w.start(id).await;
    }
    let pid = w.engine().containers().inspect(&back).unwrap().state.pid;
    w.close().await;
    let raw = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::KILL).unwrap();
    until("their ends", || {
        w.data_root()
            .join(format!("containers/{id}/exit.json"))
            .exists()
            && w.data_root()
                .join(format!("containers/{gone}/exit.json"))
                .exists()
            && w.data_root()
                .join(format!("containers/{back}/exit.json"))
                .exists()
    })
    .await;
    w.open().await;
    let engine = w.engine();
    assert_eq!(w.wait(&id).await, 8);
    assert_eq!(w.logs(&id, both()).await, ["last\n"]);
    until("the removal", || {
        engine.containers().inspect(&gone).is_err()
    })
    .await;
    until("the restart", || {
        let state = engine.containers().inspect(&back).unwrap().state;
        state.status == "running" && state.pid != pid
    })
    .await;
}

pub async fn a_second_engine_is_refused(w: Arc<World>) {
    let refused = match Engine::open(w.config(), w.spawner()).await {
        Err(e) => e.to_string(),
        Ok(_) => panic!("two engines"),
    };
    assert!(
        refused.contains(&format!("process {}", std::process::id())),
        "{refused}"
    );
}
