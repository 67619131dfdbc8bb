//! Published ports by the thousand: how long the containers take that have them, and whether a connection through one of
//! many is looked up for longer than through the only one.

use anyhow::{Context, Result};
use dhow_tests::{Engine, TestHost, footprint};

use super::elsewhere::Elsewhere;
use super::load::{IMAGE, bring_image, latency};
use crate::clients::{remove_all, share};
use crate::hosts::{name, start_with};
use crate::measure::{Table, command};

const CONTAINERS: u16 = 100;
/// Below those that the kernel gives to who doesn't care.
const FIRST_PORT: u16 = 20_000;
const ALONE: u16 = 19_999;

/// An engine, how it is started, and what is published.
struct Case {
    engine: Engine,
    what: &'static str,
    daemon: &'static [&'static str],
    ports: u16,
    /// How much lower the containers' own ports are. Where they are the same, a run of them can be one rule.
    shift: u16,
}

const SHIFTED: u16 = 10_000;

const CASES: &[Case] = &[
    Case {
        engine: Engine::Dockerd,
        what: "",
        daemon: &[],
        ports: 1_000,
        shift: SHIFTED,
    },
    Case {
        engine: Engine::Dockerd,
        what: ", no proxies",
        daemon: &["--userland-proxy=false"],
        ports: 1_000,
        shift: SHIFTED,
    },
    Case {
        engine: Engine::Dhow,
        what: "",
        daemon: &[],
        ports: 1_000,
        shift: SHIFTED,
    },
    Case {
        engine: Engine::Dhow,
        what: "",
        daemon: &[],
        ports: 10_000,
        shift: SHIFTED,
    },
    Case {
        engine: Engine::Dhow,
        what: ", the same inside",
        daemon: &[],
        ports: 10_000,
        shift: 0,
    },
];

pub fn bench() -> Result<()> {
    println!(
        "ports published by {CONTAINERS} containers (dockerd with 1,000 only: more take it minutes); connections from another host, microseconds (median)"
    );
    let mut table = Table::new(&[
        "",
        "start, s",
        "remove, s",
        "processes",
        "one port alone",
        "beside all",
        "first",
        "last",
    ]);
    for case in CASES {
        table.row(case.measure()?);
    }
    table.print();
    Ok(())
}

impl Case {
    fn measure(&self) -> Result<[String; 8]> {
        let host = start_with(self.engine, self.daemon);
        bring_image(&host)?;
        let elsewhere = Elsewhere::beside(&host.netns)?;
        self.start(&host, "alone", ALONE, 1)?;
        let alone = latency(&elsewhere, &[ALONE])?;
        let before = processes(&host);

        let each = self.ports / CONTAINERS;
        let starting = share(CONTAINERS.into(), |number| {
            let first = FIRST_PORT + number as u16 * each;
            self.start(&host, &format!("c{number}"), first, each)
                .expect("a container starts");
        });
        let processes = processes(&host) - before;
        let last_port = FIRST_PORT + self.ports - 1;
        let among = latency(&elsewhere, &[ALONE, FIRST_PORT, last_port])?;
        let removing = remove_all(&host);
        let line = format!("{}{}, {} ports", name(self.engine), self.what, self.ports);
        eprintln!("{line}: {starting:?}, {removing:?}, {alone:?}, {among:?}");
        let us = |value: Option<&f64>| value.map_or(String::new(), |us| format!("{us:.1}"));
        Ok([
            line,
            format!("{:.2}", starting.as_secs_f64()),
            format!("{:.2}", removing.as_secs_f64()),
            processes.to_string(),
            us(alone.first()),
            us(among.first()),
            us(among.get(1)),
            us(among.get(2)),
        ])
    }

    /// A container that has these ports published, and answers at the first and the last of them.
    fn start(&self, host: &TestHost, name: &str, first: u16, count: u16) -> Result<()> {
        let last = first + count - 1;
        let inside = [first - self.shift, last - self.shift];
        let published = format!("{first}-{last}:{}-{}", inside[0], inside[1]);
        let served = inside.map(|port| port.to_string());
        let mut words = vec![
            "dhow", "run", "-d", "--name", name, "-p", &published, IMAGE, "serve", &served[0],
        ];
        if count > 1 {
            words.push(&served[1]);
        }
        command(host, &words).with_context(|| format!("container {name}"))?;
        Ok(())
    }
}

/// How many the engine has, containers included.
fn processes(host: &TestHost) -> usize {
    footprint::pids(&host.netns, host.dir(), &Default::default()).len()
}
