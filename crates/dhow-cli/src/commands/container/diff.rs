//! `diff`.

use crate::error::Result;
use crate::flags::Args;
use crate::session::Session;
use crate::stdio;

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    let mut out = String::new();
    for change in client.container_changes(&args.rest[0]).await? {
        let letter = match change.kind {
            0 => "C",
            1 => "A",
            2 => "D",
            _ => "",
        };
        out += &format!("{letter} {}\n", change.path);
    }
    Ok(stdio::print(&out)?)
}
