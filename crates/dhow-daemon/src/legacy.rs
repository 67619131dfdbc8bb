//! What clients of older API versions are shown: fields that came later are taken away, and those that
//! have gone are put back. Everything below this module speaks the newest version.

use dhow_api::{
    ApiVersion, ContainerInspect, ContainerSummary, ImageInspect, ImageSummary, Network, SystemInfo,
};
use serde_json::{Value, json};

use crate::error::{ApiError, Result};

/// A line of a list.
pub fn summary(container: &mut ContainerSummary, version: ApiVersion) {
    if version < ApiVersion::v1(46) {
        container.host_config.annotations.clear();
    }
    if version < ApiVersion::v1(48) {
        container.image_manifest_descriptor = None;
    }
    if version < ApiVersion::v1(52) {
        container.health = None;
    }
}

/// An inspected container.
pub fn inspect(mut container: ContainerInspect, version: ApiVersion) -> Result<Value> {
    if version < ApiVersion::v1(48) {
        container.image_manifest_descriptor = None;
    }
    if version < ApiVersion::v1(56) {
        container.host_config.umask = None;
    }
    let mut value = to_value(&container)?;
    if version < ApiVersion::v1(52) {
        add_bridge_addresses(&mut value);
    }
    Ok(value)
}

/// An inspected image: before 1.44 one that does not say when it was made was made at Go's zero time.
pub fn image(mut image: ImageInspect, version: ApiVersion) -> ImageInspect {
    if version < ApiVersion::v1(44) {
        if image.created.is_empty() {
            image.created = dhow_api::time::ZERO.to_owned();
        }
        image.virtual_size = image.size;
    }
    if version < ApiVersion::v1(48) {
        image.descriptor = None;
    }
    if version < ApiVersion::v1(53) {
        image.identity = None;
    }
    image
}

/// An image's line of a list.
pub fn image_summary(image: &mut ImageSummary, version: ApiVersion) {
    if version < ApiVersion::v1(44) {
        image.virtual_size = image.size;
    }
    if version < ApiVersion::v1(48) {
        image.descriptor = None;
    }
}

/// An image's line of `GET /images/json`, where containers were not counted before 1.51.
pub fn listed_image(image: &mut ImageSummary, version: ApiVersion) {
    image_summary(image, version);
    if version < ApiVersion::v1(51) {
        image.containers = -1;
    }
}

/// A network's entry of a list.
pub fn listed_network(network: &mut Network, version: ApiVersion) {
    if version >= ApiVersion::v1(52) {
        network.containers = None;
    }
}

/// Before 1.52 the default bridge's endpoint was also shown at the top of the network settings, in this
/// order.
fn add_bridge_addresses(container: &mut Value) {
    let Some(settings) = container["NetworkSettings"].as_object_mut() else {
        return;
    };
    let new = std::mem::take(settings);
    let bridge = new
        .get("Networks")
        .and_then(|networks| networks.get("bridge"));
    let endpoint = |name: &str, none: Value| {
        let value = bridge.and_then(|bridge| bridge.get(name)).cloned();
        (name.to_owned(), value.unwrap_or(none))
    };
    let own = |name: &str| (name.to_owned(), new.get(name).cloned().unwrap_or_default());
    let fixed = |name: &str, value: Value| (name.to_owned(), value);
    settings.extend([
        fixed("Bridge", json!("")),
        own("SandboxID"),
        own("SandboxKey"),
        own("Ports"),
        fixed("HairpinMode", json!(false)),
        fixed("LinkLocalIPv6Address", json!("")),
        fixed("LinkLocalIPv6PrefixLen", json!(0)),
        fixed("SecondaryIPAddresses", Value::Null),
        fixed("SecondaryIPv6Addresses", Value::Null),
        endpoint("EndpointID", json!("")),
        endpoint("Gateway", json!("")),
        endpoint("GlobalIPv6Address", json!("")),
        endpoint("GlobalIPv6PrefixLen", json!(0)),
        endpoint("IPAddress", json!("")),
        endpoint("IPPrefixLen", json!(0)),
        endpoint("IPv6Gateway", json!("")),
        endpoint("MacAddress", json!("")),
        own("Networks"),
    ]);
}

/// The daemon about itself.
pub fn info(mut info: SystemInfo, version: ApiVersion) -> Result<Value> {
    if version < ApiVersion::v1(44) {
        for runtime in info.runtimes.values_mut() {
            runtime.status.clear();
        }
    }
    if version < ApiVersion::v1(49) {
        info.firewall_backend = None;
    }
    if version < ApiVersion::v1(50) {
        info.discovered_devices.clear();
    }
    let mut value = to_value(&info)?;
    if version < ApiVersion::v1(47) {
        value["RegistryConfig"]["AllowNondistributableArtifactsCIDRs"] = Value::Null;
        value["RegistryConfig"]["AllowNondistributableArtifactsHostnames"] = Value::Null;
    }
    if version < ApiVersion::v1(49) {
        for commit in ["ContainerdCommit", "RuncCommit", "InitCommit"] {
            value[commit]["Expected"] = value[commit]["ID"].clone();
        }
    }
    if version < ApiVersion::v1(50) {
        value["BridgeNfIptables"] = json!(false);
        value["BridgeNfIp6tables"] = json!(false);
    }
    Ok(value)
}

fn to_value<T: serde::Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| ApiError::Internal(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_api::EndpointSettings;

    #[test]
    fn bridge_addresses_are_at_the_top_before_1_52() {
        let mut container = ContainerInspect::default();
        container.network_settings.networks.insert(
            "bridge".into(),
            EndpointSettings {
                ip_address: "172.17.0.2".into(),
                ip_prefix_len: 16,
                ..EndpointSettings::default()
            },
        );
        let old = inspect(container.clone(), ApiVersion::v1(51)).unwrap();
        assert_eq!(old["NetworkSettings"]["IPAddress"], "172.17.0.2");
        assert_eq!(old["NetworkSettings"]["IPPrefixLen"], 16);
        assert_eq!(old["NetworkSettings"]["SecondaryIPAddresses"], Value::Null);
        let new = inspect(container, ApiVersion::v1(52)).unwrap();
        assert!(new["NetworkSettings"].get("IPAddress").is_none());
        let none = inspect(ContainerInspect::default(), ApiVersion::v1(40)).unwrap();
        assert_eq!(none["NetworkSettings"]["IPAddress"], "");
    }

    #[test]
    fn an_image_of_no_time_has_gos_zero_time_before_1_44() {
        let made = |version| image(ImageInspect::default(), ApiVersion::v1(version)).created;
        assert_eq!(made(43), "0001-01-01T00:00:00Z");
        assert_eq!(made(44), "");
    }

    #[test]
    fn old_info_has_the_fields_that_went() {
        let old = info(SystemInfo::default(), ApiVersion::v1(40)).unwrap();
        assert_eq!(old["BridgeNfIptables"], false);
        assert_eq!(old["RuncCommit"]["Expected"], "");
        let new = info(SystemInfo::default(), ApiVersion::v1(51)).unwrap();
        assert!(new.get("BridgeNfIptables").is_none());
    }
}
