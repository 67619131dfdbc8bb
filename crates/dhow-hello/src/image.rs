//! The image around the program: a layer, a configuration and a manifest for each architecture, and the index.

use std::collections::BTreeMap;
use std::io::Write;

use dhow_oci::{
    Descriptor, Digest, History, ImageConfig, Index, Manifest, Platform, RootFs, RunConfig,
    media_type,
};
use flate2::{Compression, GzBuilder};

use crate::{HelloError, aarch64, elf, x86_64};

const MESSAGE: &[u8] = include_bytes!("message.txt");
/// A release's image is as old as its message, not as the machine that made it.
const CREATED: &str = "2026-11-25T00:00:00Z";
/// "Unknown" (RFC 1952): the same bytes, wherever they are made.
const GZIP_ANY_SYSTEM: u8 = 255;

/// All of the image. Each piece comes with its digest.
#[derive(Clone, Debug)]
pub struct HelloImage {
    /// Layers and configurations.
    pub blobs: Vec<(Digest, Vec<u8>)>,
    /// One for each architecture.
    pub manifests: Vec<(Digest, Vec<u8>)>,
    pub index: (Digest, Vec<u8>),
}

/// Makes the image.
pub fn image() -> Result<HelloImage, HelloError> {
    let mut blobs = Vec::new();
    let mut manifests = Vec::new();
    let mut descriptors = Vec::new();
    for (platform, program) in programs() {
        let tar = layer(&program)?;
        let layer = digested(compress(&tar)?);
        let config = digested(serde_json::to_vec(&config(
            &platform,
            Digest::sha256(&tar),
        ))?);
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config: descriptor(media_type::OCI_CONFIG, &config),
            layers: vec![descriptor(media_type::OCI_LAYER_GZIP, &layer)],
            subject: None,
            annotations: BTreeMap::new(),
        };
        let manifest = digested(serde_json::to_vec(&manifest)?);
        descriptors.push(Descriptor {
            platform: Some(platform),
            ..descriptor(media_type::OCI_MANIFEST, &manifest)
        });
        blobs.extend([layer, config]);
        manifests.push(manifest);
    }
    let index = Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.to_owned()),
        artifact_type: None,
        manifests: descriptors,
        subject: None,
        annotations: BTreeMap::new(),
    };
    let index = digested(serde_json::to_vec(&index)?);
    Ok(HelloImage {
        blobs,
        manifests,
        index,
    })
}

/// The program for every architecture that Dhow runs on.
pub(crate) fn programs() -> [(Platform, Vec<u8>); 2] {
    let length = MESSAGE.len() as u16;
    [
        (
            Platform::new("linux", "amd64", ""),
            elf::executable(x86_64::MACHINE, &x86_64::code(length), MESSAGE),
        ),
        (
            Platform::new("linux", "arm64", "v8"),
            elf::executable(aarch64::MACHINE, &aarch64::code(length), MESSAGE),
        ),
    ]
}

fn layer(program: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_path("hello")?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(program.len() as u64);
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append(&header, program)?;
    archive.into_inner()
}

/// Stored, not deflated: then the digest hangs on no library's way of compressing.
fn compress(tar: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut gzip = GzBuilder::new()
        .mtime(0)
        .operating_system(GZIP_ANY_SYSTEM)
        .write(Vec::new(), Compression::none());
    gzip.write_all(tar)?;
    gzip.finish()
}

fn config(platform: &Platform, diff_id: Digest) -> ImageConfig {
    ImageConfig {
        created: Some(CREATED.to_owned()),
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone(),
        config: RunConfig {
            cmd: Some(vec!["/hello".to_owned()]),
            working_dir: "/".to_owned(),
            env: Some(vec![
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            ]),
            ..RunConfig::default()
        },
        rootfs: RootFs {
            diff_ids: vec![diff_id],
            ..RootFs::default()
        },
        history: vec![History {
            created: Some(CREATED.to_owned()),
            created_by: "dhow-hello".to_owned(),
            comment: "the program that dhow carries".to_owned(),
            ..History::default()
        }],
        ..ImageConfig::default()
    }
}

