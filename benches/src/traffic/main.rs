//! `dhow-traffic`: connections over TCP, and figures of them. It has nothing beside it but the kernel, so that it can be
//! an image's only file, and one program is both ends of every path that is measured.
//!
//! - `serve PORT...` answers on these ports until it is killed.
//! - `send ADDRESS SECONDS` sends as much as it can over one connection, and prints the bits a second that arrived.
//! - `connect ADDRESS SECONDS` makes one connection after another, and prints how many a second.
//! - `latency COUNT ADDRESS...` connects so many times to each address in turn, and prints the medians in microseconds.

mod client;
mod server;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// What a client's first byte asks for: this byte back,
const QUESTION: u8 = b'q';
/// or the number of bytes until the end of what it sends, big-endian.
const BULK: u8 = b'b';

/// So many connections are made and answered at once: enough to keep two processors busy.
const AT_ONCE: usize = 4;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", ports @ ..] => {
            let ports: Result<Vec<u16>, _> = ports.iter().map(|port| port.parse()).collect();
            server::serve(&ports?)
        }
        ["send", address, seconds] => {
            let bits = client::send(parse(address)?, duration(seconds)?)?;
            println!("{bits:.0}");
            Ok(())
        }
        ["connect", address, seconds] => {
            let rate = client::connect(parse(address)?, duration(seconds)?)?;
            println!("{rate:.1}");
            Ok(())
        }
        ["latency", count, addresses @ ..] => {
            let addresses: Result<Vec<_>> = addresses.iter().map(|text| parse(text)).collect();
            let medians = client::latency(count.parse()?, &addresses?)?;
            let medians: Vec<String> = medians.iter().map(|us| format!("{us:.2}")).collect();
            println!("{}", medians.join(" "));
            Ok(())
        }
        _ => bail!("usage: dhow-traffic serve|send|connect|latency ..."),
    }
}

fn parse(address: &str) -> Result<SocketAddr> {
    address
        .parse()
        .with_context(|| format!("an address and a port, not {address}"))
}

fn duration(seconds: &str) -> Result<Duration> {
    Ok(Duration::from_secs_f64(seconds.parse()?))
}
