//! Further processes.

use std::sync::Arc;

use dhow_api::{ExecCreateRequest, ExecStartRequest};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::world::{World, timeout, unframe, until};

fn request(value: Value) -> ExecCreateRequest {
    serde_json::from_value(value).unwrap()
}

pub async fn exec_has_output_exit_code_and_environment(w: Arc<World>) {
    let engine = w.engine();
    let id = w
        .create(&["sleep", "100"], json!({"Env": ["BASE=1"]}))
        .await;
    w.start(&id).await;
    let wanted = json!({"AttachStdout": true, "AttachStderr": true, "Env": ["MORE=2"], "WorkingDir": "/data",
        "User": "web", "Cmd": ["sh", "-c", "echo $BASE $MORE; pwd; id -u; exit 5"]});
    let exec = engine.execs().create(&id, request(wanted)).await.unwrap();
    assert!(!engine.execs().inspect(&exec).unwrap().running);
    assert_eq!(
        engine.containers().inspect(&id).unwrap().exec_ids.unwrap(),
        std::slice::from_ref(&exec)
    );
    let session = engine
        .execs()
        .start(&exec, ExecStartRequest::default())
        .await
        .unwrap()
        .unwrap();
    let mut bytes = Vec::new();
    timeout(session.stream.unwrap().read_to_end(&mut bytes))
        .await
        .unwrap();
    assert_eq!(unframe(&bytes).concat(), "1 2\n/data\n33\n");
    until("the exit code", || {
        engine.execs().inspect(&exec).unwrap().exit_code == Some(5)
    })
    .await;
    assert!(
        engine
            .execs()
            .start(&exec, ExecStartRequest::default())
            .await
            .is_err()
    );
    // Detached.
    let exec = engine
        .execs()
        .create(&id, request(json!({"Cmd": ["touch", "/tmp/done"]})))
        .await
        .unwrap();
    let detach = ExecStartRequest {
        detach: true,
        ..Default::default()
    };
    assert!(engine.execs().start(&exec, detach).await.unwrap().is_none());
    until("its end", || {
        engine.execs().inspect(&exec).unwrap().exit_code == Some(0)
    })
    .await;
}

pub async fn exec_errors(w: Arc<World>) {
    let engine = w.engine();
    let id = w.create(&["sleep", "100"], json!({})).await;
    let create = |value: Value| {
        let (engine, id) = (engine.clone(), id.clone());
        async move { engine.execs().create(&id, request(value)).await }
    };
    let text = create(json!({"Cmd": ["true"]}))
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(text, format!("container {id} is not running"));
    w.start(&id).await;
    let text = create(json!({})).await.unwrap_err().to_string();
    assert_eq!(text, "no exec command specified");
    let text = create(json!({"Cmd": ["true"], "User": "ghost"}))
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        text,
        "unable to find user ghost: no matching entries in passwd file"
    );
    let exec = create(json!({"Cmd": ["nope"], "AttachStdout": true}))
        .await
        .unwrap();
    let text = match engine
        .execs()
        .start(&exec, ExecStartRequest::default())
        .await
    {
        Err(e) => e.to_string(),
        Ok(_) => panic!("it started"),
    };
    assert!(
        text.contains("exec: \"nope\": executable file not found in $PATH"),
        "{text}"
    );
    assert_eq!(engine.execs().inspect(&exec).unwrap().exit_code, Some(127));
    engine.containers().pause(&id).await.unwrap();
    let text = create(json!({"Cmd": ["true"]}))
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        text,
        format!("container {id} is paused, unpause the container before exec")
    );
    engine.containers().unpause(&id).await.unwrap();
}
