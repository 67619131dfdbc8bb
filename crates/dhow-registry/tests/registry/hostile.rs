//! Clients that mean no good, and those that just fail.

use std::time::Duration;

use crate::support::{TestRegistry, files, noise};
use dhow_oci::Digest;
use dhow_registry::{FilesystemLimits, RegistryConfig};
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends raw bytes and returns what comes back until the server closes.
async fn raw(registry: &TestRegistry, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(registry.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset after an answer is an end, too.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn no_path_leads_out_of_the_root() {
    let registry = TestRegistry::start().await;
    let outside = registry
        .root
        .path()
        .parent()
        .unwrap()
        .join("dhow-registry-outside");
    std::fs::write(&outside, "secret").unwrap();
    let before = files(registry.root.path());
    let digest = Digest::sha256(b"x");
    let names = [
        "..",
        "../..",
        "a/../..",
        "%2e%2e",
        "a/%2e%2e/%2e%2e",
        "a%2f..%2f..",
        ".",
        "a//b",
        "_blobs",
        "a\\b",
    ];
    for name in names {
        for (method, path) in [
            ("GET", format!("/v2/{name}/manifests/latest")),
            ("GET", format!("/v2/{name}/blobs/{digest}")),
            ("GET", format!("/v2/{name}/tags/list")),
            ("PUT", format!("/v2/{name}/manifests/latest")),
            ("POST", format!("/v2/{name}/blobs/uploads/?digest={digest}")),
            ("DELETE", format!("/v2/{name}/manifests/latest")),
        ] {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
            );
            let answer = raw(&registry, request.as_bytes()).await;
            assert!(
                answer.starts_with("HTTP/1.1 4"),
                "{method} {path}: {answer}"
            );
        }
    }
    for last in [
        "..",
        "%2e%2e%2foutside",
        "../../../../dhow-registry-outside",
        "%2fetc%2fpasswd",
        "sha256:..%2f..%2fx",
    ] {
        for kind in ["manifests", "blobs", "blobs/uploads", "referrers"] {
            let request =
                format!("GET /v2/a/{kind}/{last} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let answer = raw(&registry, request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 4"), "{kind} {last}: {answer}");
            assert!(!answer.contains("secret"));
        }
    }
    std::fs::remove_file(outside).unwrap();
    assert_eq!(files(registry.root.path()), before);
}

#[tokio::test]
async fn an_upload_belongs_to_its_repository() {
    let registry = TestRegistry::start().await;
    let location = registry.begin("mine").await;
    let stolen = location.replace("/mine/", "/yours/");
    registry
        .get(&stolen)
        .await
        .expect(404, "BLOB_UPLOAD_UNKNOWN");
    registry
        .ask(Method::PATCH, &stolen)
        .body("x")
        .send()
        .await
        .expect(404, "BLOB_UPLOAD_UNKNOWN");
    registry
        .delete(&stolen)
        .await
        .expect(404, "BLOB_UPLOAD_UNKNOWN");
    registry.get(&location).await.expect(204, "");
    let guess = "/v2/mine/blobs/uploads/00000000-0000-4000-8000-000000000000";
    registry.get(guess).await.expect(404, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn a_broken_chunk_is_gone_on_with() {
    let registry = TestRegistry::start().await;
    let bytes = noise(1, 1_000_000);
    let location = registry.begin("a").await;
    {
        let mut stream = TcpStream::connect(registry.address).await.unwrap();
        let head =
            format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&bytes[..700_000]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    }
    let status = registry.get(&location).await.expect(204, "");
    let last: usize = status
        .header("range")
        .strip_prefix("0-")
        .unwrap()
        .parse()
        .unwrap();
    let start = if last == 0 { 0 } else { last + 1 };
    assert!(start <= 700_000);
    registry
        .ask(Method::PATCH, &location)
        .header("content-range", format!("{start}-999999"))
        .body(bytes[start..].to_vec())
        .send()
        .await
        .expect(202, "");
    let digest = Digest::sha256(&bytes);
    registry
        .finish(&format!("{location}?digest={digest}"))
        .await;
    registry
        .holds(&format!("/v2/a/blobs/{digest}"), &bytes)
        .await;
}

#[tokio::test]
async fn a_broken_push_leaves_nothing() {
    let registry = TestRegistry::start().await;
    let before = files(registry.root.path());
    let digest = Digest::sha256(&noise(2, 1_000_000));
    let head = format!(
        "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    );
    let mut stream = TcpStream::connect(registry.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&noise(2, 500_000)).await.unwrap();
    drop(stream);
    while files(registry.root.path()) != before {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    registry
        .get(&format!("/v2/a/blobs/{digest}"))
        .await
        .expect(404, "BLOB_UNKNOWN");
}

#[tokio::test]
async fn a_client_that_falls_silent_is_let_go() {
    let config = RegistryConfig {
        receive_timeout: Duration::from_millis(100),
        ..RegistryConfig::default()
    };
    let registry = TestRegistry::on(
        tempfile::tempdir().unwrap(),
        config,
        FilesystemLimits::default(),
    )
    .await;
    let location = registry.begin("a").await;
    let head = format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbegin");
    // It would wait forever if the server did not end it.
    let answer = raw(&registry, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    // What it had sent is there, and the upload is free.
    let status = registry.get(&location).await.expect(204, "");
    assert_eq!(status.header("range"), "0-4");
    registry.delete(&location).await.expect(204, "");
}

#[tokio::test]
async fn two_writers_never_mix() {
    let registry = TestRegistry::start().await;
    let location = registry.begin("a").await;
    let mut first = TcpStream::connect(registry.address).await.unwrap();
    let head = format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nfirst");
    first.write_all(head.as_bytes()).await.unwrap();
    // The second waits for the first, and then finds that its chunk doesn't fit.
    let second = registry
        .ask(Method::PATCH, &location)
        .header("content-range", "0-3")
        .body("2222")
        .send();
    let finish = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        first.write_all(b"-done").await.unwrap();
    };
    let (second, ()) = tokio::join!(second, finish);
    // Which of the two the server came to first is open; the bytes are of one of them alone or in a row.
    let digest = match second.status.as_u16() {
        416 => Digest::sha256(b"first-done"),
        202 => Digest::sha256(b"2222first-done"),
        other => panic!("{other}: {:?}", second.body),
    };
    let path = format!("{location}?digest={digest}");
    registry.finish(&path).await;
}

#[tokio::test]
async fn large_heads_are_refused() {
    let registry = TestRegistry::start().await;
    let head = format!(
        "GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n",
        "x".repeat(300_000)
    );
    let answer = raw(&registry, head.as_bytes()).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    let many: String = (0..200).map(|i| format!("X-{i}: y\r\n")).collect();
    let answer = raw(
        &registry,
        format!("GET /v2/ HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes(),
    )
    .await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    registry.get("/v2/").await.expect(200, "");
}

#[tokio::test]
async fn a_damaged_store_is_told_apart_from_a_missing_one() {
    let registry = TestRegistry::start().await;
    let (digest, _) = registry.push_image("a", "v1", "layer").await;
    let record = registry
        .root
        .path()
        .join(format!("repositories/a/_manifests/sha256/{}", digest.hex()));
    std::fs::write(record, "{").unwrap();
    let answer = registry
        .get("/v2/a/manifests/v1")
        .await
        .expect(500, "UNKNOWN");
    // Its insides are not the client's business.
    assert!(!String::from_utf8_lossy(&answer.body).contains("repositories"));
}
