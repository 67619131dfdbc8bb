//! Distribution specification, "Content Discovery", and Docker's catalog.

use crate::support::{Answer, OCI_IMAGE, OCI_INDEX, TestRegistry, image};
use dhow_oci::Digest;
use serde_json::{Value, json};

/// The path in a `Link` header to the next page.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.headers.get("link")?.to_str().unwrap();
    let (path, relation) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
    assert_eq!(relation, "; rel=\"next\"");
    Some(path.to_owned())
}

#[tokio::test]
async fn tags_come_in_order_and_in_pages() {
    let registry = TestRegistry::start().await;
    registry
        .get("/v2/a/tags/list")
        .await
        .expect(404, "NAME_UNKNOWN");
    registry.push("a", "blob").await;
    assert_eq!(
        registry.get("/v2/a/tags/list").await.expect(200, "").json(),
        json!({"name": "a", "tags": []})
    );
    for tag in ["b", "B", "a", "1.0", "_x", "c"] {
        registry.push_image("a", tag, "layer").await;
    }
    let all = json!(["1.0", "B", "_x", "a", "b", "c"]);
    assert_eq!(registry.get("/v2/a/tags/list").await.json()["tags"], all);

    let mut path = "/v2/a/tags/list?n=4".to_owned();
    let mut seen = Vec::new();
    loop {
        let answer = registry.get(&path).await.expect(200, "");
        seen.extend(answer.json()["tags"].as_array().unwrap().clone());
        match next(&answer) {
            Some(next) => path = next,
            None => break,
        }
    }
    assert_eq!(Value::from(seen), all);
    let answer = registry.get("/v2/a/tags/list?n=6").await.expect(200, "");
    assert_eq!((answer.json()["tags"].clone(), next(&answer)), (all, None));
    let answer = registry.get("/v2/a/tags/list?n=0").await.expect(200, "");
    assert_eq!(
        (answer.json()["tags"].clone(), next(&answer)),
        (json!([]), None)
    );
    // The last one need not exist.
    assert_eq!(
        registry.get("/v2/a/tags/list?last=aa").await.json()["tags"],
        json!(["b", "c"])
    );
    for bad in ["n=-1", "n=x"] {
        let answer = registry.get(&format!("/v2/a/tags/list?{bad}")).await;
        answer.expect(400, "PAGINATION_NUMBER_INVALID");
    }
}

#[tokio::test]
async fn the_catalog_lists_repositories_in_pages() {
    let registry = TestRegistry::start().await;
    assert_eq!(
        registry.get("/v2/_catalog").await.expect(200, "").json(),
        json!({"repositories": []})
    );
    for name in ["b", "a/b/c", "a", "a-b", "a/b"] {
        registry.push_image(name, "latest", "layer").await;
    }
    registry.push("only-a-blob", "blob").await;
    let all = json!(["a", "a-b", "a/b", "a/b/c", "b"]);
    assert_eq!(
        registry.get("/v2/_catalog").await.json()["repositories"],
        all
    );
    let first = registry.get("/v2/_catalog?n=3").await.expect(200, "");
    assert_eq!(first.json()["repositories"], json!(["a", "a-b", "a/b"]));
    let second = registry.get(&next(&first).unwrap()).await.expect(200, "");
    assert_eq!(second.json()["repositories"], json!(["a/b/c", "b"]));
    assert_eq!(next(&second), None);
}

/// Pushes a manifest that refers to `subject`; returns its digest.
async fn push_referrer(
    registry: &TestRegistry,
    subject: &Digest,
    artifact_type: Option<&str>,
    n: usize,
) -> Digest {
    let config = registry.push("a", "{}").await;
    let mut manifest = image(&config, &[]);
    manifest["config"]["mediaType"] = json!("application/vnd.example.config");
    manifest["subject"] = json!({"mediaType": OCI_IMAGE, "digest": subject, "size": 5});
    manifest["annotations"] = json!({"n": n.to_string()});
    if let Some(artifact_type) = artifact_type {
        manifest["artifactType"] = json!(artifact_type);
    }
    let bytes = manifest.to_string().into_bytes();
    let digest = Digest::sha256(&bytes);
    registry
        .put_manifest(&format!("/v2/a/manifests/{digest}"), OCI_IMAGE, bytes)
        .await
        .expect(201, "");
    digest
}

