//! What the same bytes take without an engine: through a unix socket, from a file, or onto the disk.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use anyhow::Result;

use crate::measure::{Samples, time};

const BUFFER: usize = 256 << 10;

/// The milliseconds of an answer of this length by a server that does nothing but answer.
pub fn answer(dir: &Path, length: usize, rounds: usize) -> Result<f64> {
    let path = dir.join("floor");
    let listener = UnixListener::bind(&path)?;
    let body = vec![b'x'; length];
    let server = std::thread::spawn(move || -> io::Result<()> {
        for _ in 0..rounds {
            let (mut stream, _) = listener.accept()?;
            let mut head = [0; 512];
            let _ = stream.read(&mut head)?;
            stream.write_all(&body)?;
        }
        Ok(())
    });
    let mut samples = Samples::default();
    for _ in 0..rounds {
        let (elapsed, done) = time(|| -> io::Result<()> {
            let mut stream = UnixStream::connect(&path)?;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
            drain(&mut stream)
        });
        done?;
        samples.add(elapsed);
    }
    let _ = server.join();
    std::fs::remove_file(path)?;
    Ok(samples.median())
}

/// `cat FILE` through a unix socket, in milliseconds.
pub fn cat(file: &Path) -> Result<f64> {
    let mut file = File::open(file)?;
    let (mut here, mut there) = UnixStream::pair()?;
    let (elapsed, done) = time(|| -> io::Result<()> {
        std::thread::scope(|scope| {
            let sender = scope.spawn(move || pass(&mut file, &mut there));
            drain(&mut here)?;
            sender.join().unwrap_or(Ok(()))
        })
    });
    done?;
    Ok(elapsed.as_secs_f64() * 1e3)
}

/// A stream through a unix socket into a file; flushed to the disk, where what is measured beside it is.
pub fn receive(dir: &Path, from: &mut (dyn Read + Send), flushed: bool) -> Result<f64> {
    let path = dir.join("floor");
    let mut file = File::create(&path)?;
    let (mut here, mut there) = UnixStream::pair()?;
    let (elapsed, done) = time(|| -> io::Result<()> {
        std::thread::scope(|scope| {
            let sender = scope.spawn(move || pass(from, &mut there));
            pass(&mut here, &mut file)?;
            sender.join().unwrap_or(Ok(()))
        })?;
        match flushed {
            true => file.sync_all(),
            false => Ok(()),
        }
    });
    done?;
    std::fs::remove_file(path)?;
    Ok(elapsed.as_secs_f64() * 1e3)
}

fn pass(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            n => to.write_all(&buffer[..n])?,
        }
    }
}

fn drain(from: &mut UnixStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    while from.read(&mut buffer)? > 0 {}
    Ok(())
}
