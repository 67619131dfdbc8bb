//! Images made here: busybox from Debian's `busybox-static`, as an OCI image layout that skopeo pushes.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// One image of a single platform: its blobs by digest, and the manifest's digest.
#[derive(Clone, Debug)]
pub struct Image {
    pub blobs: BTreeMap<String, Vec<u8>>,
    pub manifest: String,
}

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("memory can be written to")
}

impl Image {
    /// An image of these layers, which are tar archives; `config` is the image configuration's `config` object.
    pub fn new(layers: &[Vec<u8>], config: Value) -> Image {
        let compressed = layers.iter().map(|layer| gzip(layer)).collect();
        Image::assemble(
            layers,
            compressed,
            "application/vnd.oci.image.layer.v1.tar+gzip",
            config,
        )
    }

    /// The same from layers that are compressed already.
    pub fn assemble(
        layers: &[Vec<u8>],
        compressed: Vec<Vec<u8>>,
        media_type: &str,
        config: Value,
    ) -> Image {
        let mut blobs = BTreeMap::new();
        let mut add = |media_type: &str, bytes: Vec<u8>| {
            let descriptor = json!({
                "mediaType": media_type, "digest": digest(&bytes), "size": bytes.len(),
            });
            blobs.insert(digest(&bytes), bytes);
            descriptor
        };
        let diff_ids: Vec<_> = layers.iter().map(|layer| digest(layer)).collect();
        let image_config = json!({
            "created": "2026-01-02T03:04:05Z",
            "architecture": architecture(),
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": diff_ids.iter().map(|_| json!({
                "created": "2026-01-02T03:04:05Z", "created_by": "made for a test",
            })).collect::<Vec<_>>(),
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": add("application/vnd.oci.image.config.v1+json", image_config.to_string().into_bytes()),
            "layers": compressed.into_iter().map(|layer| add(media_type, layer)).collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string().into_bytes();
        let manifest_digest = digest(&manifest);
        blobs.insert(manifest_digest.clone(), manifest);
        Image {
            blobs,
            manifest: manifest_digest,
        }
    }

    /// The digest of the configuration, which is the image's id.
    pub fn id(&self) -> String {
        let manifest: Value =
            serde_json::from_slice(&self.blobs[&self.manifest]).expect("made here");
        manifest["config"]["digest"]
            .as_str()
            .expect("made here")
            .to_owned()
    }

    /// Writes it as an OCI image layout (image-spec, "Image Layout") with one tag.
    pub fn write_layout(&self, dir: &Path, tag: &str) -> std::io::Result<()> {
        let blobs = dir.join("blobs/sha256");
        std::fs::create_dir_all(&blobs)?;
        for (digest, bytes) in &self.blobs {
            std::fs::write(blobs.join(digest.trim_start_matches("sha256:")), bytes)?;
        }
        std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": self.manifest,
                "size": self.blobs[&self.manifest].len(),
                "annotations": {"org.opencontainers.image.ref.name": tag},
            }],
        });
        std::fs::write(dir.join("index.json"), index.to_string())
    }
}

pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Busybox with a link for each of its programs, as the well-known image has it.
pub fn busybox() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| Image::new(&[busybox_base().to_vec()], busybox_config()))
}

/// The same with a layer of one's own on top.
pub fn busybox_with(layer: Layer) -> Image {
    let layer = layer.finish().expect("memory can be written to");
    Image::new(&[busybox_base().to_vec(), layer], busybox_config())
}

/// Busybox's own layer, for an image with another configuration.
pub fn busybox_layer_tar() -> Vec<u8> {
    busybox_base().to_vec()
}

fn busybox_base() -> &'static [u8] {
    static LAYER: OnceLock<Vec<u8>> = OnceLock::new();
    LAYER.get_or_init(|| busybox_layer().expect("busybox-static is installed"))
}

fn busybox_config() -> Value {
    json!({
        "Cmd": ["sh"],
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    })
}

fn busybox_layer() -> std::io::Result<Vec<u8>> {
    let binary = std::fs::read("/bin/busybox")?;
    let programs = Command::new("/bin/busybox").arg("--list").output()?;
    let mut layer = Layer::default();
    for directory in [
        "bin", "etc", "home", "root", "usr", "usr/bin", "usr/sbin", "var", "var/www",
    ] {
        layer.directory(directory, 0o755)?;
    }
    layer.directory("tmp", 0o1777)?;
    layer.file("bin/busybox", 0o755, &binary)?;
    for program in String::from_utf8_lossy(&programs.stdout).lines() {
        if program != "busybox" {
            layer.symlink(&format!("bin/{program}"), "busybox")?;
        }
    }
    layer.file(
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nwww:x:33:33:www:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
    )?;
    layer.file(
        "etc/group",
        0o644,
        b"root:x:0:\ndaemon:x:1:\nmail:x:8:www\nwww:x:33:\nnobody:x:65534:\n",
    )?;
    layer.finish()
}

/// A layer's tar archive in the making.
pub struct Layer(tar::Builder<Vec<u8>>);

impl Default for Layer {
    fn default() -> Layer {
        Layer(tar::Builder::new(Vec::new()))
    }
}

impl Layer {
    fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(1_700_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header
    }

    pub fn directory(&mut self, path: &str, mode: u32) -> std::io::Result<()> {
        let mut header = Layer::header(tar::EntryType::Directory, mode, 0);
        self.0.append_data(&mut header, path, std::io::empty())
    }

    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> std::io::Result<()> {
        let mut header = Layer::header(tar::EntryType::Regular, mode, content.len() as u64);
        self.0.append_data(&mut header, path, content)
    }

    pub fn symlink(&mut self, path: &str, target: &str) -> std::io::Result<()> {
        let mut header = Layer::header(tar::EntryType::Symlink, 0o777, 0);
        self.0.append_link(&mut header, path, target)
    }

    /// An entry whose name is written as it is: the library refuses the names that an attacker would use.
    pub fn hostile(
        &mut self,
        kind: tar::EntryType,
        path: &str,
        target: &str,
        content: &[u8],
    ) -> std::io::Result<()> {
        let mut header = Layer::header(kind, 0o644, content.len() as u64);
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        old.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        self.0.append(&header, content)
    }

    pub fn finish(self) -> std::io::Result<Vec<u8>> {
        self.0.into_inner()
    }
}
