//! The default bridge network as the engine sees it.
//!
//! Invariant: an address, a port or a rule belongs to an endpoint that is entered here, or to none. Nothing has to be torn
//! down when the daemon ends: containers keep their links, addresses and ports, and the next `open` takes them over.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::bridge;
use crate::config::{BridgeInfo, NetConfig};
use crate::endpoint::{
    Endpoint, EndpointRequest, LiveEndpoint, PortBinding, PortRequest, Published,
};
use crate::error::{Doing, Error, Result};
use crate::firewall::{self, Firewall};
use crate::ipam::Ipam;
use crate::nft::ruleset::BridgeRules;
use crate::sandbox::Maker;
use crate::warm::{Sandboxes, Wish};

/// One bridge network. Clones are the same network; with the last one its threads end.
#[derive(Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

struct Inner {
    info: BridgeInfo,
    sandboxes: Arc<Sandboxes>,
    firewall: firewall::Handle,
    endpoints: Mutex<HashMap<Ipv4Addr, Entered>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// An endpoint in use.
struct Entered {
    id: String,
    name: String,
    host_link: String,
    /// Whether the firewall may know it.
    published: bool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop(false);
    }
}

impl Inner {
    fn stop(&self, remove_table: bool) {
        self.sandboxes.close();
        self.firewall.submit(firewall::Job::Stop { remove_table });
    }
}

impl Network {
    /// Makes the bridge and its rules, or adopts them, in the network namespace of the calling thread's process.
    ///
    /// `live` are the endpoints whose containers still run: they keep address and ports. Links and rules of others are
    /// removed.
    pub async fn open(config: NetConfig, live: Vec<LiveEndpoint>) -> Result<Network> {
        blocking(move || open(&config, &live)).await
    }

    pub fn bridge(&self) -> BridgeInfo {
        self.inner.info.clone()
    }

    /// How many endpoints are ready to be taken.
    pub fn ready(&self) -> usize {
        self.inner.sandboxes.ready()
    }

    /// A namespace on the bridge, with its address. Without special demands it is one that was made ahead of time.
    ///
    /// Cancel safe: an endpoint that isn't received is not entered.
    pub async fn connect(&self, request: EndpointRequest) -> Result<Endpoint> {
        if let Some(mac) = request.mac.filter(|mac| !mac.is_usable()) {
            return Err(Error::UnusableMac(mac));
        }
        let wish = Wish {
            mac: request.mac,
            ip: request.ip,
        };
        let sandboxes = &self.inner.sandboxes;
        let endpoint = match sandboxes.take_warm(wish) {
            Some(endpoint) => endpoint,
            None => sandboxes.make(wish).await?.take().ok_or(Error::Closed)?,
        };
        self.entered().insert(
            endpoint.ip,
            Entered {
                id: request.id,
                name: request.name,
                host_link: endpoint.host_link.clone(),
                published: false,
            },
        );
        Ok(endpoint)
    }

    /// A namespace without any network but its own loopback (`--network none`).
    pub async fn isolated(&self) -> Result<OwnedFd> {
        self.inner.sandboxes.isolated().await
    }

    /// Makes ports of an endpoint reachable from outside: all of them or, with an error that says which and why, none.
    ///
    /// Cancel safe: `disconnect` takes back what a cancelled call published.
    pub async fn publish(&self, ip: Ipv4Addr, requests: &[PortRequest]) -> Result<Published> {
        let (id, name) = {
            let mut endpoints = self.entered();
            let entered = endpoints.get_mut(&ip).ok_or(Error::UnknownEndpoint(ip))?;
            entered.published |= !requests.is_empty();
            (entered.id.clone(), entered.name.clone())
        };
        if requests.is_empty() {
            return Ok(Published {
                bindings: Vec::new(),
                holders: Vec::new(),
            });
        }
        let requests = requests.to_vec();
        self.ask_firewall(|reply| firewall::Job::Publish {
            endpoint: ip,
            id,
            name,
            requests,
            reply,
        })
        .await
    }

    /// Takes published ports back. Those that the endpoint hasn't are passed over.
    pub async fn unpublish(&self, ip: Ipv4Addr, bindings: &[PortBinding]) -> Result<()> {
        let bindings = Some(bindings.to_vec());
        self.ask_firewall(|reply| firewall::Job::Unpublish {
            endpoint: ip,
            bindings,
            reply,
        })
        .await
    }

