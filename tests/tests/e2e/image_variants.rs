//! Images of several platforms that came by one index, and what is stated about them.

use std::collections::BTreeMap;
use std::fs;

use dhow_tests::TestHost;
use dhow_tests::image::{Image, architecture, digest};
use serde_json::{Value, json};

use crate::save_load::{config, two_layers};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
const SBOM: &str = "https://spdx.dev/Document";

/// What was pushed.
struct Pushed {
    index: String,
    /// Digests of manifests, this machine's first.
    manifests: [String; 2],
    ids: [String; 2],
    attestation: String,
    other: &'static str,
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}

/// Pushes `both:1`: an image for this machine, with statements about it, and one for another.
fn push(host: &TestHost) -> Pushed {
    let other = match architecture() {
        "arm64" => "amd64",
        _ => "arm64",
    };
    let mut blobs: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut keep = |bytes: Vec<u8>| {
        let digest = digest(&bytes);
        blobs.insert(digest.clone(), bytes);
        digest
    };
    let mut entries = Vec::new();
    let mut ids = Vec::new();
    for architecture in [architecture(), other] {
        let image = Image::new(&two_layers(architecture), config());
        let mut parts = image.blobs.clone();
        let mut config: Value =
            serde_json::from_slice(&parts.remove(&image.id()).unwrap()).unwrap();
        config["architecture"] = json!(architecture);
        let config = config.to_string().into_bytes();
        let mut manifest: Value =
            serde_json::from_slice(&parts.remove(&image.manifest).unwrap()).unwrap();
        manifest["config"]["digest"] = json!(digest(&config));
        manifest["config"]["size"] = json!(config.len());
        let manifest = manifest.to_string().into_bytes();
        let mut entry = descriptor(MANIFEST, &manifest);
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entries.push(entry);
        ids.push(keep(config));
        keep(manifest);
        for bytes in parts.into_values() {
            keep(bytes);
        }
    }
    let manifests = [0, 1].map(|at| entries[at]["digest"].as_str().unwrap().to_owned());
    let statement = |kind: &str| {
        json!({"_type": "https://in-toto.io/Statement/v1", "predicateType": kind, "predicate": {"z": 1, "a": [2.5]}})
            .to_string()
            .into_bytes()
    };
    let layers = [PROVENANCE, SBOM].map(|kind| {
        let bytes = statement(kind);
        let mut layer = descriptor("application/vnd.in-toto+json", &bytes);
        layer["annotations"] = json!({"in-toto.io/predicate-type": kind});
        keep(bytes);
        layer
    });
    let empty = json!({
        "architecture": "unknown", "os": "unknown",
        "rootfs": {"type": "layers", "diff_ids": layers.each_ref().map(|l| l["digest"].clone())},
    })
    .to_string()
    .into_bytes();
    let about = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &empty),
        "layers": layers,
    })
    .to_string()
    .into_bytes();
    keep(empty);
    let mut entry = descriptor(MANIFEST, &about);
    entry["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    entry["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": manifests[0],
    });
    entries.push(entry);
    let attestation = keep(about);
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
        .to_string()
        .into_bytes();
    let mut outer = descriptor(INDEX, &index);
    outer["annotations"] = json!({"org.opencontainers.image.ref.name": "1"});
    let index = keep(index);
    let layout = host.path("variants");
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    for (digest, bytes) in &blobs {
        let place = layout.join("blobs").join(digest.replace(':', "/"));
        fs::write(place, bytes).unwrap();
    }
    let outer = json!({"schemaVersion": 2, "manifests": [outer]}).to_string();
    fs::write(layout.join("index.json"), outer).unwrap();
    let version = r#"{"imageLayoutVersion":"1.0.0"}"#;
    fs::write(layout.join("oci-layout"), version).unwrap();
    host.sh("skopeo --insecure-policy copy --quiet --all --preserve-digests --dest-tls-verify=false oci:variants:1 docker://127.0.0.1:5000/library/both:1")
        .ok();
    Pushed {
        index,
        manifests,
        ids: ids.try_into().unwrap(),
        attestation,
        other,
    }
}

fn platform(architecture: &str) -> String {
    format!("%7B%22os%22:%22linux%22,%22architecture%22:%22{architecture}%22%7D")
}

#[track_caller]
fn get(host: &TestHost, path: &str) -> Value {
    let answer = host.api("GET", path, None);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[track_caller]
fn refused(host: &TestHost, path: &str, status: u16, sentence: &str) {
    let answer = host.api("GET", path, None);
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.body.contains(sentence), "{answer:?}");
}

