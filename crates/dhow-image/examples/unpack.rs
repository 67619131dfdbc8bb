//! Measures how long a layer takes from its stream to its tree and the flush, beside `gzip -dc | tar x`
//! of the same blob: `cargo run --release -p dhow-image --example unpack -- [DIRECTORY]`.
//!
//! The layer has the shape of a large one that is found in the wild: 1.01 GB in 4,200 files, which
//! compress to about a third. It is made once, in the directory, and used again by later runs.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use bytes::BytesMut;
use dhow_image::{Images, LayerSpec};
use dhow_oci::{Digest, media_type};
use dhow_store::Store;

const FILES: usize = 4200;
const BYTES: usize = 1_010_000_000;
const CHUNK: usize = 64 << 10;

fn main() {
    let dir = std::env::args()
        .nth(1)
        .map_or_else(|| std::env::temp_dir().join("dhow-unpack"), PathBuf::from);
    fs::create_dir_all(&dir).unwrap();
    let blob = dir.join("layer.tar.gz");
    if !blob.exists() {
        make(&dir.join("layer.tmp"));
        fs::rename(dir.join("layer.tmp"), &blob).unwrap();
    }
    // Both read it from memory.
    let size = std::io::copy(&mut File::open(&blob).unwrap(), &mut std::io::sink()).unwrap();
    println!("{size} bytes compressed");
    for _ in 0..3 {
        println!("gzip -dc | tar x        {:.2} s", peer(&dir, &blob, ""));
        println!(
            "gzip -dc | tar x; sync  {:.2} s",
            peer(&dir, &blob, "; sync -f .")
        );
        let (unpacked, flushed) = own(&dir, &blob);
        println!("dhow                    {unpacked:.2} s, flushed {flushed:.2} s");
    }
}

fn peer(dir: &Path, blob: &Path, after: &str) -> f64 {
    let to = dir.join("peer");
    fs::create_dir_all(&to).unwrap();
    settle();
    let start = Instant::now();
    let script = format!("gzip -dc {} | tar xp{after}", blob.display());
    let status = Command::new("sh")
        .arg("-c")
        .arg(script)
        .current_dir(&to)
        .status()
        .unwrap();
    let took = start.elapsed().as_secs_f64();
    assert!(status.success());
    fs::remove_dir_all(to).unwrap();
    took
}

fn own(dir: &Path, blob: &Path) -> (f64, f64) {
    let root = dir.join("own");
    fs::create_dir_all(&root).unwrap();
    let store = Store::open(&root.join("meta.db"), &[Images::schema()]).unwrap();
    let images = Images::open(&root, store).unwrap();
    let digest = digest_of(blob);
    settle();
    let start = Instant::now();
    let ingest = images.begin();
    let spec = LayerSpec {
        blob: Some(digest),
        diff_id: None,
        media_type: media_type::OCI_LAYER_GZIP.into(),
    };
    let sink = ingest.layer(spec).unwrap();
    let mut file = File::open(blob).unwrap();
    loop {
        let mut buffer = BytesMut::zeroed(CHUNK);
        let n = file.read(&mut buffer).unwrap();
        buffer.truncate(n);
        if n == 0 || !sink.send_blocking(buffer.freeze()) {
            break;
        }
    }
    let layer = sink.finish_blocking().unwrap();
    let diff_id = layer.diff_id.clone();
    ingest.place_layer(layer, None).unwrap();
    let unpacked = start.elapsed().as_secs_f64();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
    );
    let id = ingest.put_document(config.as_bytes()).unwrap();
    ingest.commit(&id, &[], &[]).unwrap();
    let flushed = start.elapsed().as_secs_f64();
    drop(images);
    fs::remove_dir_all(root).unwrap();
    (unpacked, flushed)
}

fn digest_of(blob: &Path) -> (Digest, u64) {
    let mut hasher = dhow_oci::Algorithm::Sha256.hasher();
    let bytes = fs::read(blob).unwrap();
    hasher.update(&bytes);
    (hasher.finish(), bytes.len() as u64)
}

/// What earlier runs wrote is no part of this one.
fn settle() {
    assert!(Command::new("sync").status().unwrap().success());
}

/// Words of a small language, so that it compresses as programs and libraries do.
fn make(path: &Path) {
    let encoder =
        flate2::write::GzEncoder::new(File::create(path).unwrap(), flate2::Compression::default());
    let mut builder = tar::Builder::new(encoder);
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let words: Vec<[u8; 8]> = (0..1024).map(|_| next().to_le_bytes()).collect();
    for file in 0..FILES {
        // A few large files and many small ones, with the same sum whatever the order.
        let size = match file % 42 {
            0 => BYTES / FILES * 30,
            _ => BYTES / FILES * 12 / 41,
        };
        let mut data = Vec::with_capacity(size + 8);
        while data.len() < size {
            let n = next();
            if n % 8 == 0 {
                data.extend_from_slice(&n.to_le_bytes()[..4]);
            } else {
                data.extend_from_slice(&words[(n >> 8) as usize % words.len()]);
            }
        }
        data.truncate(size);
        let mut header = tar::Header::new_gnu();
        header.set_size(size as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        let name = format!("usr/lib/d{}/f{file}", file / 100);
        builder.append_data(&mut header, name, &data[..]).unwrap();
    }
    builder
        .into_inner()
        .unwrap()
        .finish()
        .unwrap()
        .flush()
        .unwrap();
}
