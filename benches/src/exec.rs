//! `exec true` in a running container.

use anyhow::Result;

use crate::hosts::{ENGINES, name, start};
use crate::measure::{Samples, Table, command, ms, ratio};

pub fn bench(count: usize) -> Result<()> {
    println!("exec true, {count} times, milliseconds");
    let mut table = Table::new(&["", "median", "p95", "of the peer's"]);
    let mut peer = None;
    for engine in ENGINES {
        let host = start(engine);
        host.sh("docker run -d --name box busybox sleep 100000")
            .ok();
        for client in ["docker", "dhow"] {
            let mut samples = Samples::default();
            for _ in 0..count {
                samples.add(command(&host, &[client, "exec", "box", "true"])?);
            }
            let of = *peer.get_or_insert(samples.median());
            table.row([
                format!("{} ({client} client)", name(engine)),
                ms(samples.median()),
                ms(samples.p95()),
                ratio(samples.median(), of),
            ]);
        }
    }
    table.print();
    Ok(())
}
