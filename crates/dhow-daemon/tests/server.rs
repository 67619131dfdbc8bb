//! The server over a real socket: version rules, errors, JSON bodies, and connections taken over.

use axum::Router;
use axum::routing::{get, post};
use dhow_daemon::error::ApiError;
use dhow_daemon::framing::Framing;
use dhow_daemon::hijack;
use dhow_daemon::json::{Json, JsonBody};
use dhow_daemon::relay::{self, End, Input};
use dhow_daemon::server::Server;
use dhow_daemon::version::Api;
use dhow_engine::{DetachKeys, DetachScanner};
use http::HeaderMap;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

/// A process that answers its input backwards when the input ends.
fn reverser() -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    tokio::spawn(async move {
        let mut theirs = theirs;
        theirs.write_all(b"begun ").await.unwrap();
        let mut input = Vec::new();
        theirs.read_to_end(&mut input).await.unwrap();
        input.reverse();
        theirs.write_all(&input).await.unwrap();
    });
    ours
}

fn router() -> Router {
    Router::new()
        .route(
            "/_ping",
            get(|Api(version): Api| async move { version.to_string() }),
        )
        .route(
            "/containers/create",
            post(|JsonBody(body): JsonBody<Value>| async move { Json(body) }),
        )
        .route(
            "/broken",
            get(|| async { ApiError::Internal("disk <full>".into()) }),
        )
        .route(
            "/containers/{id}/attach",
            post(
                |Api(api): Api, headers: HeaderMap, body: JsonBody<Value>| async move {
                    drop(body);
                    hijack::switch(&headers, api, true, |stream| async {
                        let gone = stream.hung_up();
                        relay::run(
                            stream,
                            reverser(),
                            Input::Forward,
                            Framing::Unchanged,
                            gone,
                            std::future::ready(()),
                        )
                        .await;
                    })
                },
            ),
        )
}

fn connect() -> (UnixStream, CancellationToken) {
    let (client, served) = UnixStream::pair().unwrap();
    let stop = CancellationToken::new();
    let server = Server::new(router(), stop.clone());
    tokio::spawn(async move { server.connection(Box::new(served)).await });
    (client, stop)
}

