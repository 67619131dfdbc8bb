use std::sync::atomic::{AtomicUsize, Ordering};

use std::net::Ipv4Addr;

use super::*;
use crate::bridge::Bridge;
use crate::config::BridgeInfo;
use crate::ipam::Ipam;
use crate::lan::{Lan, LanKind, MakeLan, Parent};
use crate::rtnl::{LinkState, PortMode};

/// Makes nothing, and dies over the jobs that it is told to.
struct Fake(Arc<AtomicUsize>);

fn namespace() -> OwnedFd {
    std::fs::File::open("/proc/thread-self/ns/net")
        .unwrap()
        .into()
}

impl Make for Fake {
    fn isolated(&mut self) -> Result<OwnedFd> {
        Ok(namespace())
    }

    fn endpoint(
        &mut self,
        bridge: &Bridge,
        addresses: Addresses,
        mac: MacAddr,
    ) -> Result<Endpoint> {
        let left = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        assert!(left.is_err(), "told to die");
        Ok(Endpoint {
            netns: namespace(),
            ip: addresses.ip,
            prefix: 29,
            gateway: bridge.info.gateway,
            ipv6: None,
            mac,
            host_link: host_link_name(1),
        })
    }

    fn join(&mut self, _: &Bridge, _: BorrowedFd<'_>, _: Joining<'_>) -> Result<Option<String>> {
        Ok(Some(host_link_name(2)))
    }

    fn set_default_routes(&mut self, _: BorrowedFd<'_>, _: crate::Gateways) -> Result<()> {
        Ok(())
    }

    fn adapt(&mut self, _: BorrowedFd<'_>, _: &str, _: &crate::LinkWishes) -> Result<()> {
        Ok(())
    }

    fn ensure_bridge(&mut self, _: &crate::NetConfig) -> Result<Bridge> {
        Err(Error::Died)
    }

    fn reachable(&mut self) -> Result<Vec<crate::IpNet>> {
        Ok(Vec::new())
    }

    fn addresses_of(&mut self, _: &str) -> Result<Option<Vec<crate::IpNet>>> {
        Ok(None)
    }

    fn take_address(&mut self, _: &str, _: crate::IpNet) -> Result<()> {
        Ok(())
    }

    fn remove_link(&mut self, _: &str) -> Result<()> {
        Ok(())
    }

    fn remove_bridge(&mut self, _: &str) -> Result<()> {
        Ok(())
    }

    fn restore_bridge(&mut self, _: &Bridge, _: &crate::NetConfig) -> Result<bool> {
        Ok(false)
    }

    fn forget_neighbours(&mut self, _: u32, _: Addresses) -> Result<()> {
        Ok(())
    }
}

impl MakeLan for Fake {
    fn check_kind(&mut self, _: LanKind) -> Result<()> {
        Ok(())
    }

    fn ensure_parent(&mut self, _: &Parent) -> Result<LinkState> {
        Err(Error::Died)
    }

    fn remove_parent(&mut self, _: &Parent) -> Result<()> {
        Ok(())
    }

    fn join_lan(&mut self, _: &Lan, _: BorrowedFd<'_>, _: Joining<'_>) -> Result<Option<Place>> {
        Ok(None)
    }

    fn part_lan(&mut self, _: BorrowedFd<'_>, _: &str, _: Addresses) -> Result<()> {
        Ok(())
    }
}

fn sandboxes(target: usize) -> Arc<Sandboxes> {
    let info = BridgeInfo {
        name: "dhow0".to_owned(),
        subnet: "172.17.0.0/29".parse().unwrap(),
        gateway: Ipv4Addr::new(172, 17, 0, 1),
        ipv6: None,
        mtu: 1500,
    };
    let pool = Pool {
        ip: Ipam::new(info.subnet, None, info.gateway).unwrap().into(),
        ipv6: None,
    };
    let bridge = Bridge {
        index: 1,
        mac: None,
        foreign: false,
        icc: true,
        segments: crate::segments::Segments::new(1),
        info,
        is_gateway: [true; 2],
        port_mode: PortMode::default(),
    };
    Sandboxes::new(bridge.into(), target, pool)
}

#[tokio::test]
async fn a_thread_that_dies_is_replaced_and_costs_its_own_job() {
    let deaths = Arc::new(AtomicUsize::new(0));
    let sandboxes = sandboxes(0);
    let told = deaths.clone();
    let keeper = sandboxes.start(move || Ok(Fake(told.clone()))).unwrap();
    // More often than there are addresses: none is lost with a thread.
    for _ in 0..7 {
        deaths.store(1, Ordering::SeqCst);
        let (lost, next) = tokio::join!(sandboxes.make(Wish::default()), sandboxes.isolated());
        assert!(matches!(lost.map(|_| ()), Err(Error::Died)));
        next.unwrap();
    }
    let endpoint = sandboxes.make(Wish::default()).await.unwrap().take();
    assert!(endpoint.is_some());
    sandboxes.close();
    keeper.join().unwrap();
    let closed = sandboxes.make(Wish::default()).await;
    assert!(matches!(closed.map(|_| ()), Err(Error::Closed)));
}

#[tokio::test]
async fn the_pool_is_filled_after_its_thread_died() {
    let sandboxes = sandboxes(2);
    let deaths = Arc::new(AtomicUsize::new(3));
    let keeper = sandboxes.start(move || Ok(Fake(deaths.clone()))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while sandboxes.ready() < 2 {
        assert!(Instant::now() < deadline, "the pool is still empty");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sandboxes.close();
    keeper.join().unwrap();
}

#[tokio::test]
async fn nobody_waits_for_a_thread_that_cannot_work() {
    let sandboxes = sandboxes(0);
    let keeper = sandboxes.start(|| Err::<Fake, _>(Error::Died)).unwrap();
    let failed = sandboxes.isolated().await;
    assert!(matches!(failed, Err(Error::Died)));
    sandboxes.close();
    keeper.join().unwrap();
}
