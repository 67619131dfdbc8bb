//! Distribution specification, "Pushing Manifests".

use crate::support::{
    DOCKER_IMAGE, DOCKER_LIST, OCI_IMAGE, OCI_INDEX, TestRegistry, image, sha512,
};
use dhow_oci::Digest;
use dhow_registry::{FilesystemLimits, RegistryConfig};
use http::Method;
use serde_json::json;

#[tokio::test]
async fn a_manifest_is_pushed_by_tag_and_by_digest() {
    let registry = TestRegistry::start().await;
    let config = registry.push("a", "{}").await;
    let manifest = image(&config, &[]).to_string();
    let digest = Digest::sha256(manifest.as_bytes());
    let answer = registry
        .put_manifest("/v2/a/manifests/v1", OCI_IMAGE, manifest.clone())
        .await
        .expect(201, "");
    assert_eq!(
        answer.header("location"),
        format!("/v2/a/manifests/{digest}")
    );
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    let strong = sha512(manifest.as_bytes());
    let path = format!("/v2/a/manifests/{strong}");
    let answer = registry
        .put_manifest(&path, OCI_IMAGE, manifest.clone())
        .await
        .expect(201, "");
    assert_eq!(answer.header("docker-content-digest"), strong.to_string());
    registry.holds(&path, manifest.as_bytes()).await;
    let wrong = Digest::sha256(b"other");
    let path = format!("/v2/a/manifests/{wrong}");
    registry
        .put_manifest(&path, OCI_IMAGE, manifest)
        .await
        .expect(400, "DIGEST_INVALID");
}

#[tokio::test]
async fn a_push_by_digest_may_set_tags() {
    let registry = TestRegistry::start().await;
    let config = registry.push("a", "{}").await;
    let manifest = image(&config, &[]).to_string();
    let digest = sha512(manifest.as_bytes());
    let path = format!("/v2/a/manifests/{digest}?tag=1.2.3&tag=1.2&tag=latest");
    let answer = registry
        .put_manifest(&path, OCI_IMAGE, manifest.clone())
        .await
        .expect(201, "");
    let tags: Vec<_> = answer
        .headers
        .get_all("oci-tag")
        .iter()
        .map(|v| v.to_str().unwrap())
        .collect();
    assert_eq!(tags, ["1.2.3", "1.2", "latest"]);
    for tag in tags {
        let answer = registry
            .get(&format!("/v2/a/manifests/{tag}"))
            .await
            .expect(200, "");
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    }
    let path = format!("/v2/a/manifests/{digest}?tag=ok&tag=..");
    registry
        .put_manifest(&path, OCI_IMAGE, manifest.clone())
        .await
        .expect(400, "TAG_INVALID");
    registry.get("/v2/a/manifests/ok").await.expect(404, "");
    let many = "tag=t&".repeat(101);
    let path = format!("/v2/a/manifests/{digest}?{many}");
    registry
        .put_manifest(&path, OCI_IMAGE, manifest)
        .await
        .expect(414, "UNSUPPORTED");
}

#[tokio::test]
async fn dockers_manifests_are_served_as_such() {
    let registry = TestRegistry::start().await;
    let config = registry.push("a", "{}").await;
    let mut manifest = image(&config, &[]);
    manifest["mediaType"] = json!(DOCKER_IMAGE);
    let manifest = manifest.to_string();
    let digest = Digest::sha256(manifest.as_bytes());
    registry
        .put_manifest(&format!("/v2/a/manifests/{digest}"), DOCKER_IMAGE, manifest)
        .await
        .expect(201, "");
    let list = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [
        {"mediaType": DOCKER_IMAGE, "digest": digest, "size": 1, "platform": {"os": "linux", "architecture": "amd64"}},
    ]});
    registry
        .put_manifest("/v2/a/manifests/list", DOCKER_LIST, list.to_string())
        .await
        .expect(201, "");
    assert_eq!(
        registry
            .get("/v2/a/manifests/list")
            .await
            .header("content-type"),
        DOCKER_LIST
    );
    let answer = registry.get(&format!("/v2/a/manifests/{digest}")).await;
    assert_eq!(answer.header("content-type"), DOCKER_IMAGE);
}

#[tokio::test]
async fn what_a_manifest_needs_must_be_there() {
    let registry = TestRegistry::start().await;
    let here = registry.push("a", "{}").await;
    let elsewhere = registry.push("b", "other").await;
    let nowhere = Digest::sha256(b"nowhere");
    let manifest = image(&here, &[elsewhere.clone(), nowhere.clone()]).to_string();
    let answer = registry
        .put_manifest("/v2/a/manifests/v1", OCI_IMAGE, manifest)
        .await;
    let answer = answer.expect(400, "MANIFEST_BLOB_UNKNOWN");
    let missing: Vec<_> = answer.json()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["detail"]["digest"].clone())
        .collect();
    assert_eq!(missing, [json!(elsewhere), json!(nowhere)]);
    registry
        .get("/v2/a/manifests/v1")
        .await
        .expect(404, "MANIFEST_UNKNOWN");

    let index = json!({"schemaVersion": 2, "manifests": [{"mediaType": OCI_IMAGE, "digest": nowhere, "size": 1}]});
    let answer = registry
        .put_manifest("/v2/a/manifests/v1", OCI_INDEX, index.to_string())
        .await;
    answer.expect(400, "MANIFEST_BLOB_UNKNOWN");
    // A blob is no child of an index, unless the index says that it is something else than a manifest.
    let index = json!({"schemaVersion": 2, "manifests": [{"mediaType": OCI_IMAGE, "digest": here, "size": 1}]});
    let answer = registry
        .put_manifest("/v2/a/manifests/v1", OCI_INDEX, index.to_string())
        .await;
    answer.expect(400, "MANIFEST_BLOB_UNKNOWN");
    let index = json!({"schemaVersion": 2, "manifests": [{"mediaType": "a/cache", "digest": here, "size": 1}]});
    registry
        .put_manifest("/v2/a/manifests/v1", OCI_INDEX, index.to_string())
        .await
        .expect(201, "");
    // Layers that by their type lie elsewhere are not asked for.
    let mut manifest = image(&here, std::slice::from_ref(&nowhere));
    manifest["layers"][0]["mediaType"] =
        json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    registry
        .put_manifest("/v2/a/manifests/v2", OCI_IMAGE, manifest.to_string())
        .await
        .expect(201, "");
}

