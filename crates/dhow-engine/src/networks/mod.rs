//! Networks: the three that are always there (bridge, host and none), those that clients make, and the places that a
//! container has in them.
//!
//! A network's key is its id, but for the three, whose key is their name: their ids are made of the data-root's, and
//! endpoints are told apart before that is known.

mod doors;
pub mod endpoint;
mod files;
mod ipam;
mod kept;
mod lan;
mod made;
mod members;
mod mode;
mod names;
mod options;
pub mod port_changes;
pub mod ports;
mod prune;
mod publish;
mod records;
mod sandbox;
mod show;
mod table;
mod target;
mod ways;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use dhow_api::{Actor, ContainerConfig, EndpointSettings, HostConfig};
use dhow_net::{AddressPool, BridgeInfo, IpNet, LiveEndpoint, NetConfig, Network};
use dhow_oci::Digest;
use dhow_store::Store;

use crate::config::{DefaultOptions, DnsConfig};
use crate::error::{EngineError, Result};
use crate::events::EventBus;
use crate::id::ContainerId;

pub use endpoint::{EndpointRecord, PublishedPort, parse_mac};
pub use files::EtcFiles;
pub use mode::NetworkMode;
pub use publish::ChangedPorts;
pub use sandbox::Sandbox;
pub use show::Attached;

use doors::Doors;
use ipam::overlap;
use kept::Kept;
use made::Made;
use members::{Member, Members};
use names::NameServers;
use table::Table;

/// The key of the default network.
pub const BRIDGE: &str = "bridge";

/// Those that are always there: name, which is their key, and driver.
const PREDEFINED: [(&str, &str); 3] = [(BRIDGE, "bridge"), ("host", "host"), ("none", "null")];

/// All networks. A handle; clones are the same.
#[derive(Clone)]
pub struct Networks {
    inner: Arc<Inner>,
}

struct Inner {
    net: Network,
    /// The default network's.
    bridge: BridgeInfo,
    config: NetConfig,
    dns: DnsConfig,
    default_options: DefaultOptions,
    events: EventBus,
    store: Store,
    /// Of [`PREDEFINED`], made of the data-root's id.
    ids: [String; PREDEFINED.len()],
    /// Nanoseconds since the epoch.
    opened: i64,
    /// Those that clients have made, by id.
    made: Mutex<Table>,
    /// Held by whoever makes a network or removes one.
    making: tokio::sync::Mutex<()>,
    members: Members,
    name_servers: NameServers,
    doors: Doors,
    kept: Kept,
    /// Held while networks are pruned.
    pruning: tokio::sync::Mutex<()>,
}

/// What a container's definition says of networks.
#[derive(Clone, Copy)]
pub struct Wishes<'a> {
    pub id: &'a ContainerId,
    /// The container's name.
    pub name: &'a str,
    pub config: &'a ContainerConfig,
    pub host: &'a HostConfig,
    /// What was asked of each network that it is to be on, by the network's name.
    pub endpoints: &'a BTreeMap<String, EndpointSettings>,
}

impl Wishes<'_> {
    pub fn mode(&self) -> NetworkMode {
        NetworkMode::parse(&self.host.network_mode)
    }

    /// What others on a network that a client has made find the container by.
    pub fn names(&self, settings: &EndpointSettings) -> Vec<String> {
        let mut names = vec![self.name.to_owned()];
        names.extend(settings.aliases.iter().flatten().cloned());
        names.push(self.id.short().to_owned());
        names.push(self.config.hostname.clone());
        let mut seen = Vec::with_capacity(names.len());
        for name in names {
            if !name.is_empty() && !seen.contains(&name) {
                seen.push(name);
            }
        }
        seen
    }
}

/// Of the first forty bits of a digest.
fn site_pool(digest: &Digest) -> Result<AddressPool> {
    let bits = u64::from_str_radix(&digest.hex()[..10], 16)
        .map_err(|e| EngineError::Internal(e.to_string()))?;
    let [_, _, _, id @ ..] = bits.to_be_bytes();
    Ok(AddressPool::of_site(id))
}

/// A container that runs, or may, from the store.
pub struct Live<'a> {
    pub wishes: Wishes<'a>,
    pub endpoints: &'a [EndpointRecord],
}

