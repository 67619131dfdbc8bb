//! What a client was told, and keeps for a while to see whether it stays so.

use std::time::Duration;

use super::client::Asks;

pub enum Kept {
    /// Who waited for it learnt this code, and saw its output if it came to its end.
    Exited {
        name: String,
        code: i64,
        says: bool,
    },
    /// A user has ended it, and no policy brings it back.
    Ended {
        name: String,
    },
    /// Its policy brings it back whatever happens to it.
    Serves {
        name: String,
    },
    /// There is a file with this text in a container.
    File {
        container: String,
        text: String,
    },
    Image {
        name: String,
    },
    /// Made of a container that had a file with this text.
    Committed {
        name: String,
        text: String,
    },
    Volume {
        name: String,
    },
}

impl Kept {
    pub fn container(&self) -> Option<String> {
        match self {
            Kept::Exited { name, .. }
            | Kept::Ended { name }
            | Kept::Serves { name }
            | Kept::File {
                container: name, ..
            } => Some(name.clone()),
            Kept::Image { .. } | Kept::Committed { .. } | Kept::Volume { .. } => None,
        }
    }

    pub fn image(&self) -> Option<String> {
        match self {
            Kept::Image { name } | Kept::Committed { name, .. } => Some(name.clone()),
            _ => None,
        }
    }

    pub fn volume(&self) -> Option<String> {
        match self {
            Kept::Volume { name } => Some(name.clone()),
            _ => None,
        }
    }

    #[track_caller]
    pub fn check(&self, asks: &Asks) {
        match self {
            Kept::Exited { name, code, says } => {
                let state = asks.state(name);
                assert_eq!(
                    (state["Status"].as_str(), state["ExitCode"].as_i64()),
                    (Some("exited"), Some(*code)),
                    "{name}, of which a client was told that it exited with {code}: {state:#}"
                );
                let logs = format!("/containers/{name}/logs?stdout=1");
                assert!(
                    !says || asks.streams(&logs, name),
                    "{name} has lost its output"
                );
            }
            Kept::Ended { name } => {
                let state = asks.state(name);
                assert_eq!(
                    state["Status"], "exited",
                    "{name}, which a user has ended: {state:#}"
                );
            }
            Kept::Serves { name } => {
                let running = dhow_tests::within(Duration::from_secs(60), || {
                    (asks.state(name)["Status"] == "running").then_some(())
                });
                let state = asks.state(name);
                assert!(running.is_some(), "{name} is not brought back: {state:#}");
            }
            Kept::File { container, text } => {
                let path = format!("/containers/{container}/archive?path=/note");
                assert!(
                    asks.streams(&path, text),
                    "the file in {container} is not what it was"
                );
            }
            Kept::Image { name } => drop(asks.get(&format!("/images/{name}/json"), 200)),
            Kept::Committed { name, text } => {
                let container = format!("{text}-of");
                asks.create(&container, serde_json::json!({"Image": name}));
                let path = format!("/containers/{container}/archive?path=/note");
                assert!(
                    asks.streams(&path, text),
                    "{name} has not what was committed"
                );
                asks.remove(&format!("/containers/{container}?force=1"));
            }
            Kept::Volume { name } => drop(asks.get(&format!("/volumes/{name}"), 200)),
        }
    }

    pub fn remove(&self, asks: &Asks) {
        match self {
            Kept::Exited { name, .. }
            | Kept::Ended { name }
            | Kept::Serves { name }
            | Kept::File {
                container: name, ..
            } => asks.remove(&format!("/containers/{name}?force=1&v=1")),
            Kept::Image { name } | Kept::Committed { name, .. } => {
                asks.remove(&format!("/images/{name}?force=1"));
            }
            Kept::Volume { name } => asks.remove(&format!("/volumes/{name}")),
        }
    }
}
