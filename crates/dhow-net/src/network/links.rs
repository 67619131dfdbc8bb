//! Links to a network in namespaces that are there, made and taken away.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Network;
use crate::driver::Parting;
use crate::endpoint::{EndpointRequest, Place};
use crate::error::{Error, Result};
use crate::make::{Make, link_name};
use crate::pool::Wish;

/// How many names a link in a namespace is tried with, should a container have made some of its own.
const LINK_NAMES: u32 = 16;

/// A namespace whose last process has ended has its links for some milliseconds more, with their addresses: a link that meets
/// one on its parent is tried again for so long.
const LINGERING: Duration = Duration::from_secs(5);
const LINGERING_PAUSE: Duration = Duration::from_millis(10);

impl Network {
    /// A link to this network in a namespace that is there: `eth` and the first number from `number` on that is free, which is
    /// given beside the place. The ways out are set by [`Network::set_gateways`].
    ///
    /// Cancel safe, as [`Network::connect`].
    pub async fn join(
        &self,
        netns: OwnedFd,
        number: u32,
        request: EndpointRequest,
    ) -> Result<(Place, u32)> {
        let wish = self.wish(&request)?;
        let netns = Arc::new(netns);
        let deadline = Instant::now() + LINGERING;
        let joined = loop {
            let (network, netns) = (self.clone(), Arc::clone(&netns));
            let chosen = request.link.clone();
            let joined = self
                .inner
                .worker
                .with_maker(move |maker| network.make_link(maker, &netns, number, chosen, wish))
                .await;
            match joined {
                Err(Error::ParentBusy { .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(LINGERING_PAUSE).await;
                }
                joined => break joined?,
            }
        };
        let number = joined.number;
        let place = joined.take().ok_or(Error::Closed)?;
        self.enter(place.addresses(), request, &place.host_link);
        Ok((place, number))
    }

    fn make_link(
        self,
        maker: &mut dyn Make,
        netns: &Arc<OwnedFd>,
        number: u32,
        chosen: Option<String>,
        wish: Wish,
    ) -> Result<Joined> {
        let last = match chosen {
            Some(_) => number,
            None => number.saturating_add(LINK_NAMES - 1),
        };
        let name = |number| chosen.clone().unwrap_or_else(|| link_name(number));
        for number in number..=last {
            let name = name(number);
            let place = self
                .inner
                .sandboxes
                .join(maker, netns.as_fd(), &name, wish)?;
            if place.is_some() {
                return Ok(Joined {
                    network: self,
                    netns: Arc::clone(netns),
                    number,
                    name,
                    place,
                });
            }
        }
        Err(Error::LinkNameTaken(name(number)))
    }

    /// Ends an endpoint whose namespace stays: its link, which was made with this name, goes now. One that isn't there, or is
    /// another by now, is passed over.
    pub async fn part(&self, netns: OwnedFd, name: String, ip: Ipv4Addr, id: &str) -> Result<()> {
        let own = {
            let endpoints = self.entered();
            let own = endpoints.get(&ip).filter(|entered| entered.id == id);
            own.map(|entered| (entered.host_link.clone(), entered.addresses))
        };
        let Some((host_link, addresses)) = own else {
            return Ok(());
        };
        let sandboxes = Arc::clone(&self.inner.sandboxes);
        self.inner
            .worker
            .with_maker(move |maker| {
                let link = Parting {
                    netns: netns.as_fd(),
                    name: &name,
                    addresses,
                    host_link: &host_link,
                };
                sandboxes.driver().part(maker, link)
            })
            .await?;
        self.disconnect(ip, id).await
    }
}

/// A link on its way to whoever asked for it. If they are gone, it goes too.
struct Joined {
    network: Network,
    netns: Arc<OwnedFd>,
    number: u32,
    name: String,
    place: Option<Place>,
}

impl Joined {
    fn take(mut self) -> Option<Place> {
        self.place.take()
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else {
            return;
        };
        let sandboxes = Arc::clone(&self.network.inner.sandboxes);
        let (netns, name) = (Arc::clone(&self.netns), std::mem::take(&mut self.name));
        self.network.forget_neighbours(place.addresses());
        self.network.inner.worker.have_done(move |maker| {
            let link = Parting {
                netns: netns.as_fd(),
                name: &name,
                addresses: place.addresses(),
                host_link: &place.host_link,
            };
            if let Err(error) = sandboxes.driver().part(maker, link) {
                tracing::warn!(%error, "a link that nobody wants stays");
            }
            sandboxes.release(place.addresses(), &place.host_link);
        });
    }
}
