//! Distribution specification, "Pull".

use crate::support::{TestRegistry, noise};
use http::Method;

#[tokio::test]
async fn the_base_tells_what_this_is() {
    let registry = TestRegistry::start().await;
    for path in ["/v2/", "/v2"] {
        let answer = registry.get(path).await.expect(200, "");
        assert_eq!(
            answer.header("docker-distribution-api-version"),
            "registry/2.0"
        );
    }
    registry.get("/").await.expect(404, "NOT_FOUND");
    registry.get("/v1/").await.expect(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_blob_is_pulled_whole() {
    let registry = TestRegistry::start().await;
    let bytes = noise(1, 1_000_003);
    let digest = registry.push("a/b", bytes.clone()).await;
    let path = format!("/v2/a/b/blobs/{digest}");
    let answer = registry.get(&path).await.expect(200, "");
    assert_eq!(answer.body, bytes);
    assert_eq!(answer.header("content-length"), "1000003");
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    assert_eq!(answer.header("accept-ranges"), "bytes");
    let answer = registry.head(&path).await.expect(200, "");
    assert_eq!(answer.header("content-length"), "1000003");
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    assert!(answer.body.is_empty());
    // A client that encodes the colon means the same blob.
    registry
        .get(&path.replace("sha256:", "sha256%3A"))
        .await
        .expect(200, "");
}

#[tokio::test]
async fn a_blob_is_pulled_in_parts() {
    let registry = TestRegistry::start().await;
    let bytes = noise(2, 300_000);
    let digest = registry.push("a", bytes.clone()).await;
    let path = format!("/v2/a/blobs/{digest}");
    let part = |range: &str| {
        registry
            .ask(Method::GET, &path)
            .header("range", range)
            .send()
    };
    for (range, expected) in [
        ("bytes=0-0", 0..1),
        ("bytes=131071-131073", 131_071..131_074),
        ("bytes=299999-", 299_999..300_000),
        ("bytes=-10", 299_990..300_000),
        ("bytes=1000-9999999", 1000..300_000),
    ] {
        let answer = part(range).await.expect(206, "");
        assert_eq!(answer.body, bytes[expected.clone()], "{range}");
        let content_range = format!("bytes {}-{}/300000", expected.start, expected.end - 1);
        assert_eq!(answer.header("content-range"), content_range);
        assert_eq!(answer.header("content-length"), expected.len().to_string());
    }
    for range in ["bytes=300000-", "bytes=5-1", "bytes=-0", "bytes=x"] {
        let answer = part(range).await.expect(416, "");
        assert_eq!(answer.header("content-range"), "bytes */300000", "{range}");
    }
    part("lines=1-2").await.expect(200, "");
}

#[tokio::test]
async fn several_parts_come_in_one_answer() {
    let registry = TestRegistry::start().await;
    let bytes = noise(3, 1000);
    let digest = registry.push("a", bytes.clone()).await;
    let answer = registry
        .ask(Method::GET, &format!("/v2/a/blobs/{digest}"))
        .header("range", "bytes=0-9,500-519,-5")
        .send()
        .await
        .expect(206, "");
    let boundary = answer
        .header("content-type")
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let mut expected = Vec::new();
    for (i, part) in [0..10, 500..520, 995..1000].into_iter().enumerate() {
        let line = if i == 0 { "" } else { "\r\n" };
        let range = format!("bytes {}-{}/1000", part.start, part.end - 1);
        expected.extend(
            format!(
                "{line}--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: {range}\r\n\r\n"
            )
            .bytes(),
        );
        expected.extend(&bytes[part]);
    }
    expected.extend(format!("\r\n--{boundary}--\r\n").bytes());
    assert_eq!(answer.body, expected);
    assert_eq!(answer.header("content-length"), expected.len().to_string());
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let registry = TestRegistry::start().await;
    let (digest, _) = registry.push_image("a", "latest", "layer").await;
    for path in [
        "/v2/a/manifests/latest".to_owned(),
        format!("/v2/a/manifests/{digest}"),
    ] {
        let etag = registry.get(&path).await.header("etag").to_owned();
        let again = registry
            .ask(Method::GET, &path)
            .header("if-none-match", &etag)
            .send()
            .await;
        assert!(again.expect(304, "").body.is_empty());
        registry
            .ask(Method::GET, &path)
            .header("if-none-match", "\"other\"")
            .send()
            .await
            .expect(200, "");
    }
    let blob = registry.push("a", "0123456789").await;
    let path = format!("/v2/a/blobs/{blob}");
    let resume = |tag: String| {
        registry
            .ask(Method::GET, &path)
            .header("range", "bytes=5-")
            .header("if-range", tag)
            .send()
    };
    assert_eq!(
        resume(format!("\"{blob}\"")).await.expect(206, "").body,
        "56789"
    );
    assert_eq!(
        resume("\"other\"".to_owned()).await.expect(200, "").body,
        "0123456789"
    );
}

#[tokio::test]
async fn a_manifest_is_pulled_by_tag_and_digest() {
    let registry = TestRegistry::start().await;
    let (digest, manifest) = registry.push_image("lib/a", "v1", "layer").await;
    for reference in ["v1".to_owned(), digest.to_string()] {
        let path = format!("/v2/lib/a/manifests/{reference}");
        let answer = registry.get(&path).await.expect(200, "");
        assert_eq!(answer.body, manifest, "byte for byte as it was pushed");
        assert_eq!(answer.header("content-type"), crate::support::OCI_IMAGE);
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        let answer = registry.head(&path).await.expect(200, "");
        assert_eq!(answer.header("content-length"), manifest.len().to_string());
        assert_eq!(answer.header("content-type"), crate::support::OCI_IMAGE);
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let registry = TestRegistry::start().await;
    let (digest, _) = registry.push_image("a", "latest", "layer").await;
    let blob = registry.push("a", "blob").await;
    registry
        .get("/v2/a/manifests/other")
        .await
        .expect(404, "MANIFEST_UNKNOWN");
    registry
        .get("/v2/b/manifests/latest")
        .await
        .expect(404, "MANIFEST_UNKNOWN");
    // Content is shared, access to it is not.
    registry
        .get(&format!("/v2/b/manifests/{digest}"))
        .await
        .expect(404, "MANIFEST_UNKNOWN");
    registry
        .get(&format!("/v2/b/blobs/{blob}"))
        .await
        .expect(404, "BLOB_UNKNOWN");
    registry
        .head(&format!("/v2/b/blobs/{blob}"))
        .await
        .expect(404, "");
    // A manifest is not a blob of its repository.
    registry
        .get(&format!("/v2/a/blobs/{digest}"))
        .await
        .expect(404, "BLOB_UNKNOWN");
}
