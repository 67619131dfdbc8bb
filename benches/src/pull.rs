//! Pulling one large layer over the loopback, against `gzip -dc | tar x` of the same blob.

use std::io::Write;

use anyhow::{Context, Result};
use dhow_tests::image::{Image, Layer};
use dhow_tests::{Engine, HostOptions, TestHost};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::hosts::{ENGINES, name};
use crate::measure::{Samples, Table, ms, ratio, time};

const FILES: usize = 4200;

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
    let mut tar = None;
    for engine in ENGINES {
        let host = TestHost::of(
            engine,
            HostOptions {
                busybox: false,
                registry: Some(Engine::Dhow),
                ..HostOptions::default()
            },
        );
        if tar.is_none() {
            let samples = gzip_tar(&host, &blob, count)?;
            table.row([
                "gzip -dc | tar x".to_owned(),
                ms(samples.median()),
                ms(samples.p95()),
                String::new(),
            ]);
            tar = Some(samples.median());
        }
        host.push_image(&image, "library/large:latest");
        let mut samples = Samples::default();
        for _ in 0..count {
            rustix::fs::sync();
            let (elapsed, finished) = time(|| host.sh("exec dhow pull -q large"));
            finished.ok();
            samples.add(elapsed);
            host.sh("dhow rmi large").ok();
        }
        table.row([
            name(engine).to_owned(),
            ms(samples.median()),
            ms(samples.p95()),
            ratio(samples.median(), tar.context("tar went first")?),
        ]);
    }
    table.print();
    Ok(())
}

fn gzip_tar(host: &TestHost, blob: &[u8], count: usize) -> Result<Samples> {
    std::fs::write(host.path("blob"), blob)?;
    let mut samples = Samples::default();
    for _ in 0..count {
        rustix::fs::sync();
        std::fs::create_dir(host.path("out"))?;
        let (elapsed, finished) = time(|| host.sh("gzip -dc blob | tar x -C out"));
        finished.ok();
        samples.add(elapsed);
        std::fs::remove_dir_all(host.path("out"))?;
    }
    std::fs::remove_file(host.path("blob"))?;
    Ok(samples)
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
