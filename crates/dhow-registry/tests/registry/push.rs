//! Distribution specification, "Push": blobs.

use crate::support::{TestRegistry, files, noise, sha512};
use dhow_oci::Digest;
use dhow_registry::{FilesystemLimits, RegistryConfig};
use futures_util::stream;
use http::{Method, Request};
use http_body::Frame;
use http_body_util::StreamBody;

fn with_digest(location: &str, digest: &Digest) -> String {
    format!("{location}?digest={digest}")
}

#[tokio::test]
async fn a_blob_is_pushed_in_one_request() {
    let registry = TestRegistry::start().await;
    let bytes = noise(1, 500_000);
    for digest in [Digest::sha256(&bytes), sha512(&bytes)] {
        let path = format!("/v2/a/blobs/uploads/?digest={digest}");
        let answer = registry
            .ask(Method::POST, &path)
            .body(bytes.clone())
            .send()
            .await
            .expect(201, "");
        assert_eq!(answer.header("location"), format!("/v2/a/blobs/{digest}"));
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        registry.holds(answer.header("location"), &bytes).await;
    }
}

#[tokio::test]
async fn a_blob_is_pushed_in_two_requests() {
    let registry = TestRegistry::start().await;
    let bytes = noise(2, 500_000);
    for digest in [Digest::sha256(&bytes), sha512(&bytes)] {
        let location = registry.begin("a").await;
        let path = with_digest(&location, &digest);
        let answer = registry
            .ask(Method::PUT, &path)
            .body(bytes.clone())
            .send()
            .await
            .expect(201, "");
        registry.holds(answer.header("location"), &bytes).await;
        // The upload is over.
        registry
            .get(&location)
            .await
            .expect(404, "BLOB_UPLOAD_UNKNOWN");
        registry
            .ask(Method::PUT, &path)
            .send()
            .await
            .expect(404, "BLOB_UPLOAD_UNKNOWN");
    }
    assert!(
        std::fs::read_dir(registry.root.path().join("uploads"))
            .unwrap()
            .next()
            .is_none()
    );
}

#[tokio::test]
async fn a_blob_is_pushed_in_chunks() {
    let registry = TestRegistry::start().await;
    let bytes = noise(3, 300_000);
    for (algorithm, digest) in [
        ("sha256", Digest::sha256(&bytes)),
        ("sha512", sha512(&bytes)),
    ] {
        let path = format!("/v2/a/blobs/uploads/?digest-algorithm={algorithm}");
        let mut location = registry
            .ask(Method::POST, &path)
            .send()
            .await
            .expect(202, "")
            .header("location")
            .to_owned();
        for start in [0, 100_000] {
            let answer = registry
                .ask(Method::PATCH, &location)
                .header("content-range", format!("{start}-{}", start + 99_999))
                .body(bytes[start..start + 100_000].to_vec())
                .send()
                .await
                .expect(202, "");
            assert_eq!(answer.header("range"), format!("0-{}", start + 99_999));
            location = answer.header("location").to_owned();
            let status = registry.get(&location).await.expect(204, "");
            assert_eq!(status.header("range"), format!("0-{}", start + 99_999));
        }
        let answer = registry
            .ask(Method::PUT, &with_digest(&location, &digest))
            .header("content-range", "200000-299999")
            .body(bytes[200_000..].to_vec())
            .send()
            .await
            .expect(201, "");
        registry.holds(answer.header("location"), &bytes).await;
    }
}

#[tokio::test]
async fn chunks_come_in_order() {
    let registry = TestRegistry::start().await;
    let location = registry.begin("a").await;
    let patch = |range: &'static str, body: &'static str| {
        registry
            .ask(Method::PATCH, &location)
            .header("content-range", range)
            .body(body)
            .send()
    };
    patch("0-3", "0123").await.expect(202, "");
    for (range, body) in [("0-3", "0123"), ("5-6", "56"), ("2-5", "2345")] {
        let answer = patch(range, body).await.expect(416, "BLOB_UPLOAD_INVALID");
        assert_eq!(answer.header("range"), "0-3");
        assert_eq!(answer.header("location"), location);
    }
    let digest = Digest::sha256(b"01234567");
    registry
        .ask(Method::PUT, &with_digest(&location, &digest))
        .header("content-range", "9-9")
        .body("9")
        .send()
        .await
        .expect(416, "BLOB_UPLOAD_INVALID");
    patch("4-6", "4567").await.expect(400, "SIZE_INVALID");
    patch("a-b", "4567")
        .await
        .expect(400, "BLOB_UPLOAD_INVALID");
    // None of that has done any harm.
    patch("4-7", "4567").await.expect(202, "");
    registry.finish(&with_digest(&location, &digest)).await;
}

#[tokio::test]
async fn a_blob_is_pushed_as_a_stream() {
    let registry = TestRegistry::start().await;
    let location = registry.begin("a").await;
    let pieces: Vec<_> = (0..100).map(|i| noise(i, 10_000)).collect();
    let bytes = pieces.concat();
    let frames = pieces
        .into_iter()
        .map(|piece| Ok::<_, std::io::Error>(Frame::data(piece.into())));
    let request = Request::patch(registry.url(&location))
        .body(StreamBody::new(stream::iter(frames)))
        .unwrap();
    let answer = registry.send(request).await.expect(202, "");
    assert_eq!(answer.header("range"), "0-999999");
    let digest = Digest::sha256(&bytes);
    let path = with_digest(answer.header("location"), &digest);
    registry.finish(&path).await;
    registry
        .holds(&format!("/v2/a/blobs/{digest}"), &bytes)
        .await;
}

