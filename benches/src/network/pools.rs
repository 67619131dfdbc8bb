//! How many networks there can be, and whether the thousandth costs more than the first: made and removed one after
//! another by one client, over the API, and reached from another host through a published port.

use anyhow::{Result, bail};
use dhow_tests::{Engine, TestHost};

use super::elsewhere::Elsewhere;
use super::load::{IMAGE, bring_image, latency};
use crate::clients::remove_all;
use crate::hosts::{ENGINES, start, start_with};
use crate::measure::{Samples, request};
use crate::report::{Column, Report, Unit};

/// What Dhow is to hold.
const MANY: usize = 1000;
/// The peer takes minutes for more.
const BOTH: usize = 200;
/// At the beginning and at the end a median of so many tells what each costs there.
const SOME: usize = 50;
const POOLS: &str = "networks out of the engine's own pools";
/// The peer's end before, and it is given a wider one.
const WIDE: [&str; 2] = ["--default-address-pool", "base=10.128.0.0/9,size=24"];

pub fn bench() -> Result<()> {
    println!(
        "{BOTH} networks, dockerd's out of a wider pool than its own, and {MANY}; milliseconds where nothing else is said"
    );
    let mut report = Report::default();
    for engine in ENGINES {
        let mut column = report.column(engine);
        let host = match engine {
            Engine::Dhow => start(engine),
            Engine::Dockerd => {
                until_refused(&start(engine), &mut column)?;
                start_with(engine, &WIDE)
            }
        };
        bring_image(&host)?;
        made_and_removed(&host, BOTH, &mut column)?;
        if engine == Engine::Dhow {
            made_and_removed(&host, MANY, &mut column)?;
            column.add(POOLS, Unit::Count, MANY as f64);
        }
    }
    report.print();
    Ok(())
}

/// Makes networks until the daemon makes no more.
fn until_refused(host: &TestHost, column: &mut Column) -> Result<()> {
    let mut made = 0;
    while made < MANY {
        if let Err(refusal) = create(host, made) {
            eprintln!("after {made} networks: {refusal}");
            break;
        }
        made += 1;
    }
    column.add(POOLS, Unit::Count, made as f64);
    Ok(())
}

fn made_and_removed(host: &TestHost, count: usize, column: &mut Column) -> Result<()> {
    let made = (0..count).map(|number| create(host, number));
    report(&format!("{count} networks, create"), made, column)?;
    reach(host, count, column)?;
    let removed = (0..count).map(|number| remove(host, number));
    report(&format!("{count} networks, rm"), removed, column)
}

/// A container on the first of the networks, and one on the last.
fn reach(host: &TestHost, count: usize, column: &mut Column) -> Result<()> {
    let elsewhere = Elsewhere::beside(&host.netns)?;
    let ends = [("first", 0, 7000), ("last", count - 1, 7001)];
    for (which, number, port) in ends {
        host.sh(&format!(
            "docker run -d --name {which} --network n{number} -p {port}:{port} {IMAGE} serve {port}"
        ))
        .ok();
    }
    let medians = latency(&elsewhere, &ends.map(|(_, _, port)| port))?;
    for ((which, ..), us) in ends.iter().zip(medians) {
        let what = format!("{count} networks, a connection to the {which}");
        column.add(&what, Unit::Microseconds, us);
    }
    remove_all(host);
    Ok(())
}

fn report(what: &str, times: impl Iterator<Item = Result<f64>>, column: &mut Column) -> Result<()> {
    let times: Vec<f64> = times.collect::<Result<_>>()?;
    let (Some(first), Some(last)) = (times.first_chunk::<SOME>(), times.last_chunk::<SOME>())
    else {
        bail!("{SOME} networks are the least");
    };
    column.add(what, Unit::Seconds, times.iter().sum::<f64>() / 1e3);
    for (which, some) in [("first", first), ("last", last)] {
        let mut samples = Samples::default();
        some.iter().for_each(|ms| samples.add_ms(*ms));
        let what = format!("{what}, each of the {which} {SOME}");
        column.ms(&what, samples.median());
    }
    Ok(())
}

fn create(host: &TestHost, number: usize) -> Result<f64> {
    let body = format!(r#"{{"Name":"n{number}"}}"#);
    Ok(request(host, "POST", "/networks/create", Some(&body))?.0)
}

fn remove(host: &TestHost, number: usize) -> Result<f64> {
    Ok(request(host, "DELETE", &format!("/networks/n{number}"), None)?.0)
}
