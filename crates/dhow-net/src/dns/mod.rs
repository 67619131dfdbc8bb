//! The name server that a sandbox on a user-defined network has at 127.0.0.11 (RFC 1035, RFC 6891, RFC 7766).
//!
//! Its sockets are bound inside the sandbox's namespace, at a port that is free there: a container may have port 53 for a name
//! server of its own. What is sent to 127.0.0.11:53 is redirected to them in that namespace (`sockets`). They are descriptors
//! like others: whoever keeps duplicates keeps the queries that wait in them, and a later process serves them on.
//!
//! A [`Server`] is one task that sleeps until somebody asks. Names that are somebody's here ([`Names`]) are answered at
//! once and never asked elsewhere, whatever their type; every other query goes to the upstreams as the bytes it came in, and
//! the answer comes back as the bytes it is. All that comes over the sockets, from either side, is hostile: it is bounded in
//! number, size and time, and what can't be read is refused or dropped.

mod answer;
mod asked;
mod cache;
mod forward;
mod host;
mod server;
mod sockets;
mod upstream;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

pub use self::forward::Forwarding;
pub use self::host::HostServers;
pub use self::server::Server;
pub use self::sockets::{Sockets, open_sockets};

/// Where a sandbox's name server is.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// And the port that it is asked at.
pub const PORT: u16 = 53;

/// What is asked of those who know the sandbox's networks. Answers at once, from memory.
pub trait Names: Send + Sync + 'static {
    /// Addresses of a name, of both families in any order; `None` if it is nobody's here. The name is in lower case, without
    /// the final dot.
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>>;

    /// Names of an address, the first being the one to show; `None` if it is nobody's here.
    fn names(&self, address: IpAddr) -> Option<Vec<String>>;

    /// Whether other names may be asked for from the host. A sandbox that has internal networks only may not: the servers
    /// that are asked from the sandbox itself are all that it can reach.
    fn may_forward(&self) -> bool;
}

/// Whose network a server is asked over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AskedFrom {
    /// The network of this process.
    Host,
    Sandbox,
}

/// A server that knows other names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Upstream {
    pub address: SocketAddr,
    pub from: AskedFrom,
}

/// Where other names are asked for, and how.
#[derive(Clone, Debug)]
pub struct Upstreams {
    /// In order: the next one is asked when one gives no answer, or refuses. Of more than three the others are not asked, as
    /// resolv.conf(5) has it.
    pub servers: Vec<Upstream>,
    /// How long each is waited for.
    pub timeout: Duration,
    /// Whether names of a single label are asked for elsewhere. Where the container's options set `ndots` to more than 0 they
    /// are not: its resolver tries them with the search list.
    pub single_labels: bool,
}

impl Default for Upstreams {
    /// No server; each would have four seconds, which is less than a resolver waits for us.
    fn default() -> Self {
        Upstreams {
            servers: Vec::new(),
            timeout: Duration::from_secs(4),
            single_labels: true,
        }
    }
}