impl Networks {
    /// Makes the bridges, or adopts them; `live` are the containers whose endpoints may still be in use.
    pub async fn open(
        config: NetConfig,
        dns: DnsConfig,
        default_options: DefaultOptions,
        live: &[Live<'_>],
        events: EventBus,
        store: Store,
        root_id: String,
    ) -> Result<Networks> {
        let stored = records::all(&store).await?;
        let mut config = config;
        config.taken = stored.iter().flat_map(made::subnets).collect();
        // Where nobody says otherwise, this data-root's own part of the private addresses.
        let site = Digest::sha256(format!("{root_id}/ipv6").as_bytes());
        if !config
            .pools
            .iter()
            .any(|pool| matches!(pool.base, IpNet::V6(_)))
        {
            config.pools.push(site_pool(&site)?);
        }
        let on = |key: &str| -> Vec<LiveEndpoint> {
            let of = |one: &Live<'_>| {
                let endpoint = one.endpoints.iter().find(|e| e.network == key)?;
                Some(endpoint.live(one.wishes.name))
            };
            live.iter().filter_map(of).collect()
        };
        // The settings of a network's bridge are read by a handle, which needs the first bridge.
        let mut others = Vec::new();
        let mut with_bridge = Vec::new();
        for record in &stored {
            if record.config_only || lan::is_lan(record) {
                continue;
            }
            match made::net_config(&config, record) {
                Ok(settings) => {
                    others.push((settings, on(&record.id)));
                    with_bridge.push(record.id.clone());
                }
                Err(e) => {
                    tracing::error!(network = record.name, error = %e, "it can't be used");
                }
            }
        }
        let (net, opened) = Network::open_with(config.clone(), on(BRIDGE), others)
            .await
            .map_err(|e| EngineError::Internal(e.to_string()))?;
        let bridge = net.bridge();
        let bridge = bridge.ok_or_else(|| EngineError::Internal("no default bridge".into()))?;
        let mut bridges: HashMap<String, Network> = HashMap::new();
        for (id, opened) in with_bridge.into_iter().zip(opened) {
            match opened {
                Ok(network) => {
                    bridges.insert(id, network);
                }
                Err(e) => tracing::error!(network = id, error = %e, "its bridge can't be had"),
            }
        }
        for record in &stored {
            if !lan::is_lan(record) || record.config_only {
                continue;
            }
            match Networks::open_lan(&net, record, &on(&record.id)).await {
                Ok(network) => {
                    bridges.insert(record.id.clone(), network);
                }
                Err(e) => tracing::error!(network = record.name, error = %e, "it can't be used"),
            }
        }
        let made = stored.into_iter().map(|record| {
            let net = bridges.remove(&record.id);
            Arc::new(Made::new(record, net))
        });
        let networks = Networks {
            inner: Arc::new(Inner {
                net,
                bridge,
                config,
                dns,
                default_options,
                events,
                store,
                ids: PREDEFINED.map(|(name, _)| {
                    let digest = Digest::sha256(format!("{root_id}/{name}").as_bytes());
                    digest.hex().to_owned()
                }),
                opened: dhow_api::time::now(),
                made: Mutex::new(made.collect()),
                making: tokio::sync::Mutex::new(()),
                members: Members::default(),
                name_servers: NameServers::default(),
                doors: Doors::default(),
                kept: Kept::default(),
                pruning: tokio::sync::Mutex::new(()),
            }),
        };
        for one in live {
            for endpoint in one.endpoints {
                networks.enter_member(&one.wishes, endpoint);
            }
        }
        Ok(networks)
    }

    fn made(&self) -> MutexGuard<'_, Table> {
        self.inner.made.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A network's id: for those that are always there the same as long as the data-root is.
    pub fn id(&self, key: &str) -> String {
        let always = PREDEFINED.iter().position(|(name, _)| *name == key);
        always.map_or(key, |i| &self.inner.ids[i]).to_owned()
    }

