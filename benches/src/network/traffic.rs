//! What goes through: bits over one connection, and connections one after another, between two containers and through a
//! published port. The engines and the floor take turns, and of the rounds of each the best counts: whatever else the machine
//! does in a round makes it worse.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use dhow_tests::TestHost;

use super::bare::Bare;
use super::elsewhere::{Elsewhere, HERE};
use super::load::{From, IMAGE, bring_image, measure};
use crate::hosts::{ENGINES, start};
use crate::report::{Report, Unit};

const ROUNDS: usize = 6;
const SECONDS: &str = "1";
const PORT: u16 = 7000;
const SERVER: &str = "server";
const CLIENT: &str = "client";

/// What is measured, the program's word for it, and how many of the unit one of its figures is.
const FIGURES: [(&str, &str, Unit, f64); 2] = [
    ("one stream", "send", Unit::GigabitsPerSecond, 1e-9),
    ("connections", "connect", Unit::PerSecond, 1.0),
];

/// Paths are known by their numbers here. On the floor no port is published, and the server's own address is used.
const PATHS: [&str; 3] = [
    "container to container",
    "host to published port",
    "another host to published port",
];

enum Side {
    Engine(Box<Containers>),
    Floor(Bare),
}

/// Two containers on one network, and another host.
struct Containers {
    // Gone before the host, which looks at what is left.
    elsewhere: Elsewhere,
    host: TestHost,
    server: Ipv4Addr,
}

pub fn bench() -> Result<()> {
    println!("traffic over TCP, {SECONDS} s each, the best of {ROUNDS} rounds");
    let mut sides = Vec::new();
    for engine in ENGINES {
        sides.push(Side::Engine(Box::new(Containers::set_up(start(engine))?)));
    }
    sides.push(Side::Floor(Bare::set_up(PORT)?));
    let mut report = Report::default();
    for (what, word, unit, scale) in FIGURES {
        for (path, name) in PATHS.iter().enumerate() {
            let mut best = vec![0.0_f64; sides.len()];
            for _ in 0..ROUNDS {
                for (side, best) in sides.iter().zip(&mut best) {
                    *best = best.max(side.measure(path, word)? * scale);
                }
            }
            let what = format!("{what}, {name}");
            for (side, best) in sides.iter().zip(best) {
                match side {
                    Side::Engine(it) => report.column(it.host.engine).add(&what, unit, best),
                    Side::Floor(_) => report.floor(&what, unit, best),
                }
            }
        }
    }
    report.print();
    Ok(())
}

impl Side {
    fn measure(&self, path: usize, word: &str) -> Result<f64> {
        let (from, address) = match self {
            Side::Engine(containers) => containers.path(path),
            Side::Floor(bare) => bare.path(path),
        };
        let address = format!("{address}:{PORT}");
        Ok(measure(from, &[word, &address, SECONDS])?[0])
    }
}

impl Containers {
    fn set_up(host: TestHost) -> Result<Containers> {
        bring_image(&host)?;
        host.sh(&format!(
            "docker network create own && docker run -d --name {SERVER} --network own -p {PORT}:{PORT} {IMAGE} serve {PORT} && docker run -d --name {CLIENT} --network own {IMAGE} serve {PORT}"
        ))
        .ok();
        let networks = host.inspect(SERVER)["NetworkSettings"]["Networks"].take();
        let address = networks["own"]["IPAddress"].as_str();
        let address = address.and_then(|text| text.parse().ok());
        Ok(Containers {
            server: address.with_context(|| format!("no address of the server: {networks}"))?,
            elsewhere: Elsewhere::beside(&host.netns)?,
            host,
        })
    }

    fn path(&self, number: usize) -> (From<'_>, Ipv4Addr) {
        match number {
            0 => (From::Container(&self.host, CLIENT), self.server),
            1 => (From::Namespace(&self.host.netns), Ipv4Addr::LOCALHOST),
            _ => (From::Namespace(&self.elsewhere.netns), HERE),
        }
    }
}
