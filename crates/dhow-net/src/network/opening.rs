//! How networks come to be: their bridges, addresses and rules, and those that an earlier daemon left.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use ipnet::{Ipv4Net, Ipv6Net};

use super::{Entered, Inner, Network};
use crate::bridge::{self, Bridge};
use crate::config::{BridgeInfo, NetConfig};
use crate::detour;
use crate::driver::Driver;
use crate::endpoint::LiveEndpoint;
use crate::error::{Doing, Error, Result};
use crate::firewall::{self, Firewall};
use crate::ipam::Ipam;
use crate::nft::ruleset::{BridgeRules, FamilyRules, Scheme};
use crate::pool::Pool;
use crate::sandbox::Maker;
use crate::warm::Sandboxes;
use crate::watch::{Watch, Watched};

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Closed)?
}

/// A network that has the threads of another.
pub(super) fn another(
    first: &Network,
    config: &NetConfig,
    bridge: Bridge,
    live: &[LiveEndpoint],
) -> Result<Network> {
    let (pool, endpoints) = addresses(&bridge.info, config, live)?;
    first.inner.watched.enter(&bridge, config);
    Ok(beside(first, bridge.into(), pool, endpoints))
}

pub(super) fn beside(
    first: &Network,
    driver: Driver,
    pool: Pool,
    endpoints: HashMap<Ipv4Addr, Entered>,
) -> Network {
    Network {
        inner: Arc::new(Inner {
            sandboxes: Sandboxes::new(driver, 0, pool),
            worker: Arc::clone(&first.inner.worker),
            firewall: first.inner.firewall.clone(),
            endpoints: Mutex::new(endpoints),
            watched: first.inner.watched.clone(),
            watching: None,
            threads: Mutex::default(),
            first: false,
        }),
    }
}

/// The addresses of a bridge, whose own are given.
pub(super) fn pool(own: Ipv4Net, own6: Option<Ipv6Net>, config: &NetConfig) -> Result<Pool> {
    let mut ip = Ipam::new(own.trunc(), config.fixed_cidr, own.addr())?;
    for reserved in &config.reserved {
        ip.claim(*reserved)?;
    }
    let (Some(six), Some(own6)) = (&config.ipv6, own6) else {
        return Ok(Pool {
            ip: ip.into(),
            ipv6: None,
        });
    };
    let mut ipv6 = Ipam::new(own6.trunc(), six.range, own6.addr())?;
    for reserved in &six.reserved {
        ipv6.claim(*reserved)?;
    }
    Ok(Pool {
        ip: ip.into(),
        ipv6: Some(ipv6.into()),
    })
}

/// Those of a bridge, with what is taken already.
fn addresses(
    info: &BridgeInfo,
    config: &NetConfig,
    live: &[LiveEndpoint],
) -> Result<(Pool, HashMap<Ipv4Addr, Entered>)> {
    let own = Ipv4Net::new(info.gateway, info.subnet.prefix_len())
        .map_err(|_| Error::InvalidBridgeAddress(info.subnet))?;
    let mut pool = pool(own, info.ipv6, config)?;
    let endpoints = adopt(&mut pool, live);
    Ok((pool, endpoints))
}

/// Endpoints of an earlier daemon's, whose addresses are taken from now on.
pub(super) fn adopt(pool: &mut Pool, live: &[LiveEndpoint]) -> HashMap<Ipv4Addr, Entered> {
    let mut endpoints = HashMap::new();
    for endpoint in live {
        let ip = pool.ip.adopt(endpoint.ip);
        let ipv6 = match (&mut pool.ipv6, endpoint.ipv6) {
            (Some(pool), Some(ip)) => pool.adopt(ip),
            _ => Ok(()),
        };
        for error in [ip, ipv6].into_iter().filter_map(Result::err) {
            tracing::warn!(container = endpoint.name, %error, "cannot take over a live container's address");
        }
        endpoints.insert(
            endpoint.ip,
            Entered {
                id: endpoint.id.clone(),
                name: endpoint.name.clone(),
                addresses: endpoint.addresses(),
                host_link: endpoint.host_link.clone(),
                published: !endpoint.bindings.is_empty(),
            },
        );
    }
    endpoints
}

