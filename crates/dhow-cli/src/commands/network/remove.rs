//! `network rm`.

use dhow_api::Network;

use crate::error::{Result, plain};
use crate::flags::{Args, Flag, Kind};
use crate::session::Session;
use crate::stdio;

pub const RM: &[Flag] = &[Flag::new(
    "force",
    Kind::Bool,
    "Do not mind networks that are not there",
)
.short('f')];

const ROUTING_MESH: &str = "WARNING! This is a swarm's routing mesh. Nodes with other versions of the engine may keep it, and the one that is made after it may not work.";

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    let mut failed = false;
    for name in &args.rest {
        let network: dhow_client::Result<Network> = client.network_inspect_raw(name, false).await;
        if network.is_ok_and(|network| network.ingress) && !stdio::confirm(ROUTING_MESH)? {
            continue;
        }
        match client.network_remove(name).await {
            Ok(()) => stdio::println(name)?,
            Err(error) if args.is_set("force") && error.is_not_found() => {}
            Err(error) => {
                eprintln!("{error}");
                failed = true;
            }
        }
    }
    match failed {
        true => Err(plain("exit status 1")),
        false => Ok(()),
    }
}
