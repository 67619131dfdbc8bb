//! Pulling one large layer over the loopback, against `gzip -dc | tar x` of the same blob.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dhow_tests::image::{Image, Layer};
use dhow_tests::{Engine, HostOptions, TestHost};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::hosts::{ENGINES, name};
use crate::measure::{Samples, Table, ms, ratio, time};

const FILES: usize = 4200;
/// Bytes of a file system that holds a registry with the layer, and an engine that has pulled it.
const DISK: u64 = 8 << 30;

pub fn bench(count: usize) -> Result<()> {
    let layer = layer()?;
    let mut encoder = GzEncoder::new(Vec::with_capacity(layer.len() / 2), Compression::new(4));
    encoder.write_all(&layer)?;
    let blob = encoder.finish()?;
    println!(
        "a layer of {} files, {:.2} GB, {:.0} MB as gzip; {count} times, milliseconds",
        FILES,
        layer.len() as f64 / 1e9,
        blob.len() as f64 / 1e6
    );
    let image = Image::assemble(
        std::slice::from_ref(&layer),
        vec![blob.clone()],
        "application/vnd.oci.image.layer.v1.tar+gzip",
        json!({}),
    );
    drop(layer);
    let mut table = Table::new(&["", "median", "p95", "of tar's"]);
    let mut tar = Samples::default();
    for _ in 0..count {
        tar.add(gzip_tar(&Disk::new()?, &blob)?);
    }
    table.row([
        "gzip -dc | tar x".to_owned(),
        ms(tar.median()),
        ms(tar.p95()),
        String::new(),
    ]);
    for engine in ENGINES {
        let mut samples = Samples::default();
        for _ in 0..count {
            samples.add(pull(&Disk::new()?, engine, &image));
        }
        table.row([
            name(engine).to_owned(),
            ms(samples.median()),
            ms(samples.p95()),
            ratio(samples.median(), tar.median()),
        ]);
    }
    table.print();
    Ok(())
}

/// A file system that is made for one run, ext4 as Debian makes it, in a file: what came before has left nothing on
/// it. (Without a journal, as on some virtual machines' disks, ext4 keeps clear of inodes that were deleted in the
/// last minutes, and looks at each of them for each file that is made.)
struct Disk {
    file: tempfile::NamedTempFile,
    dir: tempfile::TempDir,
}

impl Disk {
    fn new() -> Result<Disk> {
        let disk = Disk {
            file: tempfile::NamedTempFile::new()?,
            dir: tempfile::Builder::new().prefix("d").tempdir_in("/tmp")?,
        };
        disk.file.as_file().set_len(DISK)?;
        let whole = "lazy_itable_init=0,lazy_journal_init=0";
        command(
            Command::new("mkfs.ext4")
                .args(["-q", "-F", "-E", whole])
                .arg(disk.file.path()),
        )?;
        command(
            Command::new("mount")
                .args(["-o", "loop"])
                .arg(disk.file.path())
                .arg(disk.dir.path()),
        )?;
        Ok(disk)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(e) = command(Command::new("umount").arg(self.dir.path())) {
            eprintln!("{e}");
        }
    }
}

fn command(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("running {command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

fn pull(disk: &Disk, engine: Engine, image: &Image) -> Duration {
    let host = TestHost::of(
        engine,
        HostOptions {
            busybox: false,
            registry: Some(Engine::Dhow),
            directory: Some(disk.dir.path().to_owned()),
            ..HostOptions::default()
        },
    );
    host.push_image(image, "library/large:latest");
    rustix::fs::sync();
    let (elapsed, finished) = time(|| host.sh("exec dhow pull -q large"));
    finished.ok();
    elapsed
}

fn gzip_tar(disk: &Disk, blob: &[u8]) -> Result<Duration> {
    let dir = disk.dir.path();
    std::fs::write(dir.join("blob"), blob)?;
    std::fs::create_dir(dir.join("out"))?;
    rustix::fs::sync();
    let mut pipe = Command::new("sh");
    pipe.args(["-c", "gzip -dc blob | tar x -C out"])
        .current_dir(dir);
    let (elapsed, done) = time(|| command(&mut pipe));
    done?;
    Ok(elapsed)
}

/// About a gigabyte in files of very different sizes, of which a part is as good as random, as programs and
/// pictures are, and the rest is compressible, as text is.
fn layer() -> Result<Vec<u8>> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        // xorshift64: the same layer each time.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let words: Vec<String> = (0..64)
        .map(|_| format!("{:x} ", next() % 0xfffff))
        .collect();
    let mut layer = Layer::default();
    for directory in 0..60 {
        layer.directory(&format!("d{directory}"), 0o755)?;
    }
    let mut content = Vec::new();
    for file in 0..FILES {
        let size = match file % 42 {
            0 => 6_000_000,
            1..10 => 250_000,
            _ => 48_000,
        } + (next() % 4096) as usize;
        content.clear();
        while content.len() < size {
            if next() % 100 < 18 {
                for _ in 0..128 {
                    content.extend(next().to_le_bytes());
                }
            } else {
                for _ in 0..180 {
                    content.extend(words[(next() % 64).min(next() % 64) as usize].as_bytes());
                }
            }
        }
        layer.file(&format!("d{}/file{file}", file % 60), 0o644, &content)?;
    }
    Ok(layer.finish()?)
}