/// Sends all, ends sending, and returns all that comes back.
async fn exchange(request: &str) -> String {
    let (mut client, _stop) = connect();
    client.write_all(request.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}

/// One request on a connection that stays open until it is answered; status and body.
async fn request(head: &str, body: &str) -> (u16, String, String) {
    let (mut client, _stop) = connect();
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let text = format!("{head}\r\nHost: d\r\nConnection: close\r\n{length}\r\n{body}");
    client.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    let status = answer[9..12].parse().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn versions_are_taken_from_the_path_and_checked() {
    let (status, head, body) = request("GET /_ping HTTP/1.1", "").await;
    assert_eq!((status, body.as_str()), (200, "1.56"));
    for header in [
        "api-version: 1.56",
        "ostype: linux",
        "docker-experimental: false",
        "server: dhow/",
    ] {
        assert!(head.contains(header), "{head}");
    }
    let (_, _, body) = request("GET /v1.24/_ping HTTP/1.1", "").await;
    assert_eq!(body, "1.24");
    let (status, head, body) = request("GET /v1.23/_ping HTTP/1.1", "").await;
    assert_eq!(status, 400);
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(
        body,
        "{\"message\":\"client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version\"}\n"
    );
    let (status, _, body) = request("GET /v1.99/_ping HTTP/1.1", "").await;
    assert_eq!(status, 400);
    assert_eq!(
        body,
        "{\"message\":\"client version 1.99 is too new. Maximum supported API version is 1.56\"}\n"
    );
}

#[tokio::test]
async fn errors_are_json_with_a_sentence() {
    for line in [
        "GET /nowhere HTTP/1.1",
        "GET /v1.40/nowhere HTTP/1.1",
        "DELETE /_ping HTTP/1.1",
    ] {
        let (status, _, body) = request(line, "").await;
        assert_eq!(
            (status, body.as_str()),
            (404, "{\"message\":\"page not found\"}\n"),
            "{line}"
        );
    }
    let (status, _, body) = request("GET /broken HTTP/1.1", "").await;
    assert_eq!(
        (status, body.as_str()),
        (500, "{\"message\":\"disk <full>\"}\n")
    );
    let (status, _, _) = request("OPTIONS /containers/json HTTP/1.1", "").await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn bodies_follow_dockers_rules() {
    let json = "POST /containers/create HTTP/1.1\r\nContent-Type: application/json; charset=utf-8";
    let (status, _, body) = request(json, r#"{"Image":"x"}"#).await;
    assert_eq!((status, body.as_str()), (200, "{\"Image\":\"x\"}\n"));
    // No body needs no type; a body does.
    let (status, _, body) = request("POST /containers/create HTTP/1.1", "").await;
    assert_eq!((status, body.as_str()), (200, "null\n"));
    for (head, text, message) in [
        (
            "POST /containers/create HTTP/1.1",
            "{}",
            "malformed Content-Type header",
        ),
        (
            "POST /containers/create HTTP/1.1\r\nContent-Type: text/plain",
            "{}",
            "unsupported Content-Type header (text/plain): must be 'application/json'",
        ),
        (json, "{", "invalid JSON: unexpected EOF"),
        (
            json,
            "{\"a\":}",
            "invalid JSON: expected value at line 1 column 6",
        ),
        (
            json,
            "  ",
            "invalid JSON: got EOF while reading request body",
        ),
        (json, "{} {}", "unexpected content after JSON"),
    ] {
        let (status, _, body) = request(head, text).await;
        assert_eq!(status, 400, "{text}");
        let body: Value = serde_json::from_str(&body).unwrap();
        let found = body["message"].as_str().unwrap();
        assert!(found.contains(message), "{found}");
    }
}

const ATTACH: &str = "POST /v1.51/containers/c/attach?stream=1 HTTP/1.1\r\nHost: d\r\n";

#[tokio::test]
async fn a_connection_is_taken_over_with_and_without_an_upgrade() {
    let answer = exchange(&format!(
        "{ATTACH}Connection: Upgrade\r\nUpgrade: tcp\r\n\r\nabc"
    ))
    .await;
    assert_eq!(
        answer,
        "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nbegun cba"
    );
    // Any value will do, also without `Connection`.
    let answer = exchange(&format!("{ATTACH}Upgrade: anything\r\n\r\nabc")).await;
    assert!(answer.starts_with("HTTP/1.1 101 UPGRADED\r\n"), "{answer}");
    // Neither a length nor chunks.
    let answer = exchange(&format!("{ATTACH}\r\nabc")).await;
    assert_eq!(
        answer,
        "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nbegun cba"
    );
}

#[tokio::test]
async fn a_request_body_does_not_reach_the_process() {
    for upgrade in ["", "Upgrade: tcp\r\nConnection: Upgrade\r\n"] {
        let answer = exchange(&format!(
            "{ATTACH}{upgrade}Content-Type: application/json\r\nContent-Length: 16\r\n\r\n{{\"Detach\":false}}xy"
        ))
        .await;
        assert!(answer.ends_with("\r\n\r\nbegun yx"), "{answer}");
        let answer = exchange(&format!(
            "{ATTACH}{upgrade}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\nxy"
        ))
        .await;
        assert!(answer.ends_with("\r\n\r\nbegun yx"), "{answer}");
    }
}

#[tokio::test]
async fn the_end_of_sending_is_only_the_end_of_the_input() {
    for upgrade in ["", "Upgrade: tcp\r\nConnection: Upgrade\r\n"] {
        let (mut client, _stop) = connect();
        client
            .write_all(format!("{ATTACH}{upgrade}\r\n").as_bytes())
            .await
            .unwrap();
        let mut seen = String::new();
        while !seen.ends_with("begun ") {
            let mut buffer = [0; 512];
            let n = client.read(&mut buffer).await.unwrap();
            assert_ne!(n, 0, "{seen}");
            seen.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        }
        client.write_all(b"later").await.unwrap();
        client.shutdown().await.unwrap();
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "retal");
        // Also when it comes with the request, before the answer.
        let answer = exchange(&format!("{ATTACH}{upgrade}\r\n")).await;
        assert!(answer.ends_with("\r\n\r\nbegun "), "{answer}");
    }
}

#[tokio::test]
async fn a_stopping_server_ends_its_sessions() {
    let (mut client, stop) = connect();
    client
        .write_all(format!("{ATTACH}\r\n").as_bytes())
        .await
        .unwrap();
    let mut byte = [0];
    client.read_exact(&mut byte).await.unwrap();
    stop.cancel();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn large_output_arrives_whole_and_then_the_end() {
    let (mut client, served) = UnixStream::pair().unwrap();
    let (process, mut inside) = UnixStream::pair().unwrap();
    let session = tokio::spawn(relay::run(
        served,
        process,
        Input::Discard,
        Framing::Unchanged,
        std::future::pending(),
        std::future::ready(()),
    ));
    let writer = tokio::spawn(async move {
        let chunk: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        for _ in 0..100 {
            inside.write_all(&chunk).await.unwrap();
        }
    });
    client.write_all(b"nobody reads this").await.unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    assert_eq!(all.len(), 10_000_000);
    assert!(all.chunks(100_000).all(|c| c[0] == 0 && c[255] == 255));
    writer.await.unwrap();
    assert_eq!(session.await.unwrap(), End::Output);
}

#[tokio::test]
async fn the_detach_keys_end_the_session_and_not_the_process() {
    let (mut client, served) = UnixStream::pair().unwrap();
    let (process, mut inside) = UnixStream::pair().unwrap();
    let scanner = DetachScanner::new(DetachKeys::default());
    let session = tokio::spawn(relay::run(
        served,
        process,
        Input::Terminal(scanner),
        Framing::Unchanged,
        std::future::pending(),
        std::future::ready(()),
    ));
    client.write_all(b"ls\n\x10").await.unwrap();
    let mut typed = [0; 3];
    inside.read_exact(&mut typed).await.unwrap();
    client.write_all(b"\x11ignored").await.unwrap();
    assert_eq!(session.await.unwrap(), End::Detached);
    let mut rest = Vec::new();
    inside.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn a_client_that_vanishes_ends_the_session() {
    let (client, served) = UnixStream::pair().unwrap();
    let (process, mut inside) = UnixStream::pair().unwrap();
    let session = tokio::spawn(relay::run(
        served,
        process,
        Input::Forward,
        Framing::Unchanged,
        std::future::pending(),
        std::future::ready(()),
    ));
    drop(client);
    // Its end of sending looks like the end of the input; the first output finds out.
    inside.write_all(b"anyone?").await.unwrap();
    assert_eq!(session.await.unwrap(), End::Client);
}

#[tokio::test]
async fn a_client_that_vanishes_is_missed_although_the_process_says_nothing() {
    let (client, served) = UnixStream::pair().unwrap();
    let (process, inside) = UnixStream::pair().unwrap();
    let (gone, told) = tokio::sync::oneshot::channel();
    // The session's own view of the socket, as a route has it.
    let process = std::sync::Mutex::new(Some((process, gone)));
    let process: &'static _ = Box::leak(Box::new(process));
    let router = Router::new().route(
        "/containers/{id}/attach",
        post(move |headers: HeaderMap| async move {
            let taken = process.lock().unwrap().take();
            hijack::switch(&headers, dhow_api::ApiVersion::MAX, true, |stream| async {
                let (process, gone) = taken.unwrap();
                let hung_up = stream.hung_up();
                let end = relay::run(
                    stream,
                    process,
                    Input::Forward,
                    Framing::Unchanged,
                    hung_up,
                    std::future::ready(()),
                )
                .await;
                gone.send(end).unwrap();
            })
        }),
    );
    let server = Server::new(router, CancellationToken::new());
    tokio::spawn(async move { server.connection(Box::new(served)).await });
    let mut client = client;
    client
        .write_all(format!("{ATTACH}\r\n").as_bytes())
        .await
        .unwrap();
    client.read_exact(&mut [0; 15]).await.unwrap();
    // Done with sending is not gone.
    client.shutdown().await.unwrap();
    tokio::task::yield_now().await;
    drop(client);
    assert_eq!(told.await.unwrap(), End::Client);
    drop(inside);
}
