//! A network as the engine sees it, the default one, which is a bridge, or another beside it.
//!
//! The first is opened with two threads, one that makes namespaces and links and one that owns the rules; those that are added
//! have theirs made by the same two.
//!
//! Invariant: an address, a port or a rule belongs to an endpoint that is entered here, or to none. Nothing has to be torn
//! down when the daemon ends: containers keep their links, addresses and ports, and the next `open` takes them over.

mod lan;
mod links;
mod opening;
mod ports;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use ipnet::IpNet;
use tokio::sync::oneshot;

use crate::config::{BridgeInfo, NetConfig};
use crate::dns;
use crate::endpoint::{Addresses, Endpoint, EndpointRequest, Gateways, LinkWishes, LiveEndpoint};
use crate::error::{Error, Result};
use crate::firewall;
use crate::pool::Wish;
use crate::warm::Sandboxes;
use crate::watch::Watched;
use opening::{another, blocking, open, pool, rules};

/// One network. Clones are the same network; with the last one of the first its threads end.
#[derive(Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

struct Inner {
    sandboxes: Arc<Sandboxes>,
    /// Whose thread makes what is needed: the first network's.
    worker: Arc<Sandboxes>,
    firewall: firewall::Handle,
    endpoints: Mutex<HashMap<Ipv4Addr, Entered>>,
    /// The bridges that are put back when others delete them.
    watched: Watched,
    /// The first network's: what does so.
    watching: Option<tokio::task::AbortHandle>,
    /// The first network's; another has none.
    threads: Mutex<Vec<JoinHandle<()>>>,
    first: bool,
}

