//! What clients ask of a daemon all day, request by request over its socket: how long until the answer's last byte is
//! here, with the peer beside it, and what a bare socket or disk takes for the same bytes.
//!
//! No client is in between: [`client`] speaks to both daemons alike, a connection for each request.

mod bulk;
mod client;
mod events;
mod floor;
mod memory;
mod options;
mod slow;
mod small;

use anyhow::Result;

use crate::hosts::{ENGINES, start};
use crate::report::Report;
use options::Options;

pub fn bench(words: impl Iterator<Item = String>) -> Result<()> {
    let options = Options::parse(words)?;
    println!(
        "{} containers that run, {} MB, {} who watch events, {} slow operations; milliseconds",
        options.containers, options.megabytes, options.watchers, options.slow
    );
    more_descriptors()?;
    let mut report = Report::default();
    for engine in ENGINES {
        let host = start(engine);
        let mut column = report.column(engine);
        if options.wants("small") {
            small::measure(&host, &options, &mut column)?;
        }
        if options.wants("slow") {
            slow::measure(&host, &options, &mut column)?;
        }
        if options.wants("events") {
            events::measure(&host, &options, &mut column)?;
        }
        bulk::measure(&host, &options, &mut column)?;
    }
    report.print();
    Ok(())
}

/// Each who watches takes a descriptor here.
fn more_descriptors() -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
