//! `top`.

use crate::error::Result;
use crate::flags::Args;
use crate::format::table::align_to;
use crate::session::Session;
use crate::stdio;

/// The cells of a process list are wider than others, the gap not counted.
const NARROWEST: usize = 17;

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let arguments = args.rest[1..].join(" ");
    let client = session.client().await?;
    let arguments = Some(arguments.as_str()).filter(|text| !text.is_empty());
    let processes = client.container_top(&args.rest[0], arguments).await?;
    let mut out = processes.titles.join("\t") + "\n";
    for process in &processes.processes {
        out += &process.join("\t");
        out.push('\n');
    }
    Ok(stdio::print(&align_to(&out, NARROWEST))?)
}
