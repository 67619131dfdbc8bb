//! Many bytes: a log that is read back, a file that goes into a container and out of it, an image that is saved and
//! loaded. The floor is the same bytes through a unix socket, from a file or into one.

use std::fs::File;
use std::io::{self, Cursor, Read, Write};

use anyhow::{Context, Result, ensure};
use dhow_tests::{Engine, TestHost};

use super::client::Client;
use super::options::Options;
use super::{floor, memory};
use crate::measure::time;
use crate::report::Column;

pub fn measure(host: &TestHost, options: &Options, column: &mut Column<'_>) -> Result<()> {
    if options.wants("logs") {
        logs(host, options.bytes(), column)?;
    }
    if options.wants("cp") {
        copies(host, options.bytes(), column)?;
    }
    if options.wants("images") {
        images(host, options.bytes(), column)?;
    }
    Ok(())
}

/// Lines of a hundred bytes: they are in the log as so many records.
fn logs(host: &TestHost, bytes: u64, column: &mut Column<'_>) -> Result<()> {
    // A log without bounds is what the peer keeps by default, and written out here.
    let unbound = match host.engine {
        Engine::Dhow => "--log-opt max-size=-1",
        Engine::Dockerd => "",
    };
    let line = "x".repeat(99);
    let (writing, ()) = time(|| {
        host.sh(&format!(
            "dhow run --name lines {unbound} busybox sh -c 'yes {line} | head -c {bytes}' > out"
        ))
        .ok();
    });
    column.ms(
        "a container's output, logged and read at once",
        writing.as_secs_f64() * 1e3,
    );
    std::fs::remove_file(host.path("out"))?;
    let client = Client::of(host);
    let path = "/containers/lines/logs?stdout=1&stderr=1";
    let (ms, read) = client.download(path, |_| {})?;
    // Each line has a frame's head.
    ensure!(
        read == bytes / 100 * 108,
        "{read} bytes of a log of {bytes}"
    );
    column.ms("logs", ms);
    let (ms, read) = client.download(&format!("{path}&tail=1000"), |_| {})?;
    ensure!(read == 108_000, "{read} bytes of 1000 lines");
    column.ms("logs --tail 1000", ms);
    let file = host.inspect("lines")["LogPath"].as_str().map(str::to_owned);
    let file = file.context("a container without a log")?;
    column.floor("logs", floor::cat(file.as_ref())?);
    host.sh("docker rm lines").ok();
    Ok(())
}

fn copies(host: &TestHost, bytes: u64, column: &mut Column<'_>) -> Result<()> {
    host.sh("dhow run -d --name files busybox sleep 100000")
        .ok();
    let client = Client::of(host);
    let path = "/containers/files/archive?path=/tmp";
    let (ms, _) = client.upload("PUT", path, archive_length(bytes), &mut archive(bytes)?)?;
    column.ms("cp into a container", ms);
    let floor = floor::receive(host.dir(), &mut archive(bytes)?, false)?;
    column.floor("cp into a container", floor);
    let (ms, read) = client.download("/containers/files/archive?path=/tmp/file", |_| {})?;
    ensure!(read > bytes, "{read} bytes of a file of {bytes}");
    column.ms("cp out of a container", ms);
    let plain = host.path("plain");
    io::copy(&mut archive(bytes)?, &mut File::create(&plain)?)?;
    column.floor("cp out of a container", floor::cat(&plain)?);
    std::fs::remove_file(plain)?;
    host.sh("docker rm -f files").ok();
    Ok(())
}

fn images(host: &TestHost, bytes: u64, column: &mut Column<'_>) -> Result<()> {
    let client = Client::of(host);
    let length = archive_length(bytes);
    let import = "/images/create?fromSrc=-&repo=big&tag=latest";
    client.upload("POST", import, length, &mut archive(bytes)?)?;
    memory::forget(host);
    let (ms, read) = client.download("/images/big/get", |_| {})?;
    ensure!(read > bytes, "{read} bytes of an image of {bytes}");
    column.ms("save", ms);
    let saved = host.path("saved.tar");
    let mut file = File::create(&saved)?;
    let mut wrote = Ok(());
    client.download("/images/big/get", |piece| {
        if wrote.is_ok() {
            wrote = file.write_all(piece);
        }
    })?;
    wrote?;
    file.sync_all()?;
    column.floor("save", floor::cat(&saved)?);
    host.sh("docker rmi big").ok();
    let length = std::fs::metadata(&saved)?.len();
    let (ms, said) = client.upload(
        "POST",
        "/images/load?quiet=1",
        length,
        &mut File::open(&saved)?,
    )?;
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(said.contains("Loaded image"), "{said}");
    column.ms("load", ms);
    let floor = floor::receive(host.dir(), &mut File::open(&saved)?, true)?;
    column.floor("load", floor);
    column.mib("memory of save and load, at most", memory::peak(host));
    host.sh("docker rmi big").ok();
    std::fs::remove_file(saved)?;
    Ok(())
}

fn head(bytes: u64) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_path("file")?;
    header.set_mode(0o644);
    header.set_size(bytes);
    header.set_mtime(1_700_000_000);
    header.set_cksum();
    Ok(header.as_bytes().to_vec())
}

fn padding(bytes: u64) -> u64 {
    bytes.next_multiple_of(512) - bytes + 1024
}

fn archive_length(bytes: u64) -> u64 {
    512 + bytes + padding(bytes)
}

/// An archive of one file, whose content can't be made smaller and is made as it is read.
fn archive(bytes: u64) -> Result<impl Read + Send> {
    let content = Noise {
        block: noise(),
        at: 0,
    };
    Ok(Cursor::new(head(bytes)?)
        .chain(content.take(bytes))
        .chain(io::repeat(0).take(padding(bytes))))
}

/// The same block again and again, larger than what compressions look back to.
struct Noise {
    block: Vec<u8>,
    at: usize,
}

fn noise() -> Vec<u8> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    (0..(8 << 20) / 8)
        .flat_map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random.to_le_bytes()
        })
        .collect()
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.block[self.at..];
        let n = buffer.len().min(rest.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        self.at = (self.at + n) % self.block.len();
        Ok(n)
    }
}