/// An endpoint in use.
struct Entered {
    id: String,
    name: String,
    addresses: Addresses,
    host_link: String,
    /// Whether the firewall may know it.
    published: bool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(watching) = &self.watching {
            watching.abort();
        }
        if self.first {
            self.stop(false);
        }
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
        Ok(Network::open_with(config, live, Vec::new()).await?.0)
    }

    /// As [`Network::open`], with others that were there before. Of each its own result: one whose bridge can't be had keeps
    /// no other from being there.
    pub async fn open_with(
        config: NetConfig,
        live: Vec<LiveEndpoint>,
        others: Vec<(NetConfig, Vec<LiveEndpoint>)>,
    ) -> Result<(Network, Vec<Result<Network>>)> {
        let runtime = tokio::runtime::Handle::current();
        blocking(move || open(&config, &live, &others, &runtime)).await
    }

    /// Makes another network beside this one: its bridge, or one that is there, and its rules. When it fails, nothing of it is
    /// left. A future that is dropped leaves what was made so far.
    pub async fn add(&self, config: NetConfig) -> Result<Network> {
        // What is wrong with the addresses is found before there is a bridge.
        if let Some(address) = config.bridge_ip {
            let ipv6 = config.ipv6.as_ref().and_then(|six| six.address);
            pool(address, ipv6, &config)?;
        }
        let made = config.clone();
        let bridge = self
            .inner
            .worker
            .with_maker(move |maker| maker.ensure_bridge(&made))
            .await?;
        let rules = rules(&bridge, &config);
        let network = another(self, &config, bridge, &[])?;
        let ruled = self
            .ask_firewall(|reply| firewall::Job::AddBridge { rules, reply })
            .await;
        match ruled {
            Ok(()) => Ok(network),
            Err(error) => {
                if let Err(error) = network.remove(!config.foreign).await {
                    tracing::warn!(%error, bridge = config.bridge, "a bridge that has no network stays");
                }
                Err(error)
            }
        }
    }

    /// Removes a network that was added and, if `with_link`, its bridge or the parent that was made for it. Its endpoints must
    /// have gone before. When it fails, the network is as it was.
    pub async fn remove(&self, with_link: bool) -> Result<()> {
        let watched = &self.inner.watched;
        let index = self.inner.sandboxes.driver().bridge_index();
        let own = index.and_then(|index| watched.leave(index));
        if with_link {
            let sandboxes = Arc::clone(&self.inner.sandboxes);
            let removed = self
                .inner
                .worker
                .with_maker(move |maker| sandboxes.driver().remove(maker));
            if let Err(error) = removed.await {
                if let Some((bridge, config)) = own {
                    watched.enter(&bridge, &config);
                }
                return Err(error);
            }
        }
        // Only now: a bridge without rules would be open to everybody.
        if let Some(bridge) = self.bridge() {
            let name = bridge.name;
            self.inner
                .firewall
                .submit(firewall::Job::RemoveBridge { name });
        }
        Ok(())
    }

    /// The addresses of a link of the host's, with their prefixes, but for link-local ones. `None` if there is no such link.
    pub async fn addresses_of(&self, link: String) -> Result<Option<Vec<IpNet>>> {
        let worker = &self.inner.worker;
        worker
            .with_maker(move |maker| maker.addresses_of(&link))
            .await
    }

    /// Takes an address from a link of the host's. One that it hasn't is passed over.
    pub async fn take_address(&self, link: String, address: IpNet) -> Result<()> {
        let worker = &self.inner.worker;
        worker
            .with_maker(move |maker| maker.take_address(&link, address))
            .await
    }

    /// The networks that the host has a way to, but for its default routes.
    pub async fn reachable(&self) -> Result<Vec<IpNet>> {
        let worker = &self.inner.worker;
        worker.with_maker(|maker| maker.reachable()).await
    }

    /// The bridge, where the network is one.
    pub fn bridge(&self) -> Option<BridgeInfo> {
        self.inner.sandboxes.driver().bridge().cloned()
    }

    /// How many endpoints are ready to be taken.
    pub fn ready(&self) -> usize {
        self.inner.sandboxes.ready()
    }

    /// A namespace on the bridge, with its address. Without special demands it is one that was made ahead of time. The first
    /// network alone makes such; on one that was added this waits for ever: there, join a namespace that [`Network::isolated`] gave.
    ///
    /// Cancel safe: an endpoint that isn't received is not entered.
    pub async fn connect(&self, request: EndpointRequest) -> Result<Endpoint> {
        let wish = self.wish(&request)?;
        let sandboxes = &self.inner.sandboxes;
        let endpoint = match sandboxes.take_warm(wish) {
            Some(endpoint) => endpoint,
            None => sandboxes.make(wish).await?.take().ok_or(Error::Closed)?,
        };
        self.enter(endpoint.addresses(), request, &endpoint.host_link);
        Ok(endpoint)
    }

    fn wish(&self, request: &EndpointRequest) -> Result<Wish> {
        if let Some(mac) = request.mac.filter(|mac| !mac.is_usable()) {
            return Err(Error::UnusableMac(mac));
        }
        let driver = self.inner.sandboxes.driver();
        if request.mac.is_some() && !driver.has_macs() {
            return Err(Error::NoOwnMac);
        }
        if let Some(ip) = request.ipv6.filter(|_| !driver.has_ipv6()) {
            return Err(Error::NoIpv6(driver.name().to_owned(), ip));
        }
        Ok(Wish {
            mac: request.mac,
            ip: request.ip,
            ipv6: request.ipv6,
        })
    }

    fn enter(&self, addresses: Addresses, request: EndpointRequest, host_link: &str) {
        self.entered().insert(
            addresses.ip,
            Entered {
                id: request.id,
                name: request.name,
                addresses,
                host_link: host_link.to_owned(),
                published: false,
            },
        );
    }

    /// The namespace's ways out, in place of those that it has.
    pub async fn set_gateways(&self, netns: OwnedFd, gateways: Gateways) -> Result<()> {
        self.inner
            .worker
            .with_maker(move |maker| maker.set_default_routes(netns.as_fd(), gateways))
            .await
    }

    /// Makes a link of this name in a namespace as wished, beyond what each has.
    pub async fn adapt(&self, netns: OwnedFd, link: String, wishes: LinkWishes) -> Result<()> {
        self.inner
            .worker
            .with_maker(move |maker| maker.adapt(netns.as_fd(), &link, &wishes))
            .await
    }

    /// The sockets of a name server, bound in a namespace, with what is sent to [`dns::ADDRESS`] redirected to them there.
    pub async fn name_sockets(&self, netns: OwnedFd) -> Result<dns::Sockets> {
        self.inner
            .worker
            .with_maker(move |_| dns::open_sockets(netns.as_fd()))
            .await
    }

    /// Gives an address only to endpoints that are asked for with it, until it is said as often that it is kept no longer.
    pub fn keep(&self, ip: IpAddr, kept: bool) {
        self.inner.sandboxes.keep(ip, kept);
    }

    /// A namespace without any network but its own loopback (`--network none`).
    pub async fn isolated(&self) -> Result<OwnedFd> {
        self.inner.worker.isolated().await
    }

    /// Ends an endpoint: its ports and its address are free again. One that isn't there is passed over, and so is another that
    /// has the address by now: `id` is what it was asked for with.
    ///
    /// The kernel removes the links when the namespace's last holder is gone.
    pub async fn disconnect(&self, ip: Ipv4Addr, id: &str) -> Result<()> {
        let entered = {
            let mut endpoints = self.entered();
            match endpoints.get(&ip) {
                Some(entered) if entered.id == id => endpoints.remove(&ip),
                _ => None,
            }
        };
        let Some(entered) = entered else {
            return Ok(());
        };
        self.forget_neighbours(entered.addresses);
        // The address is free when the ports have gone, or when the caller doesn't wait for that: what is published for the
        // next holder is in the firewall's queue behind this.
        let _release = ReleaseOnDrop {
            sandboxes: &self.inner.sandboxes,
            addresses: entered.addresses,
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

    /// Before the addresses are free again: what enters them anew is behind this in the thread's queue.
    fn forget_neighbours(&self, addresses: Addresses) {
        let sandboxes = Arc::clone(&self.inner.sandboxes);
        self.inner.worker.have_done(move |maker| {
            if let Err(error) = sandboxes.driver().forget_neighbours(maker, addresses) {
                tracing::warn!(%error, "the host still knows where a container was");
            }
        });
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
    addresses: Addresses,
    host_link: String,
}

impl Drop for ReleaseOnDrop<'_> {
    fn drop(&mut self) {
        self.sandboxes.release(self.addresses, &self.host_link);
    }
}
