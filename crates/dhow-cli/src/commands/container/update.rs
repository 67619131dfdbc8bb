//! `update`.

use dhow_api::ContainerUpdateRequest;

use super::spec;
use crate::error::{Result, all_done, message};
use crate::flags::{Args, Flag, Kind};
use crate::session::Session;
use crate::stdio;

/// What can be changed beside the limits.
pub const UPDATE: &[Flag] = &[Flag::new(
    "restart",
    Kind::String,
    "When to start the container again",
)];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let mut flags = spec::flags::LIMITS.iter().chain(UPDATE);
    if !flags.any(|flag| args.was_given(flag.long)) {
        return Err(message(
            "you must provide one or more flags when using this command",
        ));
    }
    let request = ContainerUpdateRequest {
        resources: spec::limits(args).map_err(message)?,
        restart_policy: match args.nonempty("restart") {
            Some(text) => spec::restart_policy(text).map_err(message)?,
            None => Default::default(),
        },
    };
    let client = session.client().await?;
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
