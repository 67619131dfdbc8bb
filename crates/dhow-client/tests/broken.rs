//! A daemon whose connection breaks: every stream ends, and says that it was the connection.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use dhow_api::Filters;
use dhow_client::{
    AttachOptions, Client, ClientConfig, Error, FrameReader, Host, LogsOptions, Result,
    WaitCondition,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

/// A daemon that reads a request, answers with these bytes, and is gone.
async fn daemon(listener: UnixListener, answer: Vec<u8>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0, "no request");
    }
    stream.write_all(&answer).await.unwrap();
}

fn client(socket: &Path) -> Client {
    Client::new(ClientConfig {
        host: Host::Unix(socket.to_owned()),
        tls: None,
        version: None,
        headers: Vec::new(),
        user_agent: "test".to_owned(),
    })
}

/// What a call says whose answer breaks off.
async fn broken<F>(what: &str, answer: Vec<u8>, call: impl FnOnce(Client) -> F) -> Error
where
    F: Future<Output = Result<()>>,
{
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let calls = async { tokio::join!(daemon(listener, answer), call(client(&socket))).1 };
    tokio::time::timeout(Duration::from_secs(30), calls)
        .await
        .unwrap_or_else(|_| panic!("{what} did not end with its connection"))
        .expect_err(what)
}

/// An answer in chunks, of which `body` is all that comes.
fn chunked(body: &[u8]) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let size = format!("{:x}\r\n", body.len());
    [head.as_bytes(), size.as_bytes(), body, b"\r\n"].concat()
}

fn upgraded(stream: &[u8]) -> Vec<u8> {
    let head = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
    [head.as_bytes(), stream].concat()
}

fn is_of_the_connection(what: &str, error: &Error) {
    let text = error.to_string();
    assert!(
        text.starts_with("the connection to the daemon failed: "),
        "{what}: {text}"
    );
}

/// Half of a frame: seven bytes are said to come, two do.
const HALF: &[u8] = b"\x01\0\0\0\0\0\0\x07he";

#[tokio::test]
async fn answers_break_off() {
    for (what, answer) in [
        ("no answer", Vec::new()),
        ("half a head", b"HTTP/1.1 200 O".to_vec()),
        (
            "half a body",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}".to_vec(),
        ),
    ] {
        let error = broken(what, answer, |client| async move {
            client.info().await.map(drop)
        })
        .await;
        is_of_the_connection(what, &error);
    }
}

#[tokio::test]
async fn messages_break_off() {
    for body in [&b"{}\n"[..], b"{}\n{\"Type\":"] {
        let error = broken("events", chunked(body), |client| async move {
            let mut events = client.events(None, None, &Filters::default()).await?;
            assert!(events.next().await?.is_some());
            events.next().await.map(drop)
        })
        .await;
        is_of_the_connection("events", &error);
    }
}

#[tokio::test]
async fn logs_break_off() {
    for tty in [false, true] {
        let error = broken("logs", chunked(HALF), |client| async move {
            let options = LogsOptions::default();
            let mut frames = client.container_logs("x", &options, tty).await?;
            assert!(frames.next().await?.is_some());
            frames.next().await.map(drop)
        })
        .await;
        is_of_the_connection("logs", &error);
    }
}

#[tokio::test]
async fn waits_break_off() {
    for answer in [
        chunked(b" "),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
    ] {
        let error = broken("wait", answer, |client| async move {
            let wait = client.container_wait("x", WaitCondition::NextExit).await?;
            wait.result().await.map(drop)
        })
        .await;
        is_of_the_connection("wait", &error);
    }
}

#[tokio::test]
async fn attachments_break_off() {
    let error = broken("attach", upgraded(HALF), |client| async move {
        let hijacked = client
            .container_attach("x", &AttachOptions::default())
            .await?;
        let mut frames = FrameReader::new(hijacked.reader, false);
        assert!(frames.next().await?.is_some());
        frames.next().await.map(drop)
    })
    .await;
    is_of_the_connection("attach", &error);
}

/// Where a stream has no end of its own, the connection's is its end: what has become of the process is
/// asked apart.
#[tokio::test]
async fn a_raw_attachment_ends() {
    let error = broken("attach", upgraded(b"hello"), |client| async move {
        let hijacked = client
            .container_attach("x", &AttachOptions::default())
            .await?;
        let mut frames = FrameReader::new(hijacked.reader, true);
        assert!(frames.next().await?.is_some());
        assert!(frames.next().await?.is_none());
        let mut writer = hijacked.writer;
        loop {
            writer.write(b"typed").await?;
        }
    })
    .await;
    is_of_the_connection("attach", &error);
}
