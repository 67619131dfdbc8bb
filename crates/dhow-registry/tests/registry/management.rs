//! Distribution specification, "Content Management".

use crate::support::TestRegistry;
use dhow_oci::Digest;

#[tokio::test]
async fn a_tag_is_deleted_and_its_manifest_stays() {
    let registry = TestRegistry::start().await;
    let (digest, _) = registry.push_image("a", "v1", "layer").await;
    registry.delete("/v2/a/manifests/v1").await.expect(202, "");
    registry
        .get("/v2/a/manifests/v1")
        .await
        .expect(404, "MANIFEST_UNKNOWN");
    registry
        .delete("/v2/a/manifests/v1")
        .await
        .expect(404, "MANIFEST_UNKNOWN");
    registry
        .get(&format!("/v2/a/manifests/{digest}"))
        .await
        .expect(200, "");
}

#[tokio::test]
async fn a_manifest_is_deleted_with_its_tags() {
    let registry = TestRegistry::start().await;
    let (digest, manifest) = registry.push_image("a", "v1", "layer").await;
    registry.push_image("a", "v1-too", "layer").await;
    registry.push_image("a", "other", "other layer").await;
    let path = format!("/v2/a/manifests/{digest}");
    registry.delete(&path).await.expect(202, "");
    for gone in ["v1", "v1-too", &digest.to_string()] {
        registry
            .get(&format!("/v2/a/manifests/{gone}"))
            .await
            .expect(404, "MANIFEST_UNKNOWN");
    }
    assert_eq!(
        registry.get("/v2/a/tags/list").await.json()["tags"],
        serde_json::json!(["other"])
    );
    registry.delete(&path).await.expect(404, "MANIFEST_UNKNOWN");
    // Pushed again, it doesn't bring back its tags.
    registry
        .put_manifest(&path, crate::support::OCI_IMAGE, manifest)
        .await
        .expect(201, "");
    registry
        .get("/v2/a/manifests/v1")
        .await
        .expect(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn a_blob_is_deleted_from_one_repository() {
    let registry = TestRegistry::start().await;
    let digest = registry.push("a", "blob").await;
    registry.push("b", "blob").await;
    let path = format!("/v2/a/blobs/{digest}");
    registry.delete(&path).await.expect(202, "");
    registry.get(&path).await.expect(404, "BLOB_UNKNOWN");
    registry.delete(&path).await.expect(404, "BLOB_UNKNOWN");
    registry
        .get(&format!("/v2/b/blobs/{digest}"))
        .await
        .expect(200, "");
    registry.push("a", "blob").await;
    registry.get(&path).await.expect(200, "");
}

#[tokio::test]
async fn what_never_was_cannot_be_deleted() {
    let registry = TestRegistry::start().await;
    let digest = Digest::sha256(b"nothing");
    registry
        .delete(&format!("/v2/a/manifests/{digest}"))
        .await
        .expect(404, "MANIFEST_UNKNOWN");
    registry
        .delete(&format!("/v2/a/blobs/{digest}"))
        .await
        .expect(404, "BLOB_UNKNOWN");
    registry
        .delete("/v2/a/manifests/latest")
        .await
        .expect(404, "MANIFEST_UNKNOWN");
}
