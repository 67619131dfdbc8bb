//! `rmi`.

use super::platform;
use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::session::Session;
use crate::stdio;

pub const RMI: &[Flag] = &[
    Flag::new(
        "force",
        Kind::Bool,
        "Remove images that stopped containers use, too",
    )
    .short('f'),
    Flag::new("no-prune", Kind::Bool, "Leave untagged parents"),
    Flag::new(
        "platform",
        Kind::List,
        "Remove only this platform of the image (os[/arch[/variant]])",
    ),
];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    let force = args.is_set("force");
    let platforms = platform::several(args)?;
    let mut failures = Vec::new();
    let mut fatal = false;
    for name in &args.rest {
        match client
            .image_remove(name, force, args.is_set("no-prune"), &platforms)
            .await
        {
            Ok(done) => {
                for step in done {
                    match step.deleted.as_str() {
                        "" => stdio::println(&format!("Untagged: {}", step.untagged))?,
                        id => stdio::println(&format!("Deleted: {id}"))?,
                    }
                }
            }
            Err(error) => {
                fatal |= !error.is_not_found() || !force;
                failures.push(error.to_string());
            }
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    let text = failures.join("\n");
    if fatal {
        return Err(message(text));
    }
    // Forced removal is about the result.
    eprintln!("{text}");
    Ok(())
}
