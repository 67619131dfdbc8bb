//! Archives of images that can't be loaded, or not now: each is refused with a sentence, and nothing of it stays.

use std::fs;
use std::path::Path;

use dhow_tests::image::{self, Image, Layer};
use dhow_tests::{HostOptions, TestHost, eventually};
use serde_json::json;

use crate::save_load::{config, nothing_is_left, two_layers};

/// An archive of these files, in this order.
fn write_tar(path: &Path, files: &[(&str, &[u8])]) {
    let mut archive = Layer::default();
    for (name, content) in files {
        archive.file(name, 0o644, content).unwrap();
    }
    fs::write(path, archive.finish().unwrap()).unwrap();
}

#[test]
fn what_is_wrong_with_an_archive_is_said() {
    let host = TestHost::empty();
    let image = Image::new(&two_layers("good"), config());
    image.write_layout(&host.path("good"), "good:1").unwrap();
    host.sh("tar -C good -cf good.tar . && gzip -k good.tar")
        .ok();
    let good = fs::read(host.path("good.tar")).unwrap();
    let packed = fs::read(host.path("good.tar.gz")).unwrap();
    let id = image.id();
    let config = &image.blobs[&id];
    let layers = two_layers("good");
    let list = |config: &str, layers: &[&str]| {
        json!([{"Config": config, "RepoTags": ["bad:1"], "Layers": layers}]).to_string()
    };
    let mut flipped = good.clone();
    // In the middle of the larger layer.
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let hostile = |kind, path: &str, target: &str| {
        let mut archive = Layer::default();
        archive.hostile(kind, path, target, b"").unwrap();
        archive.finish().unwrap()
    };
    let listed = |list: &str| {
        write_tar(
            &host.path("listed.tar"),
            &[
                ("config.json", config),
                ("a.tar", &layers[0]),
                ("b.tar", &layers[1]),
                ("manifest.json", list.as_bytes()),
            ],
        );
        fs::read(host.path("listed.tar")).unwrap()
    };
    let mut bomb = Vec::new();
    {
        // A header that promises much, and gigabytes of nothing, in a hundred kilobytes.
        let zeros = zstd::encode_all(&vec![0; 32 << 20][..], 1).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_path("big").unwrap();
        header.set_size(64 << 30);
        header.set_cksum();
        bomb.extend(zstd::encode_all(&header.as_bytes()[..], 1).unwrap());
        for _ in 0..40 {
            bomb.extend(&zeros);
        }
    }
    let outside = [
        hostile(tar::EntryType::Regular, "../../evil", ""),
        hostile(tar::EntryType::Symlink, "evil", "../../etc/passwd"),
        hostile(tar::EntryType::Link, "evil", "../etc/passwd"),
    ];
    let mut cases: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), "does not contain a manifest.json"),
        (b"abc".to_vec(), "it is not a tar archive"),
        (good[..good.len() / 2].to_vec(), "invalid archive"),
        (packed[..packed.len() / 2].to_vec(), "invalid archive"),
        (packed[..packed.len() - 4].to_vec(), "invalid archive"),
        (flipped, "it is damaged"),
        (
            hostile(tar::EntryType::Char, "dev", ""),
            "neither a plain file nor",
        ),
        (bomb, "decompression bomb"),
        (
            listed(&list("config.json", &["a.tar"])),
            "layers length mismatch: expected 1, got 2",
        ),
        (
            listed(&list("config.json", &["a.tar", "c.tar"])),
            "does not contain",
        ),
        (
            listed(&list("../config.json", &["a.tar", "b.tar"])),
            "does not contain",
        ),
        // The layers in the wrong order.
        (
            listed(&list("config.json", &["b.tar", "a.tar"])),
            "expected digest",
        ),
        (listed("null"), "null"),
        (listed("{"), "manifest.json"),
    ];
    cases.extend(
        outside
            .into_iter()
            .map(|archive| (archive, "leaves the root")),
    );
    for (at, (bytes, sentence)) in cases.into_iter().enumerate() {
        fs::write(host.path("bad.tar"), bytes).unwrap();
        let said = host.sh("docker load -i bad.tar").fails(1);
        assert!(said.contains(sentence), "case {at}: {said}");
        nothing_is_left(&host);
    }
    assert_eq!(
        host.sh("docker load -i listed.tar")
            .fails(1)
            .lines()
            .count(),
        1
    );
    host.sh("docker load -i good.tar").ok();
    assert_eq!(host.sh("docker run --rm good:1").ok(), "good");
}

