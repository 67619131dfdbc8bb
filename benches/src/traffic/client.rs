//! The end that asks, and measures.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::net::sockopt::set_socket_linger;

use crate::{AT_ONCE, BULK, QUESTION};

const BUFFER: usize = 128 << 10;
/// How long a server may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bits a second, as the receiver counts them.
pub fn send(address: SocketAddr, time: Duration) -> Result<f64> {
    wait_for(address)?;
    let mut stream = TcpStream::connect(address)?;
    let buffer = vec![0; BUFFER];
    stream.write_all(&[BULK])?;
    let begun = Instant::now();
    while begun.elapsed() < time {
        stream.write_all(&buffer)?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes) as f64 * 8.0 / begun.elapsed().as_secs_f64())
}

/// Connections a second, each with one byte there and back.
pub fn connect(address: SocketAddr, time: Duration) -> Result<f64> {
    wait_for(address)?;
    let begun = Instant::now();
    let counts: Vec<Result<u64>> = std::thread::scope(|scope| {
        let clients = [(); AT_ONCE].map(|()| {
            scope.spawn(|| {
                let mut count = 0;
                while begun.elapsed() < time {
                    ask(TcpStream::connect(address)?)?;
                    count += 1;
                }
                Ok(count)
            })
        });
        clients
            .into_iter()
            .map(|client| {
                client
                    .join()
                    .unwrap_or_else(|p| std::panic::resume_unwind(p))
            })
            .collect()
    });
    let count: u64 = counts.into_iter().sum::<Result<u64>>()?;
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// The medians of the microseconds until a connection stands. The addresses take turns, so that what else the machine does
/// is the same for all.
pub fn latency(count: usize, addresses: &[SocketAddr]) -> Result<Vec<f64>> {
    ensure!(count > 0, "nothing is measured by no connection");
    for address in addresses {
        wait_for(*address)?;
    }
    let mut samples = vec![Vec::with_capacity(count); addresses.len()];
    for _ in 0..count {
        for (address, samples) in addresses.iter().zip(&mut samples) {
            let begun = Instant::now();
            let stream = TcpStream::connect(address)?;
            samples.push(begun.elapsed().as_secs_f64() * 1e6);
            ask(stream)?;
        }
    }
    Ok(samples
        .into_iter()
        .map(|mut samples| {
            samples.sort_by(f64::total_cmp);
            samples[samples.len() / 2]
        })
        .collect())
}

/// Until the server answers: a proxy in between may listen before it does.
fn wait_for(address: SocketAddr) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect_timeout(&address, PATIENCE).and_then(ask) {
            Ok(()) => return Ok(()),
            Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error).with_context(|| format!("nobody at {address}")),
        }
    }
}

/// A byte there and back. The connection is reset at its end: one that lingered would keep its port, of which there are
/// fewer than connections here in some seconds.
fn ask(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(&[QUESTION])?;
    stream.read_exact(&mut [0])?;
    set_socket_linger(&stream, Some(Duration::ZERO))?;
    Ok(())
}
