//! Many at once.

use std::sync::Arc;

use dhow_engine::{ListOptions, RemoveOptions, WaitCondition};
use serde_json::json;

use crate::world::{World, timeout, until};

pub async fn many_at_once_leave_nothing(w: Arc<World>) {
    let mut tasks = Vec::new();
    for n in 0..100 {
        let w = w.clone();
        tasks.push(tokio::spawn(async move {
            let engine = w.engine();
            if n % 2 == 0 {
                let auto = json!({"HostConfig": {"AutoRemove": true}});
                let id = w.create(&["sh", "-c", &format!("exit {n}")], auto).await;
                let removed = engine
                    .containers()
                    .wait(&id, WaitCondition::Removed)
                    .unwrap();
                w.start(&id).await;
                assert_eq!(timeout(removed).await.status_code, n);
            } else {
                let id = w.create(&["sleep", "100"], json!({})).await;
                w.start(&id).await;
                timeout(engine.containers().stop(&id, Some(0), None))
                    .await
                    .unwrap();
                timeout(engine.containers().remove(&id, RemoveOptions::default()))
                    .await
                    .unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let all = ListOptions {
        all: true,
        ..Default::default()
    };
    assert!(w.engine().containers().list(&all).unwrap().is_empty());
    let containers = w.data_root().join("containers");
    until("empty directories", || {
        std::fs::read_dir(&containers).unwrap().count() == 0
    })
    .await;
    let trash = w.data_root().join("trash");
    until("an empty trash", || {
        std::fs::read_dir(&trash).unwrap().count() == 0
    })
    .await;
}