pub(super) fn rules(bridge: &Bridge, config: &NetConfig) -> BridgeRules {
    let info = &bridge.info;
    let ip6 = config.ipv6.as_ref().map(|six| FamilyRules {
        mode: six.mode,
        masquerade: six.masquerade,
        source: six.source.map(IpAddr::V6),
    });
    BridgeRules {
        name: info.name.clone(),
        subnet: info.subnet,
        subnet6: info.ipv6.map(|own| own.trunc()),
        ip: FamilyRules {
            mode: config.mode,
            masquerade: config.masquerade,
            source: config.source.map(IpAddr::V4),
        },
        ip6: ip6.unwrap_or_default(),
        icc: config.icc,
        internal: config.internal,
        trusted: config.trusted.clone(),
        direct: config.direct_routing,
    }
}

/// The bridge, without the ports of endpoints that are gone.
fn open_bridge(maker: &mut Maker, config: &NetConfig, live: &[LiveEndpoint]) -> Result<Bridge> {
    let bridge = bridge::ensure(&mut maker.socket, config)?;
    if config.foreign {
        return Ok(bridge);
    }
    let links = live.iter().map(|endpoint| endpoint.host_link.as_str());
    let links = links.collect();
    let removed = bridge::others::take_over(&mut maker.socket, &bridge, &links)?;
    bridge::restore::put_back(&mut maker.socket, &bridge, &links)?;
    let ips = live.iter().flat_map(|endpoint| endpoint.addresses().each());
    bridge.forget_others(&mut maker.socket, &ips.collect())?;
    if removed > 0 {
        tracing::info!(
            removed,
            bridge = config.bridge,
            "removed links of endpoints that are gone"
        );
    }
    Ok(bridge)
}

pub(super) fn open(
    config: &NetConfig,
    live: &[LiveEndpoint],
    others: &[(NetConfig, Vec<LiveEndpoint>)],
    runtime: &tokio::runtime::Handle,
) -> Result<(Network, Vec<Result<Network>>)> {
    let mut maker = Maker::new()?;
    let watch = Watch::open()?;
    let bridge = open_bridge(&mut maker, config, live)?;
    let (pool, endpoints) = addresses(&bridge.info, config, live)?;
    let mut all_rules = vec![rules(&bridge, config)];
    let mut all_live = live.to_vec();
    let mut bridges = Vec::with_capacity(others.len());
    for (config, live) in others {
        let opened = open_bridge(&mut maker, config, live);
        if let Ok(bridge) = &opened {
            all_rules.push(rules(bridge, config));
            all_live.extend(live.iter().cloned());
        }
        bridges.push(opened);
    }
    let watched = Watched::default();
    watched.enter(&bridge, config);
    let scheme = Scheme {
        table: config.table.clone(),
        accept_mark: config.accept_mark,
        detour: detour::ensure(&mut maker.socket, &bridge, config)?,
    };
    let firewall = Firewall::open(scheme, all_rules, config.publish_ip, &all_live)?;
    let sandboxes = Sandboxes::new(bridge.into(), config.warm, pool);
    let (firewall, firewall_thread) = firewall.start()?;
    drop(maker);
    let sandbox_thread = sandboxes.start(Maker::new).doing(|| {
        firewall.submit(firewall::Job::Stop {
            remove_table: false,
        });
        "cannot start the sandboxes' thread".to_owned()
    })?;
    let watching = runtime.spawn(watch.run(watched.clone(), Arc::clone(&sandboxes)));
    let first = Network {
        inner: Arc::new(Inner {
            worker: Arc::clone(&sandboxes),
            sandboxes,
            firewall,
            endpoints: Mutex::new(endpoints),
            watched,
            watching: Some(watching.abort_handle()),
            threads: Mutex::new(vec![firewall_thread, sandbox_thread]),
            first: true,
        }),
    };
    let others = others
        .iter()
        .zip(bridges)
        .map(|((config, live), bridge)| another(&first, config, bridge?, live))
        .collect();
    Ok((first, others))
}