#[tokio::test]
async fn an_empty_blob_is_a_blob() {
    let registry = TestRegistry::start().await;
    let digest = registry.push("a", "").await;
    let answer = registry
        .get(&format!("/v2/a/blobs/{digest}"))
        .await
        .expect(200, "");
    assert_eq!(answer.header("content-length"), "0");
    let location = registry.begin("b").await;
    registry.finish(&with_digest(&location, &digest)).await;
}

#[tokio::test]
async fn a_wrong_digest_leaves_nothing() {
    let registry = TestRegistry::start().await;
    let before = files(registry.root.path());
    let wrong = Digest::sha256(b"something else");
    let path = format!("/v2/a/blobs/uploads/?digest={wrong}");
    registry
        .ask(Method::POST, &path)
        .body("content")
        .send()
        .await
        .expect(400, "DIGEST_INVALID");
    let location = registry.begin("a").await;
    let put = registry
        .ask(Method::PUT, &with_digest(&location, &wrong))
        .body("content");
    let answer = put.send().await.expect(400, "DIGEST_INVALID");
    assert_eq!(
        answer.json()["errors"][0]["detail"]["actual"],
        Digest::sha256(b"content").to_string()
    );
    registry
        .get(&location)
        .await
        .expect(404, "BLOB_UPLOAD_UNKNOWN");
    registry
        .get(&format!("/v2/a/blobs/{wrong}"))
        .await
        .expect(404, "BLOB_UNKNOWN");
    assert_eq!(files(registry.root.path()), before);
    for bad in [
        "sha256:xyz",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "sha256",
    ] {
        let path = format!("/v2/a/blobs/uploads/?digest={bad}");
        registry
            .ask(Method::POST, &path)
            .body("content")
            .send()
            .await
            .expect(400, "DIGEST_INVALID");
    }
    let location = registry.begin("a").await;
    registry
        .ask(Method::PUT, &location)
        .body("content")
        .send()
        .await
        .expect(400, "BLOB_UPLOAD_INVALID");
    let path = "/v2/a/blobs/uploads/?digest-algorithm=md5";
    registry
        .ask(Method::POST, path)
        .send()
        .await
        .expect(400, "DIGEST_INVALID");
}

#[tokio::test]
async fn an_upload_is_cancelled() {
    let registry = TestRegistry::start().await;
    let location = registry.begin("a").await;
    registry
        .ask(Method::PATCH, &location)
        .body("content")
        .send()
        .await
        .expect(202, "");
    registry.delete(&location).await.expect(204, "");
    registry
        .delete(&location)
        .await
        .expect(404, "BLOB_UPLOAD_UNKNOWN");
    registry
        .get(&location)
        .await
        .expect(404, "BLOB_UPLOAD_UNKNOWN");
    assert!(
        std::fs::read_dir(registry.root.path().join("uploads"))
            .unwrap()
            .next()
            .is_none()
    );
}

#[tokio::test]
async fn a_blob_is_mounted_from_another_repository() {
    let registry = TestRegistry::start().await;
    let digest = registry.push("a", "shared").await;
    let mount = |to: &str, from: &str| {
        let path = format!("/v2/{to}/blobs/uploads/?mount={digest}{from}");
        let asking = registry.ask(Method::POST, &path);
        asking.send()
    };
    let answer = mount("b", "&from=a").await.expect(201, "");
    assert_eq!(answer.header("location"), format!("/v2/b/blobs/{digest}"));
    assert_eq!(
        registry
            .get(answer.header("location"))
            .await
            .expect(200, "")
            .body,
        "shared"
    );
    mount("c", "").await.expect(201, "");
    registry
        .get(&format!("/v2/c/blobs/{digest}"))
        .await
        .expect(200, "");
    // Where it can't be mounted, an upload begins.
    let answer = mount("d", "&from=nowhere").await.expect(202, "");
    registry
        .get(&format!("/v2/d/blobs/{digest}"))
        .await
        .expect(404, "BLOB_UNKNOWN");
    let path = with_digest(answer.header("location"), &digest);
    registry
        .ask(Method::PUT, &path)
        .body("shared")
        .send()
        .await
        .expect(201, "");
    mount("e", "&from=../a").await.expect(400, "NAME_INVALID");
    // One copy serves them all.
    let copies: Vec<_> = files(registry.root.path())
        .into_iter()
        .filter(|f| f.starts_with("blobs/"))
        .collect();
    assert_eq!(copies.len(), 1);
}

#[tokio::test]
async fn the_same_blob_may_be_pushed_many_times_at_once() {
    let registry = std::sync::Arc::new(TestRegistry::start().await);
    let bytes = noise(7, 2_000_000);
    let tasks: Vec<_> = (0..16)
        .map(|i| {
            let (registry, bytes) = (registry.clone(), bytes.clone());
            tokio::spawn(async move { registry.push(&format!("r{}", i % 4), bytes).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let digest = Digest::sha256(&bytes);
    for i in 0..4 {
        registry
            .holds(&format!("/v2/r{i}/blobs/{digest}"), &bytes)
            .await;
    }
    assert!(
        std::fs::read_dir(registry.root.path().join("uploads"))
            .unwrap()
            .next()
            .is_none()
    );
}

#[tokio::test]
async fn open_uploads_are_bounded() {
    let limits = FilesystemLimits {
        uploads: 3,
        ..FilesystemLimits::default()
    };
    let registry = TestRegistry::on(
        tempfile::tempdir().unwrap(),
        RegistryConfig::default(),
        limits,
    )
    .await;
    let first = registry.begin("a").await;
    registry.begin("a").await;
    registry.begin("b").await;
    let refused = registry
        .ask(Method::POST, "/v2/a/blobs/uploads/")
        .send()
        .await;
    refused.expect(429, "TOOMANYREQUESTS").header("retry-after");
    registry.delete(&first).await.expect(204, "");
    registry.begin("a").await;
}