    /// Ends an endpoint: its ports and its address are free again. An endpoint that isn't there is passed over.
    ///
    /// The kernel removes the links when the namespace's last holder is gone.
    pub async fn disconnect(&self, ip: Ipv4Addr) -> Result<()> {
        let Some(entered) = self.entered().remove(&ip) else {
            return Ok(());
        };
        // The address is free when the ports have gone, or when the caller doesn't wait for that: what is published for the
        // next holder is in the firewall's queue behind this.
        let _release = ReleaseOnDrop {
            sandboxes: &self.inner.sandboxes,
            ip,
            host_link: entered.host_link,
        };
        if !entered.published {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        self.inner.firewall.submit(firewall::Job::Unpublish {
            endpoint: ip,
            bindings: None,
            reply,
        });
        self.answered(answer).await
    }

    /// Ends the network's threads, and waits for them. Containers stay connected.
    pub async fn close(self) {
        self.end(false).await;
    }

    /// Removes the rules too. The bridge stays as long as it may have ports.
    pub async fn destroy(self) {
        self.end(true).await;
    }

    async fn end(self, remove_table: bool) {
        self.inner.stop(remove_table);
        let threads: Vec<_> = self
            .inner
            .threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
            .collect();
        let joined = tokio::task::spawn_blocking(move || {
            threads
                .into_iter()
                .filter_map(|thread| thread.join().err())
                .count()
        })
        .await;
        if !matches!(joined, Ok(0)) {
            tracing::error!("a thread of the network panicked");
        }
    }

    fn entered(&self) -> MutexGuard<'_, HashMap<Ipv4Addr, Entered>> {
        self.inner
            .endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask_firewall<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T>>) -> firewall::Job,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.inner.firewall.submit(job(reply));
        self.answered(answer).await
    }

    /// The firewall's answer.
    async fn answered<T>(&self, answer: oneshot::Receiver<Result<T>>) -> Result<T> {
        answer
            .await
            .map_err(|_| match self.inner.firewall.is_stopped() {
                true => Error::Closed,
                false => Error::Died,
            })?
    }
}

struct ReleaseOnDrop<'a> {
    sandboxes: &'a Sandboxes,
    ip: Ipv4Addr,
    host_link: String,
}

impl Drop for ReleaseOnDrop<'_> {
    fn drop(&mut self) {
        self.sandboxes.release(self.ip, &self.host_link);
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Closed)?
}

fn open(config: &NetConfig, live: &[LiveEndpoint]) -> Result<Network> {
    let mut maker = Maker::new()?;
    let bridge = bridge::ensure(&mut maker.socket, config)?;
    let mut ipam = Ipam::new(bridge.info.subnet, config.fixed_cidr, bridge.info.gateway)?;
    let mut endpoints = HashMap::new();
    for endpoint in live {
        if let Err(error) = ipam.adopt(endpoint.ip) {
            tracing::warn!(container = endpoint.name, %error, "cannot take over a live container's address");
        }
        endpoints.insert(
            endpoint.ip,
            Entered {
                id: endpoint.id.clone(),
                name: endpoint.name.clone(),
                host_link: endpoint.host_link.clone(),
                published: !endpoint.bindings.is_empty(),
            },
        );
    }
    let removed = bridge::remove_stale_ports(&mut maker.socket, &bridge, |name| {
        live.iter().any(|endpoint| endpoint.host_link == name)
    })?;
    if removed > 0 {
        tracing::info!(
            removed,
            bridge = config.bridge,
            "removed links of endpoints that are gone"
        );
    }
    let rules = BridgeRules {
        name: bridge.info.name.clone(),
        subnet: bridge.info.subnet,
        masquerade: config.masquerade,
        icc: config.icc,
    };
    let info = bridge.info.clone();
    let firewall = Firewall::open(&config.table, vec![rules], config.publish_ip, live)?;
    let sandboxes = Sandboxes::new(bridge, config.warm, ipam);
    let (firewall, firewall_thread) = firewall.start()?;
    drop(maker);
    let sandbox_thread = sandboxes.start(Maker::new).doing(|| {
        firewall.submit(firewall::Job::Stop {
            remove_table: false,
        });
        "cannot start the sandboxes' thread".to_owned()
    })?;
    Ok(Network {
        inner: Arc::new(Inner {
            info,
            sandboxes,
            firewall,
            endpoints: Mutex::new(endpoints),
            threads: Mutex::new(vec![firewall_thread, sandbox_thread]),
        }),
    })
}
