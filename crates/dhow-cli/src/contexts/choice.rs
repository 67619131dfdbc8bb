//! Which context a command uses: what the flags and the environment say, in Docker's order.

use std::env;

use crate::config::ConfigFile;
use crate::contexts::DEFAULT;
use crate::error::{Result, plain};
use crate::flags::Args;

/// The variables that name a daemon; the first that is set to something counts.
pub const HOST_VARIABLES: [&str; 2] = ["DHOW_HOST", "DOCKER_HOST"];

/// A context by its name. The default one is made of the flags and the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// With the host that was named, if one was.
    Default {
        host: Option<String>,
    },
    Kept(String),
}

/// The first of the variables that is set to something.
pub fn variable(names: &[&'static str]) -> Option<(&'static str, String)> {
    names
        .iter()
        .filter_map(|name| Some((*name, env::var(name).ok()?)))
        .find(|(_, value)| !value.is_empty())
}

impl Choice {
    pub fn made(globals: &Args, config: &ConfigFile) -> Result<Choice> {
        let hosts = globals.list("host");
        let from_environment = || variable(&HOST_VARIABLES).map(|(_, host)| host);
        if let Some(name) = globals.nonempty("context") {
            if !hosts.is_empty() {
                return Err(plain(
                    "conflicting options: cannot specify both --host and --context",
                ));
            }
            return Ok(Choice::named(name, from_environment));
        }
        if hosts.len() > 1 {
            return Err(plain(
                "Failed to initialize: unable to resolve docker endpoint: Specify only one -H",
            ));
        }
        let host = hosts.first().map(|host| (*host).to_owned());
        if let Some(host) = host.or_else(from_environment) {
            return Ok(Choice::Default { host: Some(host) });
        }
        let name = match variable(&["DOCKER_CONTEXT"]) {
            Some((_, name)) => Some(name),
            None => config.text("currentContext").map(str::to_owned),
        };
        Ok(match name {
            Some(name) => Choice::named(&name, || None),
            None => Choice::Default { host: None },
        })
    }

    fn named(name: &str, host: impl Fn() -> Option<String>) -> Choice {
        match name {
            DEFAULT => Choice::Default { host: host() },
            name => Choice::Kept(name.to_owned()),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Choice::Default { .. } => DEFAULT,
            Choice::Kept(name) => name,
        }
    }
}