fn digests(answer: &Answer) -> Vec<String> {
    let list = answer.json()["manifests"].as_array().unwrap().clone();
    list.iter()
        .map(|d| d["digest"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn referrers_are_listed_with_what_they_are() {
    let registry = TestRegistry::start().await;
    let subject = Digest::sha256(b"subject");
    let path = format!("/v2/a/referrers/{subject}");
    let empty = registry.get(&path).await.expect(200, "");
    assert_eq!(
        empty.json(),
        json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})
    );
    assert_eq!(empty.header("content-type"), OCI_INDEX);

    let signature = push_referrer(
        &registry,
        &subject,
        Some("application/vnd.example.signature"),
        1,
    )
    .await;
    let plain = push_referrer(&registry, &subject, None, 2).await;
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [],
        "subject": {"mediaType": OCI_IMAGE, "digest": subject, "size": 5}});
    registry
        .put_manifest("/v2/a/manifests/index", OCI_INDEX, index.to_string())
        .await
        .expect(201, "");

    let list = registry.get(&path).await.expect(200, "").json()["manifests"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(list.len(), 3);
    let find = |d: &Digest| {
        list.iter()
            .find(|e| e["digest"] == d.to_string())
            .unwrap()
            .clone()
    };
    assert_eq!(
        find(&signature)["artifactType"],
        "application/vnd.example.signature"
    );
    assert_eq!(find(&signature)["annotations"], json!({"n": "1"}));
    assert_eq!(find(&signature)["mediaType"], OCI_IMAGE);
    assert_eq!(
        find(&plain)["artifactType"],
        "application/vnd.example.config"
    );
    let index = find(&Digest::sha256(index.to_string().as_bytes()));
    assert_eq!(
        (index["mediaType"].clone(), index.get("artifactType")),
        (json!(OCI_INDEX), None)
    );

    let filtered = registry
        .get(&format!(
            "{path}?artifactType=application%2Fvnd.example.signature"
        ))
        .await
        .expect(200, "");
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
    assert_eq!(digests(&filtered), [signature.to_string()]);
    // In another repository nothing refers to it.
    let other = registry
        .get(&format!("/v2/b/referrers/{subject}"))
        .await
        .expect(200, "");
    assert!(digests(&other).is_empty());
    registry
        .get("/v2/a/referrers/sha256:xyz")
        .await
        .expect(400, "DIGEST_INVALID");

    registry
        .delete(&format!("/v2/a/manifests/{signature}"))
        .await
        .expect(202, "");
    assert!(!digests(&registry.get(&path).await).contains(&signature.to_string()));
}

#[tokio::test]
async fn referrers_come_in_pages() {
    let registry = TestRegistry::start().await;
    let subject = Digest::sha256(b"subject");
    let mut pushed = Vec::new();
    for n in 0..7 {
        let artifact_type = if n % 2 == 0 { "a/even" } else { "a/odd" };
        pushed.push(
            push_referrer(&registry, &subject, Some(artifact_type), n)
                .await
                .to_string(),
        );
    }
    let evens: Vec<_> = pushed.iter().step_by(2).cloned().collect();
    for (query, mut expected) in [("n=2", pushed.clone()), ("n=2&artifactType=a/even", evens)] {
        let mut path = format!("/v2/a/referrers/{subject}?{query}");
        let mut seen = Vec::new();
        loop {
            let answer = registry.get(&path).await.expect(200, "");
            assert!(digests(&answer).len() <= 2);
            seen.extend(digests(&answer));
            match next(&answer) {
                Some(next) => path = next,
                None => break,
            }
        }
        seen.sort();
        expected.sort();
        assert_eq!(seen, expected);
    }
}