fn digested(bytes: Vec<u8>) -> (Digest, Vec<u8>) {
    (Digest::sha256(&bytes), bytes)
}

fn descriptor(media_type: &str, (digest, bytes): &(Digest, Vec<u8>)) -> Descriptor {
    Descriptor::new(media_type, digest.clone(), bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    /// Runs the program of an architecture, by an emulator or directly.
    fn run(architecture: &str, emulator: Option<&str>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hello");
        let (_, program) = programs()
            .into_iter()
            .find(|(p, _)| p.architecture == architecture)
            .unwrap();
        fs::write(&path, program).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let command = || match emulator {
            Some(emulator) => {
                let mut command = Command::new(emulator);
                command.arg(&path);
                command
            }
            None => Command::new(&path),
        };
        let output = command().output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(output.stdout, MESSAGE);
        // A write that fails is told.
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let status = command().stdout(Stdio::from(full)).status().unwrap();
        assert_eq!(status.code(), Some(1));
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_program_of_x86_64_runs() {
        run("amd64", None);
    }

    #[test]
    #[cfg(target_arch = "aarch64")]
    fn the_program_of_aarch64_runs() {
        run("arm64", None);
    }

    #[test]
    #[cfg(not(target_arch = "aarch64"))]
    fn the_program_of_aarch64_runs_emulated() {
        let emulator = "/usr/bin/qemu-aarch64-static";
        if std::path::Path::new(emulator).exists() {
            run("arm64", Some(emulator));
        } else {
            eprintln!("skipped: {emulator} is not installed (Debian's qemu-user-static)");
        }
    }

    /// The digests are a promise: who mirrors the image by digest keeps finding it. They change with the
    /// message or the program only.
    #[test]
    fn the_digests_are_always_the_same() {
        let image = image().unwrap();
        let digests: Vec<_> = image
            .blobs
            .iter()
            .chain(&image.manifests)
            .chain([&image.index])
            .map(|(digest, _)| digest.to_string())
            .collect();
        assert_eq!(
            digests,
            [
                "sha256:930025886c39b39b33b92be7a2b8bfb3bb32911c2502fc6063c6ec77228da93f",
                "sha256:2bdf15800390ea45d3f8e627d3003d350c43ec549257d24d42ca5c1ab93ac3f2",
                "sha256:4669c13f1071488377a852966ddc02167ff39acd606b06014c8dff7f1ca5861a",
                "sha256:f50df85e2dc6dd7279ec2313c60cb0fcb0309580c1686e7451b4f2166971b9a3",
                "sha256:9548bbf16f7f50c90159b925f695f4367cae82bf07df3a63abe1940ee9c13658",
                "sha256:2e1c355de206fc2cdeead536262b446f7b15a356c2da4577cc7a611d2f03a12d",
                "sha256:02beb6a04456fedb50592c1ed1b51c13795e874be1c96a7d6f4714610f2654cf",
            ]
        );
    }

    #[test]
    fn every_digest_that_is_named_is_there() {
        let image = image().unwrap();
        let index: Index = serde_json::from_slice(&image.index.1).unwrap();
        assert_eq!(index.manifests.len(), 2);
        for child in &index.manifests {
            let (_, bytes) = image
                .manifests
                .iter()
                .find(|(d, _)| *d == child.digest)
                .unwrap();
            let manifest: Manifest = serde_json::from_slice(bytes).unwrap();
            let find = |d: &Digest| image.blobs.iter().find(|(digest, _)| digest == d).unwrap();
            let config = ImageConfig::parse(&find(&manifest.config.digest).1).unwrap();
            assert_eq!(config.platform(), child.platform.clone().unwrap());
            let mut tar = Vec::new();
            let layer = &find(&manifest.layers[0].digest).1[..];
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(layer), &mut tar).unwrap();
            assert_eq!(config.rootfs.diff_ids, [Digest::sha256(&tar)]);
        }
    }
}