    /// The one of those that are always there that has this name or id; without either, the one whose id begins so,
    /// unless a network that was made is meant.
    fn predefined(&self, name: &str) -> Option<&'static str> {
        let whole = PREDEFINED
            .iter()
            .find(|(n, _)| *n == name || self.id(n) == name);
        let found = whole.or_else(|| {
            if name.is_empty() || self.find_made(name).is_ok() {
                return None;
            }
            PREDEFINED
                .iter()
                .find(|(n, _)| self.id(n).starts_with(name))
        });
        found.map(|(name, _)| *name)
    }

    /// By id, name, or the beginning of an id.
    fn find_made(&self, name: &str) -> Result<Arc<Made>> {
        let made = self.made();
        let missing = || EngineError::NoSuchNetwork(name.to_owned());
        if let Some(one) = made.get(name).or_else(|| made.named(name)) {
            return Ok(one.clone());
        }
        if name.is_empty() {
            return Err(missing());
        }
        let mut beginning = made.beginning(name);
        match (beginning.next(), beginning.count()) {
            (Some(one), 0) => Ok(one.clone()),
            (None, _) => Err(missing()),
            (Some(_), more) => Err(EngineError::invalid(format!(
                "network {name} is ambiguous ({} matches found based on ID prefix)",
                more + 1
            ))),
        }
    }

    /// Name and driver of a network by its key.
    fn name_and_driver(&self, key: &str) -> Option<(String, String)> {
        if let Some((name, driver)) = PREDEFINED.iter().find(|(name, _)| *name == key) {
            return Some(((*name).to_owned(), (*driver).to_owned()));
        }
        let made = self.made();
        let record = &made.get(key)?.record;
        Some((record.name.clone(), record.driver.clone()))
    }

    /// The name of a network that is there, by name, id, or the beginning of an id.
    pub fn named(&self, name: &str) -> Result<String> {
        match self.find_made(name) {
            Ok(made) => Ok(made.record.name.clone()),
            Err(missing) => self.predefined(name).map(str::to_owned).ok_or(missing),
        }
    }

    /// A network's key by its name.
    pub fn key(&self, name: &str) -> String {
        match self.find_made(name) {
            Ok(made) if made.record.name == name => made.record.id.clone(),
            _ => name.to_owned(),
        }
    }

    /// A network as a definition is to name it: as it was named, but for the beginning of an id.
    pub fn settled_mode(&self, name: &str) -> String {
        match self.find_made(name) {
            Ok(made) if made.record.name != name => made.record.id.clone(),
            _ => name.to_owned(),
        }
    }

    /// The name that a network has, by name, id, or the beginning of an id; as it is where there is none.
    pub fn settled_name(&self, name: &str) -> String {
        if let Some(name) = self.predefined(name) {
            return name.to_owned();
        }
        match self.find_made(name) {
            Ok(made) => made.record.name.clone(),
            Err(_) => name.to_owned(),
        }
    }

    fn enter_member(&self, wishes: &Wishes<'_>, endpoint: &EndpointRecord) {
        let name = self
            .name_and_driver(&endpoint.network)
            .map(|(name, _)| name);
        let none = EndpointSettings::default();
        let settings = name.as_ref().and_then(|name| wishes.endpoints.get(name));
        let settings = settings.unwrap_or(&none);
        let names = match endpoint.network.as_str() {
            BRIDGE if !self.inner.dns.on_bridge => Vec::new(),
            _ => wishes.names(settings),
        };
        self.inner.members.enter(Member {
            container: wishes.id.clone(),
            name: wishes.name.to_owned(),
            endpoint: endpoint.clone(),
            names,
            links: settings
                .links
                .iter()
                .flatten()
                .map(|link| link.split_once(':').unwrap_or((link, link)))
                .map(|(target, alias)| (alias.to_lowercase(), target.to_lowercase()))
                .collect(),
        });
    }

    /// A container has another name, the wishes'.
    pub fn renamed(&self, wishes: &Wishes<'_>, endpoints: &[EndpointRecord]) {
        for endpoint in endpoints {
            self.enter_member(wishes, endpoint);
        }
    }

    /// Tells that a container has come to networks, or left them, by their keys.
    pub fn tell<'a>(&self, container: &str, keys: impl IntoIterator<Item = &'a str>, action: &str) {
        for key in keys {
            let Some((name, driver)) = self.name_and_driver(key) else {
                continue;
            };
            let attributes = [
                ("container".to_owned(), container.to_owned()),
                ("name".to_owned(), name),
                ("type".to_owned(), driver),
            ];
            self.publish(self.id(key), action, attributes.into());
        }
    }

    fn tell_made(&self, made: &Made, action: &str) {
        let attributes = [
            ("name".to_owned(), made.record.name.clone()),
            ("type".to_owned(), made.record.driver.clone()),
        ];
        self.publish(made.record.id.clone(), action, attributes.into());
    }

    fn publish(&self, id: String, action: &str, attributes: BTreeMap<String, String>) {
        let actor = Actor { id, attributes };
        self.inner.events.publish("network", action, actor);
    }
}
