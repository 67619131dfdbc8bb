//! Input, output, logs.

use std::sync::Arc;

use dhow_engine::{AttachOptions, LogOptions};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{World, both, read_until, timeout, type_in, unframe};

fn everything() -> AttachOptions {
    AttachOptions {
        stdin: true,
        stdout: true,
        stderr: true,
        stream: true,
        ..AttachOptions::default()
    }
}

pub async fn attach_before_the_start(w: Arc<World>) {
    let id = w.create(&["sh", "-c", "echo first"], json!({})).await;
    let mut session = w
        .engine()
        .streams()
        .attach(&id, everything())
        .await
        .unwrap();
    w.start(&id).await;
    let mut bytes = Vec::new();
    timeout(session.stream.take().unwrap().read_to_end(&mut bytes))
        .await
        .unwrap();
    assert_eq!(bytes, b"\x01\0\0\0\0\0\0\x06first\n");
    assert_eq!(w.wait(&id).await, 0);
    // A client that comes later can have it replayed.
    let replay = AttachOptions {
        logs: true,
        stdout: true,
        ..AttachOptions::default()
    };
    let mut session = w.engine().streams().attach(&id, replay).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = session.replay.as_mut().unwrap().next().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(unframe(&bytes), ["first\n"]);
}

pub async fn standard_input(w: Arc<World>) {
    let id = w
        .create(
            &["wc", "-l"],
            json!({"OpenStdin": true, "StdinOnce": true, "AttachStdin": true}),
        )
        .await;
    let session = w
        .engine()
        .streams()
        .attach(&id, everything())
        .await
        .unwrap();
    let mut stream = session.stream.unwrap();
    w.start(&id).await;
    let text = "line\n".repeat(50_000);
    let (mut read, mut write) = stream.split();
    let mut bytes = Vec::new();
    timeout(async {
        tokio::join!(
            async {
                write.write_all(text.as_bytes()).await.unwrap();
                write.shutdown().await.unwrap();
            },
            async {
                read.read_to_end(&mut bytes).await.unwrap();
            }
        )
    })
    .await;
    assert_eq!(unframe(&bytes).concat().trim(), "50000");
    assert_eq!(w.wait(&id).await, 0);
}

pub async fn a_terminal(w: Arc<World>) {
    let tty = json!({"Tty": true, "OpenStdin": true, "HostConfig": {"ConsoleSize": [30, 90]}});
    let id = w.create(&["sh"], tty).await;
    let session = w
        .engine()
        .streams()
        .attach(&id, everything())
        .await
        .unwrap();
    assert!(session.tty && session.detach.is_some());
    let mut stream = session.stream.unwrap();
    w.start(&id).await;
    type_in(&mut stream, "stty size; echo $TERM\n").await;
    let seen = read_until(&mut stream, "xterm").await;
    assert!(seen.contains("30 90"), "{seen}");
    w.engine().streams().resize(&id, 40, 120).await.unwrap();
    type_in(&mut stream, "stty size\n").await;
    read_until(&mut stream, "40 120").await;
    // A client that goes leaves the process running, and another one finds it.
    drop(stream);
    let session = w
        .engine()
        .streams()
        .attach(&id, everything())
        .await
        .unwrap();
    let mut stream = session.stream.unwrap();
    type_in(&mut stream, "echo again; exit 4\n").await;
    let mut rest = Vec::new();
    timeout(stream.read_to_end(&mut rest)).await.unwrap();
    assert!(String::from_utf8_lossy(&rest).contains("again"));
    assert_eq!(w.wait(&id).await, 4);
}

pub async fn logs_select_and_follow(w: Arc<World>) {
    let script = "echo one; sleep 0.2; echo two >&2; sleep 0.2; echo three; sleep 0.2; echo four";
    let id = w.create(&["sh", "-c", script], json!({})).await;
    w.start(&id).await;
    let followed = w
        .logs(
            &id,
            LogOptions {
                follow: true,
                ..both()
            },
        )
        .await;
    assert_eq!(followed, ["one\n", "two\n", "three\n", "four\n"]);
    let errors = LogOptions {
        stderr: true,
        ..LogOptions::default()
    };
    assert_eq!(w.logs(&id, errors).await, ["two\n"]);
    let last = LogOptions {
        tail: Some(2),
        ..both()
    };
    assert_eq!(w.logs(&id, last.clone()).await, ["three\n", "four\n"]);
    let stamped = w
        .logs(
            &id,
            LogOptions {
                timestamps: true,
                ..last
            },
        )
        .await;
    assert!(stamped[1].ends_with("Z four\n"), "{stamped:?}");
    let silent = w
        .create(
            &["true"],
            json!({"HostConfig": {"LogConfig": {"Type": "none"}}}),
        )
        .await;
    let refused = w
        .engine()
        .streams()
        .logs(&silent, both())
        .unwrap_err()
        .to_string();
    assert_eq!(
        refused,
        "configured logging driver does not support reading"
    );
    // Rotation loses nothing that is kept.
    let small = json!({"HostConfig": {"LogConfig": {"Type": "json-file", "Config": {"max-size": "4k", "max-file": "100"}}}});
    let id = w.create(&["seq", "1", "1000"], small).await;
    w.start(&id).await;
    w.wait(&id).await;
    let text = w.logs(&id, both()).await.concat();
    assert_eq!(text.lines().count(), 1000);
    assert_eq!(text.lines().last(), Some("1000"));
}
