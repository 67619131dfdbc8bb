//! Networks, endpoints and published ports.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::wire::{is_default, wire};

/// Published ports by `port/protocol`; a port with null is exposed only.
pub type PortMap = BTreeMap<String, Option<Vec<PortBinding>>>;

wire! {
    #[serde(rename_all = "PascalCase")]
    pub struct PortBinding {
        pub host_ip: String,
        /// A number, a range, or empty for the daemon's choice.
        pub host_port: String,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct NetworkingConfig {
        pub endpoints_config: BTreeMap<String, Option<EndpointSettings>>,
    }

    /// A container's place in a network: what was asked for, then what it got.
    #[serde(rename_all = "PascalCase")]
    pub struct EndpointSettings {
        #[serde(rename = "IPAMConfig")]
        pub ipam_config: Option<EndpointIpamConfig>,
        pub links: Option<Vec<String>>,
        pub aliases: Option<Vec<String>>,
        pub driver_opts: Option<BTreeMap<String, String>>,
        pub gw_priority: i64,
        #[serde(rename = "NetworkID")]
        pub network_id: String,
        #[serde(rename = "EndpointID")]
        pub endpoint_id: String,
        pub gateway: String,
        #[serde(rename = "IPAddress")]
        pub ip_address: String,
        pub mac_address: String,
        #[serde(rename = "IPPrefixLen")]
        pub ip_prefix_len: u8,
        #[serde(rename = "IPv6Gateway")]
        pub ipv6_gateway: String,
        #[serde(rename = "GlobalIPv6Address")]
        pub global_ipv6_address: String,
        #[serde(rename = "GlobalIPv6PrefixLen")]
        pub global_ipv6_prefix_len: u8,
        #[serde(rename = "DNSNames")]
        pub dns_names: Option<Vec<String>>,
    }

    pub struct EndpointIpamConfig {
        #[serde(rename = "IPv4Address", skip_serializing_if = "is_default")]
        pub ipv4_address: String,
        #[serde(rename = "IPv6Address", skip_serializing_if = "is_default")]
        pub ipv6_address: String,
        #[serde(rename = "LinkLocalIPs", skip_serializing_if = "is_default")]
        pub link_local_ips: Vec<String>,
    }

    /// `GET /networks` and `GET /networks/{id}`.
    #[serde(rename_all = "PascalCase")]
    pub struct Network {
        pub name: String,
        pub id: String,
        pub created: String,
        pub scope: String,
        pub driver: String,
        #[serde(rename = "EnableIPv4")]
        pub enable_ipv4: bool,
        #[serde(rename = "EnableIPv6")]
        pub enable_ipv6: bool,
        #[serde(rename = "IPAM")]
        pub ipam: Ipam,
        pub internal: bool,
        pub attachable: bool,
        pub ingress: bool,
        pub config_from: ConfigReference,
        pub config_only: bool,
        /// Endpoints by container id. Only inspect fills it; lists show it empty before 1.52, and then no more.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub containers: Option<BTreeMap<String, EndpointResource>>,
        pub options: BTreeMap<String, String>,
        pub labels: BTreeMap<String, String>,
        /// From 1.52: how many addresses are in use.
        #[serde(skip_serializing_if = "is_default")]
        pub status: Option<Value>,
    }

    /// `POST /networks/create`.
    #[serde(rename_all = "PascalCase")]
    pub struct NetworkCreateRequest {
        pub name: String,
        /// Before 1.44: whether another network of this name is an error. It always is.
        pub check_duplicate: bool,
        /// Empty is `bridge`.
        pub driver: String,
        /// Empty is `local`.
        pub scope: String,
        /// Absent is true.
        #[serde(rename = "EnableIPv4", skip_serializing_if = "Option::is_none")]
        pub enable_ipv4: Option<bool>,
        #[serde(rename = "EnableIPv6", skip_serializing_if = "Option::is_none")]
        pub enable_ipv6: Option<bool>,
        #[serde(rename = "IPAM")]
        pub ipam: Option<Ipam>,
        pub internal: bool,
        pub attachable: bool,
        pub ingress: bool,
        pub config_only: bool,
        pub config_from: Option<ConfigReference>,
        pub options: Option<BTreeMap<String, String>>,
        pub labels: Option<BTreeMap<String, String>>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct NetworkCreateResponse {
        pub id: String,
        pub warning: String,
    }

    /// `POST /networks/{id}/connect`.
    #[serde(rename_all = "PascalCase")]
    pub struct NetworkConnectRequest {
        /// Its name or id.
        pub container: String,
        pub endpoint_config: Option<EndpointSettings>,
    }

    /// `POST /networks/{id}/disconnect`.
    #[serde(rename_all = "PascalCase")]
    pub struct NetworkDisconnectRequest {
        /// Its name or id.
        pub container: String,
        /// Also one that the engine can't find any more.
        pub force: bool,
    }

    /// `POST /networks/prune`.
    #[serde(rename_all = "PascalCase")]
    pub struct NetworksPruneReport {
        pub networks_deleted: Option<Vec<String>>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct Ipam {
        pub driver: String,
        pub options: Option<BTreeMap<String, String>>,
        pub config: Vec<IpamConfig>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct IpamConfig {
        #[serde(skip_serializing_if = "is_default")]
        pub subnet: String,
        #[serde(rename = "IPRange", skip_serializing_if = "is_default")]
        pub ip_range: String,
        #[serde(skip_serializing_if = "is_default")]
        pub gateway: String,
        #[serde(rename = "AuxiliaryAddresses", skip_serializing_if = "is_default")]
        pub auxiliary_addresses: BTreeMap<String, String>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct ConfigReference {
        pub network: String,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct EndpointResource {
        pub name: String,
        #[serde(rename = "EndpointID")]
        pub endpoint_id: String,
        pub mac_address: String,
        /// With the prefix length.
        #[serde(rename = "IPv4Address")]
        pub ipv4_address: String,
        #[serde(rename = "IPv6Address")]
        pub ipv6_address: String,
    }
}
