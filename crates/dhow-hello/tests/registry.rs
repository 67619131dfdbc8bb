//! The image as a client of its in-process registry sees it.

use bytes::Bytes;
use dhow_oci::{Digest, Index, Manifest};
use dhow_registry::{MemoryStorage, Registry};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn ask(
    registry: &Registry<MemoryStorage>,
    method: Method,
    path: &str,
) -> (StatusCode, Bytes) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Empty::<Bytes>::new())
        .unwrap();
    let (parts, body) = registry.handle(request).await.into_parts();
    (parts.status, body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn every_platform_can_be_pulled() {
    let registry = dhow_hello::registry().unwrap();
    let base = "/v2/library/hello-world";
    let (status, index) = ask(&registry, Method::GET, &format!("{base}/manifests/latest")).await;
    assert_eq!(status, StatusCode::OK);
    let index: Index = serde_json::from_slice(&index).unwrap();
    for child in index.manifests {
        let (status, bytes) = ask(
            &registry,
            Method::GET,
            &format!("{base}/manifests/{}", child.digest),
        )
        .await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(Digest::sha256(&bytes), child.digest);
        let manifest: Manifest = serde_json::from_slice(&bytes).unwrap();
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            let (status, bytes) = ask(
                &registry,
                Method::GET,
                &format!("{base}/blobs/{}", blob.digest),
            )
            .await;
            assert_eq!((status, bytes.len() as u64), (StatusCode::OK, blob.size));
            assert_eq!(Digest::sha256(&bytes), blob.digest);
        }
    }
}

#[tokio::test]
async fn nothing_can_be_changed() {
    let registry = dhow_hello::registry().unwrap();
    let digest = Digest::sha256(b"");
    for (method, path) in [
        (
            Method::POST,
            "/v2/library/hello-world/blobs/uploads/".to_owned(),
        ),
        (
            Method::DELETE,
            "/v2/library/hello-world/manifests/latest".to_owned(),
        ),
        (
            Method::DELETE,
            format!("/v2/library/hello-world/blobs/{digest}"),
        ),
        (
            Method::POST,
            format!("/v2/a/blobs/uploads/?mount={digest}&from=library/hello-world"),
        ),
    ] {
        let (status, _) = ask(&registry, method, &path).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
    let (status, _) = ask(
        &registry,
        Method::GET,
        "/v2/library/hello-world/manifests/latest",
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = ask(
        &registry,
        Method::GET,
        "/v2/library/busybox/manifests/latest",
    )
    .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn it_is_served_over_a_pipe() {
    let (mut client, server) = tokio::io::duplex(4096);
    let serving = tokio::spawn(dhow_registry::serve_connection(
        server,
        dhow_hello::registry().unwrap(),
    ));
    let request = "GET /v2/ HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    serving.await.unwrap().unwrap();
}
