//! Volumes, binds, tmpfs.

use std::sync::Arc;

use dhow_engine::RemoveOptions;
use serde_json::json;

use crate::world::{World, timeout};

pub async fn volumes_are_filled_and_shared(w: Arc<World>) {
    let engine = w.engine();
    let named = json!({"HostConfig": {"Binds": ["shared:/data"]}});
    let (code, text) = w
        .run(
            &[
                "sh",
                "-c",
                "cat /data/sub/file; stat -c %a /data/sub/file; echo more > /data/new",
            ],
            named.clone(),
        )
        .await;
    assert_eq!((code, text.as_str()), (0, "from the image\n640\n"));
    let (_, text) = w.run(&["cat", "/data/new"], named).await;
    assert_eq!(text, "more\n");
    let text = engine
        .volumes()
        .remove("shared", false)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        text.starts_with("remove shared: volume is in use - ["),
        "{text}"
    );
    // An anonymous one goes with its container.
    let id = w
        .create(&["true"], json!({"Volumes": {"/scratch": {}}}))
        .await;
    let name = engine.containers().inspect(&id).unwrap().mounts[0]
        .name
        .clone();
    assert!(engine.volumes().get(&name).is_ok());
    let options = RemoveOptions {
        volumes: true,
        ..Default::default()
    };
    timeout(engine.containers().remove(&id, options))
        .await
        .unwrap();
    assert!(engine.volumes().get(&name).is_err());
}

pub async fn binds_and_tmpfs(w: Arc<World>) {
    let host = w.data_root().join("made-by-v");
    let bind = format!("{}:/mnt:ro", host.display());
    let more =
        json!({"HostConfig": {"Binds": [bind], "Tmpfs": {"/run": "size=1m"}, "ShmSize": 1048576}});
    let script = "touch /mnt/x 2>&1; grep -E ' /run | /dev/shm ' /proc/mounts";
    let (code, text) = w.run(&["sh", "-c", script], more).await;
    assert_eq!(code, 0);
    assert!(
        host.is_dir() && text.contains("Read-only file system"),
        "{text}"
    );
    assert_eq!(text.matches("size=1024k").count(), 2, "{text}");
    let missing = json!({"HostConfig": {"Mounts": [{"Type": "bind", "Source": "/no/such", "Target": "/mnt"}]}});
    let refused = w
        .try_create(None, &["true"], missing)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        refused,
        "invalid mount config for type \"bind\": bind source path does not exist: /no/such"
    );
}
