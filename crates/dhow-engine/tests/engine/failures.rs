//! What goes wrong in a first hour, and that nothing is left half made.

use std::sync::Arc;

use dhow_engine::EngineError;
use serde_json::{Value, json};

use crate::world::World;

pub async fn a_start_that_fails_leaves_nothing(w: Arc<World>) {
    let engine = w.engine();
    for (command, code, words) in [
        (
            "nope",
            127,
            "exec: \"nope\": executable file not found in $PATH",
        ),
        ("/etc/not-executable", 126, "permission denied"),
        ("/no/such/file", 127, "no such file or directory"),
    ] {
        let ports = json!({"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "4242"}]}}});
        let id = w.create(&[command], ports).await;
        let error = engine.containers().start(&id).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("failed to create task for container: "),
            "{text}"
        );
        assert!(text.contains(words), "{text}");
        assert!(
            matches!(error, EngineError::Start { exit_code, .. } if exit_code == code),
            "{text}"
        );
        let state = engine.containers().inspect(&id).unwrap().state;
        assert_eq!(
            (state.status.as_str(), state.exit_code),
            ("created", code.into())
        );
        assert!(state.error.contains(words), "{}", state.error);
    }
    // The port is free.
    let ports = json!({"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "4242"}]}}});
    let id = w.create(&["sleep", "100"], ports).await;
    w.start(&id).await;
}

pub async fn creation_errors(w: Arc<World>) {
    let error = |name: Option<&'static str>, more: Value| {
        let w = w.clone();
        async move {
            match w.try_create(name, &["true"], more).await {
                Err(e) => e.to_string(),
                Ok(id) => panic!("{id} was created"),
            }
        }
    };
    for (name, more, text) in [
        (
            Some("a b"),
            json!({}),
            "Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
        ),
        (
            None,
            json!({"Image": "nothing"}),
            "No such image: nothing:latest",
        ),
        (
            None,
            json!({"HostConfig": {"Memory": 1000}}),
            "Minimum memory limit allowed is 6MB",
        ),
        (
            None,
            json!({"Cmd": [], "Entrypoint": [""]}),
            "no command specified",
        ),
        (
            None,
            json!({"HostConfig": {"NetworkMode": "container:ghost"}}),
            "No such container: ghost",
        ),
        (
            None,
            json!({"HostConfig": {"VolumesFrom": ["ghost"]}}),
            "No such container: ghost",
        ),
    ] {
        let got = error(name, more).await;
        if text.starts_with("No such image") {
            assert!(got.starts_with("No such image: nothing"), "{got}");
        } else {
            assert_eq!(got, text);
        }
    }
    assert_eq!(
        std::fs::read_dir(w.data_root().join("containers"))
            .unwrap()
            .count(),
        0
    );
    // A name that was refused with its container is free.
    let id = w
        .try_create(
            Some("free"),
            &["true"],
            json!({"HostConfig": {"Memory": 1000}}),
        )
        .await;
    assert!(id.is_err());
    w.try_create(Some("free"), &["true"], json!({}))
        .await
        .unwrap();
    let id = w.create(&["true"], json!({"User": "ghost"})).await;
    let text = w
        .engine()
        .containers()
        .start(&id)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("unable to find user ghost: no matching entries in passwd file"),
        "{text}"
    );
}