#[test]
fn what_is_stated_about_an_image() {
    let mut host = TestHost::start();
    let pushed = push(&host);
    host.sh("docker pull -q both:1").ok();
    let types = |query: &str| -> Vec<String> {
        let path = format!("/v1.56/images/both:1/attestations{query}");
        let all = get(&host, &path);
        let all = all.as_array().unwrap().iter();
        all.map(|one| one["PredicateType"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(types(""), [PROVENANCE, SBOM]);
    assert_eq!(types(&format!("?type={SBOM}")), [SBOM]);
    assert_eq!(types(&format!("?type={SBOM}&type={PROVENANCE}")).len(), 2);
    assert!(types("?type=nosuch").is_empty());
    let here = platform(architecture());
    assert_eq!(types(&format!("?platform={here}")).len(), 2);
    let whole = |host: &TestHost| {
        let all = get(host, "/v1.56/images/both:1/attestations?statement=1");
        assert_eq!(all[0]["Statement"]["predicateType"], PROVENANCE);
        assert_eq!(all[0]["Statement"]["predicate"]["a"][0], 2.5);
        let layer = &all[0]["Descriptor"];
        assert_eq!(layer["mediaType"], "application/vnd.in-toto+json");
    };
    whole(&host);
    // Without an index there is nothing.
    let none = get(&host, "/v1.56/images/busybox/attestations");
    assert_eq!(none, json!([]));
    let path = |query: &str| format!("/v1.56/images/both:1/attestations?{query}");
    let none = "does not provide the specified platform (linux/s390x)";
    let s390x = platform("s390x");
    refused(&host, &path(&format!("platform={s390x}")), 404, none);
    let two = format!("platform={here}&platform={s390x}");
    refused(&host, &path(&two), 400, "only one platform");
    refused(&host, &path("platform=x"), 400, "failed to parse platform");
    let nosuch = "/v1.56/images/nosuch/attestations";
    refused(&host, nosuch, 404, "No such image: nosuch:latest");
    // They go with the image into an archive, and stay over a restart, and go with it.
    host.sh("docker save -o both.tar both:1").ok();
    host.sh("docker rmi both:1").ok();
    let gone = pushed.attestation.trim_start_matches("sha256:").to_owned();
    let blob = host.data_root().join("blobs/sha256").join(gone);
    assert!(!blob.exists());
    host.sh("docker load -i both.tar").ok();
    whole(&host);
    host.stop_daemon();
    host.start_daemon();
    whole(&host);
    assert!(blob.exists());
}

#[test]
fn an_image_is_shown_with_its_platforms() {
    let host = TestHost::start();
    let pushed = push(&host);
    host.sh("docker pull -q both:1").ok();
    host.sh("docker run -d --name user both:1 /bin/busybox sleep 1000")
        .ok();
    let shown = get(&host, "/v1.56/images/both:1/json?manifests=1");
    assert_eq!(shown["Descriptor"]["digest"], pushed.index);
    assert_eq!(shown["Descriptor"]["mediaType"], INDEX);
    let from = &shown["Identity"]["Pull"][0]["Repository"];
    assert_eq!(from, "docker.io/library/both");
    let manifests = &shown["Manifests"];
    assert_eq!(manifests.as_array().unwrap().len(), 3);
    let (own, other, about) = (&manifests[0], &manifests[1], &manifests[2]);
    assert_eq!(own["ID"], pushed.manifests[0]);
    assert_eq!(own["Kind"], "image");
    assert_eq!(own["Available"], true);
    let data = &own["ImageData"];
    assert_eq!(data["Platform"]["architecture"], architecture());
    assert_eq!(data["Containers"], json!([host.id("user")]));
    let sum = own["Size"]["Content"].as_i64().unwrap() + data["Size"]["Unpacked"].as_i64().unwrap();
    assert_eq!(own["Size"]["Total"], sum);
    assert_eq!(other["Available"], false);
    assert_eq!(other["Size"], json!({"Content": 0, "Total": 0}));
    assert_eq!(other["ImageData"]["Platform"]["architecture"], pushed.other);
    assert_eq!(about["Kind"], "attestation");
    assert_eq!(about["AttestationData"]["For"], pushed.manifests[0]);
    // Each version has what it knows.
    let old = get(&host, "/v1.47/images/both:1/json?manifests=1");
    assert!(old.get("Descriptor").is_none() && old.get("Manifests").is_none());
    let line = |path: &str| get(&host, path)[0].clone();
    let query = "filters=%7B%22reference%22%3A%5B%22both%22%5D%7D";
    let old = line(&format!("/v1.46/images/json?manifests=1&{query}"));
    assert!(old.get("Manifests").is_none() && old["Containers"] == -1);
    let new = line(&format!(
        "/v1.56/images/json?manifests=1&identity=1&{query}"
    ));
    assert_eq!(new["Descriptor"]["digest"], pushed.index);
    assert_eq!(new["Containers"], 1);
    let identity = &new["Manifests"][0]["ImageData"]["Identity"];
    assert_eq!(identity["Pull"][0]["Repository"], "docker.io/library/both");
    let alone = "/v1.56/images/json?identity=1";
    refused(&host, alone, 400, "identity requires manifests=1");
    let both = format!(
        "/v1.56/images/both:1/json?manifests=1&platform={}",
        platform(architecture())
    );
    refused(&host, &both, 400, "cannot both be set");
    // One that was made here has the manifest that it would be pushed with.
    host.sh("docker commit user made").ok();
    let made = get(&host, "/v1.56/images/made/json?manifests=1");
    assert_eq!(made["Descriptor"]["mediaType"], MANIFEST);
    assert_eq!(made["Descriptor"]["digest"], made["Manifests"][0]["ID"]);
    // The same tree as Docker's client draws, which colours its title also where there is no terminal.
    let plain = |command: &str| {
        host.sh(&format!(
            "{command} images --tree | sed 's/\\x1b\\[[0-9;]*m//g; s/ *$//'"
        ))
        .ok()
    };
    let drawn = plain("dhow");
    assert_eq!(drawn, plain("docker"));
    let branch = format!("├─ linux/{}", architecture());
    assert!(drawn.contains(&branch), "{drawn}");
    let why = host.sh("dhow images --tree -q").fails(1);
    assert_eq!(why, "--quiet is not yet supported with --tree");
}

#[test]
fn one_platform_is_asked_for() {
    let host = TestHost::start();
    let pushed = push(&host);
    host.sh("docker pull -q both:1").ok();
    host.sh("docker save -o native.tar both:1").ok();
    host.sh(&format!(
        "docker pull -q --platform linux/{} both:1",
        pushed.other
    ))
    .ok();
    let [native, foreign] = &pushed.ids;
    for client in ["docker", "dhow"] {
        for (architecture, id) in [(architecture(), native), (pushed.other, foreign)] {
            let asked = format!("--platform linux/{architecture} both:1");
            let shown = host.sh(&format!(
                "{client} image inspect -f '{{{{.Id}}}} {{{{.Architecture}}}}' {asked}"
            ));
            assert_eq!(shown.ok(), format!("{id} {architecture}"));
            let history = host
                .sh(&format!("{client} history -q --no-trunc {asked}"))
                .ok();
            assert_eq!(history.lines().next(), Some(id.as_str()));
        }
        let none = "was found but does not provide the specified platform (linux/s390x)";
        for command in ["image inspect", "history", "push"] {
            let line = format!("{client} {command} --platform linux/s390x both:1");
            let said = host.sh(&line).fails(1);
            assert!(said.contains(none), "{line}: {said}");
        }
        let said = host
            .sh(&format!(
                "{client} rmi --platform linux/{} both:1",
                pushed.other
            ))
            .fails(1);
        assert!(said.contains("Use —-force to force delete"), "{said}");
    }
    // A push of one is that one's manifest.
    for (client, at) in [("docker", 0), ("dhow", 1)] {
        let architecture = [architecture(), pushed.other][at];
        host.sh("docker tag both:1 127.0.0.1:5000/one:1").ok();
        let index = host.sh(&format!(
            "{client} push --platform linux/{architecture} 127.0.0.1:5000/one:1"
        ));
        let said = index.stdout.clone() + &index.stderr;
        index.ok();
        assert!(said.contains(&pushed.manifests[at]), "{said}");
        let there = host.registry_api("GET", "/v2/one/manifests/1", MANIFEST, None);
        assert_eq!(digest(there.body.as_bytes()), pushed.manifests[at]);
    }
    host.sh("docker rmi 127.0.0.1:5000/one:1").ok();
    // One goes, and its names stay with the other.
    let named = |id: &str| {
        host.sh(&format!("docker image inspect -f '{{{{.RepoTags}}}}' {id}"))
            .stdout
    };
    let bearer = host
        .sh("docker image inspect -f '{{.Architecture}}' both:1")
        .ok();
    let (gone, left) = match bearer == architecture() {
        true => (native, foreign),
        false => (foreign, native),
    };
    let said = host
        .sh(&format!("docker rmi -f --platform linux/{bearer} both:1"))
        .ok();
    assert!(said.contains(&format!("Deleted: {gone}")), "{said}");
    assert!(named(left).contains("both:1"), "{}", named(left));
    let last = host
        .sh("docker image inspect -f '{{.Architecture}}' both:1")
        .ok();
    host.sh(&format!("dhow rmi -f --platform linux/{last} both:1"))
        .ok();
    host.sh("docker image inspect both:1").fails(1);
}