#[tokio::test]
async fn a_partial_mirror_may_be_allowed() {
    let config = RegistryConfig {
        sparse: true,
        ..RegistryConfig::default()
    };
    let root = tempfile::tempdir().unwrap();
    let registry = TestRegistry::on(root, config, FilesystemLimits::default()).await;
    let manifest = image(&Digest::sha256(b"nowhere"), &[]).to_string();
    registry
        .put_manifest("/v2/a/manifests/v1", OCI_IMAGE, manifest)
        .await
        .expect(201, "");
}

#[tokio::test]
async fn what_is_no_manifest_is_refused() {
    let registry = TestRegistry::start().await;
    let config = registry.push("a", "{}").await;
    let valid = image(&config, &[]);
    let put = |media_type: &'static str, body: String| async {
        registry
            .put_manifest("/v2/a/manifests/v1", media_type, body)
            .await
            .expect(400, "MANIFEST_INVALID");
    };
    put(OCI_IMAGE, String::new()).await;
    put(OCI_IMAGE, "not json".to_owned()).await;
    put(OCI_IMAGE, "[".repeat(100_000)).await;
    put(OCI_INDEX, valid.to_string()).await;
    put(DOCKER_IMAGE, valid.to_string()).await;
    put("text/plain", valid.to_string()).await;
    put(
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        r#"{"schemaVersion":1}"#.to_owned(),
    )
    .await;
    registry
        .get("/v2/a/manifests/v1")
        .await
        .expect(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn a_manifest_has_at_most_four_mebibytes() {
    let registry = TestRegistry::start().await;
    let config = registry.push("a", "{}").await;
    let padded = |size: usize| {
        let mut manifest = image(&config, &[]);
        manifest["annotations"] = json!({"pad": ""});
        let short = manifest.to_string().len();
        manifest["annotations"] = json!({"pad": "x".repeat(size - short)});
        manifest.to_string()
    };
    let largest = padded(4 << 20);
    assert_eq!(largest.len(), 4 << 20);
    registry
        .put_manifest("/v2/a/manifests/v1", OCI_IMAGE, largest)
        .await
        .expect(201, "");
    let answer = registry
        .put_manifest("/v2/a/manifests/v2", OCI_IMAGE, padded((4 << 20) + 1))
        .await;
    answer.expect(413, "SIZE_INVALID");
    let answer = registry
        .put_manifest("/v2/a/manifests/v2", OCI_IMAGE, "x".repeat(12 << 20))
        .await;
    answer.expect(413, "SIZE_INVALID");
}

#[tokio::test]
async fn a_tag_moves_and_always_points_somewhere() {
    let registry = std::sync::Arc::new(TestRegistry::start().await);
    let config = registry.push("a", "{}").await;
    let manifests: Vec<_> = (0..8)
        .map(|i| {
            let mut manifest = image(&config, &[]);
            manifest["annotations"] = json!({"n": i.to_string()});
            manifest.to_string()
        })
        .collect();
    registry
        .put_manifest("/v2/a/manifests/t", OCI_IMAGE, manifests[0].clone())
        .await
        .expect(201, "");
    let tasks: Vec<_> = manifests
        .iter()
        .map(|manifest| {
            let (registry, manifest) = (registry.clone(), manifest.clone());
            tokio::spawn(async move {
                for _ in 0..10 {
                    let answer = registry
                        .put_manifest("/v2/a/manifests/t", OCI_IMAGE, manifest.clone())
                        .await;
                    answer.expect(201, "");
                    registry.get("/v2/a/manifests/t").await.expect(200, "");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let last = registry.get("/v2/a/manifests/t").await.expect(200, "").body;
    assert!(manifests.iter().any(|m| m.as_bytes() == &last[..]));
}

#[tokio::test]
async fn a_subject_is_acknowledged() {
    let registry = TestRegistry::start().await;
    let config = registry.push("a", "{}").await;
    let subject = Digest::sha256(b"not pushed yet");
    let mut manifest = image(&config, &[]);
    manifest["subject"] = json!({"mediaType": OCI_IMAGE, "digest": subject, "size": 5});
    let answer = registry
        .put_manifest("/v2/a/manifests/v1", OCI_IMAGE, manifest.to_string())
        .await
        .expect(201, "");
    assert_eq!(answer.header("oci-subject"), subject.to_string());
}

#[tokio::test]
async fn a_method_that_is_not_there_is_said_to_be_so() {
    let registry = TestRegistry::start().await;
    let answer = registry
        .ask(Method::POST, "/v2/a/manifests/v1")
        .send()
        .await
        .expect(405, "UNSUPPORTED");
    assert_eq!(answer.header("allow"), "GET, HEAD, PUT, DELETE");
    registry
        .ask(Method::PUT, "/v2/a/tags/list")
        .send()
        .await
        .expect(405, "UNSUPPORTED");
}
