//! Archives with images of several platforms.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use dhow_tests::TestHost;
use dhow_tests::image::{self, Image, Layer, digest};
use serde_json::{Value, json};

use crate::save_load::{config, contents, json_of, nothing_is_left, two_layers};

/// An index of two images in an OCI layout's archive, named `both:1`. Gives their ids.
fn two_platforms(path: &Path) -> [String; 2] {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut manifests = Vec::new();
    let ids = ["amd64", "arm64"].map(|architecture| {
        let image = Image::new(&two_layers(architecture), config());
        let mut blobs = image.blobs.clone();
        let id = image.id();
        let mut config: Value = serde_json::from_slice(&blobs.remove(&id).unwrap()).unwrap();
        config["architecture"] = json!(architecture);
        let config = config.to_string().into_bytes();
        let mut manifest: Value =
            serde_json::from_slice(&blobs.remove(&image.manifest).unwrap()).unwrap();
        manifest["config"]["digest"] = json!(digest(&config));
        manifest["config"]["size"] = json!(config.len());
        let manifest = manifest.to_string().into_bytes();
        manifests.push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest(&manifest),
            "size": manifest.len(),
            "platform": {"os": "linux", "architecture": architecture},
        }));
        let id = digest(&config);
        for bytes in blobs.into_values().chain([config, manifest]) {
            files.insert(digest(&bytes), bytes);
        }
        id
    });
    // A statement about one of them, which the archive lacks as well as it may.
    manifests.push(json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest(b"statement"),
        "size": 9,
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    }));
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    })
    .to_string()
    .into_bytes();
    let outer = json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "digest": digest(&index),
            "size": index.len(),
            "annotations": {"io.containerd.image.name": "docker.io/library/both:1"},
        }],
    })
    .to_string();
    files.insert(digest(&index), index);
    let mut archive = Layer::default();
    for (digest, bytes) in &files {
        let path = format!("blobs/{}", digest.replace(':', "/"));
        archive.file(&path, 0o644, bytes).unwrap();
    }
    for (name, text) in [
        ("index.json", outer.as_str()),
        ("oci-layout", r#"{"imageLayoutVersion": "1.0.0"}"#),
    ] {
        archive.file(name, 0o644, text.as_bytes()).unwrap();
    }
    fs::write(path, archive.finish().unwrap()).unwrap();
    ids
}

#[test]
fn platforms() {
    let host = TestHost::empty();
    let ids = two_platforms(&host.path("both.tar"));
    let [native, foreign] = match image::architecture() {
        "arm64" => [&ids[1], &ids[0]],
        _ => [&ids[0], &ids[1]],
    };
    let other = match image::architecture() {
        "arm64" => "linux/amd64",
        _ => "linux/arm64",
    };
    let id_of = |name: &str| {
        host.sh(&format!("docker image inspect -f '{{{{.Id}}}}' {name}"))
            .ok()
    };
    // This machine's, unless another is asked for.
    let loaded = host.sh("docker load -i both.tar").ok();
    assert_eq!(loaded, "Loaded image: both:1");
    assert_eq!(id_of("both:1"), *native);
    assert_eq!(host.sh("docker images -aq").ok().lines().count(), 1);
    host.sh("docker rmi both:1").ok();
    host.sh(&format!("docker load --platform {other} -i both.tar"))
        .ok();
    assert_eq!(id_of("both:1"), *foreign);
    host.sh("docker rmi both:1").ok();
    nothing_is_left(&host);
    let refused = host
        .sh("docker load --platform linux/s390x -i both.tar")
        .fails(1);
    assert!(
        refused.contains("requested platform(s) ([linux/s390x]) not found"),
        "{refused}"
    );
    nothing_is_left(&host);
    // Both: a name means one of them.
    let loaded = host
        .sh("dhow load --platform linux/amd64,linux/arm64 -i both.tar")
        .ok();
    assert!(
        loaded.starts_with("Loaded image: both:1\nLoaded image: both@sha256:"),
        "{loaded}"
    );
    assert_eq!(id_of("both:1"), *native);
    assert_eq!(id_of(loaded.rsplit("image: ").next().unwrap()), *foreign);
    // Of the name, both can be saved: together, and each alone.
    host.sh("dhow save --platform linux/amd64 --platform linux/arm64 -o two.tar both:1")
        .ok();
    let (files, _) = contents(&host.path("two.tar"));
    let index = json_of(&files, "index.json");
    assert_eq!(index["manifests"].as_array().map(Vec::len), Some(1));
    for id in &ids {
        assert!(files.contains_key(&format!("blobs/{}", id.replace(':', "/"))));
    }
    host.sh(&format!("docker save --platform {other} -o one.tar both:1"))
        .ok();
    let (files, _) = contents(&host.path("one.tar"));
    let list = json_of(&files, "manifest.json");
    assert_eq!(
        list[0]["Config"],
        json!(format!("blobs/{}", foreign.replace(':', "/")))
    );
    assert!(!files.contains_key(&format!("blobs/{}", native.replace(':', "/"))));
    let refused = host
        .sh("docker save --platform linux/s390x -o no.tar both:1")
        .fails(1);
    assert!(
        refused.contains("does not provide the specified platform (linux/s390x)"),
        "{refused}"
    );
    assert!(!host.path("no.tar").exists());
    host.sh("docker rmi -f $(docker images -aq)").ok();
    host.sh("dhow load --platform linux/amd64,linux/arm64 -i two.tar")
        .ok();
    assert_eq!(host.sh("docker images -aq").ok().lines().count(), 2);
    // A query that can't be understood, and one from before there were several.
    for (query, sentence) in [
        ("platform=linux", "failed to parse platform"),
        (
            "platform=%7B%22os%22:%22linux%22%7D",
            "both OS and Architecture must be provided",
        ),
    ] {
        let answer = host.api("GET", &format!("/v1.52/images/both:1/get?{query}"), None);
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains(sentence), "{answer:?}");
    }
    let one = "platform=%7B%22os%22:%22linux%22,%22architecture%22:%22amd64%22%7D";
    let answer = host.api("POST", &format!("/v1.51/images/load?{one}&{one}"), None);
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("use API version 1.52"), "{answer:?}");
}
