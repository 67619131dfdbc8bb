//! `update`.

use dhow_api::{ContainerUpdateRequest, PortMap};

use super::spec;
use crate::error::{Result, all_done, message};
use crate::flags::{Args, Flag, Kind};
use crate::session::Session;
use crate::stdio;

/// What can be changed beside the limits.
pub const UPDATE: &[Flag] = &[
    Flag::new(
        "publish-add",
        Kind::List,
        "Publish a port to the host ([ip:][port:]port[/protocol])",
    ),
    Flag::new(
        "publish-rm",
        Kind::List,
        "Publish a port no more ([ip:]port[:port][/protocol], the host's port first)",
    ),
    Flag::new("restart", Kind::String, "When to start the container again"),
];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let mut flags = spec::flags::LIMITS.iter().chain(UPDATE);
    if !flags.any(|flag| args.was_given(flag.long)) {
        return Err(message(
            "you must provide one or more flags when using this command",
        ));
    }
    let mut added = spec::Ports::default();
    for text in args.list("publish-add") {
        added.publish(text).map_err(message)?;
    }
    let mut removed = PortMap::new();
    for text in args.list("publish-rm") {
        spec::unpublish(&mut removed, text).map_err(message)?;
    }
    let request = ContainerUpdateRequest {
        resources: spec::limits(args).map_err(message)?,
        restart_policy: match args.nonempty("restart") {
            Some(text) => spec::restart_policy(text).map_err(message)?,
            None => Default::default(),
        },
        publish_add: Some(added.bindings).filter(|ports| !ports.is_empty()),
        publish_remove: Some(removed).filter(|ports| !ports.is_empty()),
    };
    let client = session.client().await?;
    if request.publish_add.is_some() || request.publish_remove.is_some() {
        // Another engine would pass over it, and say that all is well.
        let version = client.daemon_version().await?;
        if version.platform.name != "Dhow" {
            return Err(message(
                "this daemon can't change published ports: only Dhow's can",
            ));
        }
    }
    let mut failures = Vec::new();
    for name in &args.rest {
        match client.container_update(name, &request).await {
            Ok(answer) => {
                for warning in answer.warnings.iter().flatten() {
                    eprintln!("{warning}");
                }
                stdio::println(name)?;
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    all_done(failures)
}
