//! `HostConfig.NetworkMode`, parsed.

/// Which network a container is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkMode {
    Bridge,
    Host,
    None,
    /// The namespace of another container.
    Container(String),
    /// A network of the user's own.
    Named(String),
}

impl NetworkMode {
    pub fn parse(text: &str) -> NetworkMode {
        match text {
            "" | "default" | "bridge" => NetworkMode::Bridge,
            "host" => NetworkMode::Host,
            "none" => NetworkMode::None,
            other => match other.strip_prefix("container:") {
                Some(name) => NetworkMode::Container(name.to_owned()),
                None => NetworkMode::Named(other.to_owned()),
            },
        }
    }
}
