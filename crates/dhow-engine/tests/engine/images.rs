//! The image that the tests run: busybox, with a few files to look at.

use dhow_image::{Images, LayerSpec};
use dhow_oci::{Digest, Reference, media_type};
use serde_json::json;

/// Puts `busybox` into the store.
pub fn import_busybox(images: &Images) {
    let layer = layer();
    let ingest = images.begin();
    let sink = ingest
        .layer(LayerSpec {
            blob: None,
            diff_id: None,
            media_type: media_type::OCI_LAYER.into(),
        })
        .unwrap();
    assert!(sink.send_blocking(layer.into()));
    let layer = sink.finish_blocking().unwrap();
    let diff_id = layer.diff_id.clone();
    ingest.place_layer(layer, None).unwrap();
    let architecture = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Cmd": ["sh"],
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "FROM=image"],
            "Labels": {"tier": "test"},
            "ExposedPorts": {"80/tcp": {}},
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id.to_string()]},
    });
    let id: Digest = ingest.put_document(config.to_string().as_bytes()).unwrap();
    let name = Reference::parse_normalized("busybox:latest").unwrap();
    ingest.commit(&id, &[], &[name]).unwrap();
}

fn layer() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let header = |kind, mode: u32, size: u64| {
        let mut h = tar::Header::new_gnu();
        h.set_entry_type(kind);
        h.set_mode(mode);
        h.set_size(size);
        h.set_uid(0);
        h.set_gid(0);
        h
    };
    for dir in [
        "bin", "etc", "tmp", "root", "proc", "sys", "dev", "data", "data/sub", "home",
    ] {
        let mode = if dir == "tmp" { 0o1777 } else { 0o755 };
        let mut h = header(tar::EntryType::Directory, mode, 0);
        tar.append_data(&mut h, format!("{dir}/"), std::io::empty())
            .unwrap();
    }
    let busybox = std::fs::read("/bin/busybox").expect("Debian's busybox-static");
    let mut file = |path: &str, mode: u32, bytes: &[u8]| {
        let mut h = header(tar::EntryType::Regular, mode, bytes.len() as u64);
        tar.append_data(&mut h, path, bytes).unwrap();
    };
    file("bin/busybox", 0o755, &busybox);
    file(
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/home:/bin/sh\n",
    );
    file(
        "etc/group",
        0o644,
        b"root:x:0:\nwheel:x:10:root\nweb:x:33:\n",
    );
    file("data/sub/file", 0o640, b"from the image\n");
    file("etc/not-executable", 0o644, b"text\n");
    for name in [
        "sh", "echo", "cat", "sleep", "true", "false", "id", "env", "pwd", "ls", "mount",
        "hostname", "stty", "kill", "touch", "ip", "test", "mkdir", "wc", "head", "seq", "nc",
        "grep", "ps", "df", "stat",
    ] {
        let mut h = header(tar::EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut h, format!("bin/{name}"), "busybox")
            .unwrap();
    }
    tar.into_inner().unwrap()
}