#[test]
fn a_daemon_that_is_killed_leaves_nothing_half() {
    let mut host = TestHost::start();
    let image = Image::new(&[noise(8 << 20)], json!({}));
    image.write_layout(&host.path("big"), "big:1").unwrap();
    host.sh("tar -C big -cf big.tar . && docker rmi busybox")
        .ok();
    nothing_is_left(&host);
    // The half of it, and nothing more.
    let load = host.spawn("(head -c 2000000 big.tar; sleep 100) | docker load");
    eventually("the archive is on its way", || {
        let spooled = fs::read_dir(host.data_root().join("ingest")).unwrap();
        (spooled.count() > 0).then_some(())
    });
    host.kill_daemon();
    load.signal(rustix::process::Signal::KILL);
    assert!(!load.stdout().contains("Loaded"));
    host.start_daemon();
    nothing_is_left(&host);
    // Acknowledged, it stays.
    assert_eq!(
        host.sh("docker load -i big.tar").ok(),
        "Loaded image: big:1"
    );
    host.kill_daemon();
    host.start_daemon();
    host.sh("docker image inspect big:1").ok();
    host.sh("docker save big:1 > again.tar && docker rmi big:1")
        .ok();
    // A client that goes away takes what it sent with it.
    let gone = host.spawn("(head -c 2000000 big.tar; sleep 100) | docker load");
    eventually("the archive is on its way", || {
        let spooled = fs::read_dir(host.data_root().join("ingest")).unwrap();
        (spooled.count() > 0).then_some(())
    });
    gone.signal(rustix::process::Signal::KILL);
    drop(gone);
    nothing_is_left(&host);
}

#[test]
fn a_blob_that_is_gone_is_said_before_the_answer() {
    let host = TestHost::start();
    let layer = image::busybox().blobs.iter();
    let (digest, _) = layer.max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let blob = host
        .data_root()
        .join("blobs")
        .join(digest.replace(':', "/"));
    fs::rename(&blob, host.path("aside")).unwrap();
    let answer = host.api("GET", "/images/busybox/get", None);
    assert_eq!(answer.status, 409);
    assert!(answer.body.contains("pull the image again"), "{answer:?}");
    fs::rename(host.path("aside"), &blob).unwrap();
    host.sh("docker save -o a.tar busybox").ok();
}

#[test]
fn an_early_refusal_reaches_its_client() {
    let host = TestHost::start();
    host.sh("truncate -s 100M big").ok();
    let socket = host.socket();
    let curl = |method: &str, path: &str| {
        host.sh(&format!(
            "curl -s --unix-socket {} -X {method} -H Expect: -T big -w ' %{{http_code}}' 'http://d{path}'",
            socket.display()
        ))
        .ok()
    };
    for (method, path, sentence, status) in [
        (
            "POST",
            "/images/load?platform=x",
            "failed to parse platform",
            "400",
        ),
        ("PUT", "/containers/nosuch/archive?path=/", "", "404"),
        (
            "POST",
            "/images/create?fromSrc=-&repo=UPPER",
            "must be lowercase",
            "400",
        ),
        ("POST", "/nosuch", "page not found", "404"),
        ("POST", "/images/load", "does not contain", "200"),
    ] {
        let answer = curl(method, path);
        assert!(answer.contains(sentence), "{path}: {answer}");
        assert!(answer.ends_with(status), "{path}: {answer}");
    }
    // The stock client's.
    let said = host.sh("docker load < big").fails(1);
    assert!(said.contains("does not contain"), "{said}");
    let said = host.sh("mkdir context && cp big context && echo FROM busybox > context/Dockerfile && DOCKER_BUILDKIT=0 docker build context").fails(1);
    assert!(
        !said.contains("broken pipe") && said.contains("Error response from daemon"),
        "{said}"
    );
}

#[test]
fn a_full_disk_is_said() {
    let host = TestHost::with(HostOptions {
        busybox: false,
        disk_mib: Some(48),
        ..HostOptions::default()
    });
    let large = Image::new(&[noise(40 << 20)], json!({}));
    large.write_layout(&host.path("large"), "large:1").unwrap();
    host.sh("tar -C large -cf large.tar .").ok();
    let said = host.sh("docker load -i large.tar").fails(1);
    assert!(said.contains("No space left on device"), "{said}");
    nothing_is_left(&host);
    let small = Image::new(&two_layers("small"), config());
    small.write_layout(&host.path("small"), "small:1").unwrap();
    host.sh("tar -C small -c . | docker load").ok();
    assert_eq!(host.sh("docker run --rm small:1").ok(), "small");
}

/// A layer that can't be compressed.
fn noise(size: usize) -> Vec<u8> {
    let mut state: u64 = 1;
    let bytes: Vec<u8> = (0..size)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    let mut layer = Layer::default();
    layer.file("noise", 0o644, &bytes).unwrap();
    layer.finish().unwrap()
}
