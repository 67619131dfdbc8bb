//! The end that answers.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::{AT_ONCE, BULK, QUESTION};

const BUFFER: usize = 128 << 10;

pub fn serve(ports: &[u16]) -> Result<()> {
    let mut threads = Vec::new();
    for port in ports {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port))
            .with_context(|| format!("can't listen on port {port}"))?;
        let listener = Arc::new(listener);
        for _ in 0..AT_ONCE {
            let listener = listener.clone();
            threads.push(std::thread::spawn(move || {
                loop {
                    // Who goes away in between asks for nothing.
                    let _ = listener.accept().and_then(|(stream, _)| answer(stream));
                }
            }));
        }
    }
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut first = [0];
    stream.read_exact(&mut first)?;
    match first[0] {
        QUESTION => stream.write_all(&first),
        BULK => {
            let mut bytes = 0_u64;
            let mut buffer = vec![0; BUFFER];
            loop {
                match stream.read(&mut buffer)? {
                    0 => return stream.write_all(&bytes.to_be_bytes()),
                    n => bytes += n as u64,
                }
            }
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
