//! `POST /containers/create`, and what older clients mean by the same words.

use axum::extract::State;
use dhow_api::{
    ApiVersion, ContainerCreateRequest, ContainerCreateResponse, EndpointSettings, HostConfig,
    NetworkingConfig, PortBinding,
};
use http::StatusCode;

use crate::error::{ApiError, Result};
use crate::json::{Json, JsonBody};
use crate::query::Params;
use crate::routes::AppState;
use crate::version::Api;

pub async fn create(
    State(state): State<AppState>,
    Api(version): Api,
    params: Params,
    JsonBody(body): JsonBody<ContainerCreateRequest>,
) -> Result<(StatusCode, Json<ContainerCreateResponse>)> {
    let mut request = body.ok_or_else(empty)?;
    if request.config == Default::default() && request.host_config.is_none() {
        return Err(empty());
    }
    let mut warnings = adapt(&mut request, version)?;
    let name = params.text("name").map(str::to_owned);
    let platform = match params.text("platform") {
        Some(platform) if version >= ApiVersion::v1(41) => Some(platform.to_owned()),
        _ => None,
    };
    let engine = state.engine.clone();
    let mut created = state
        .finish(async move {
            engine
                .containers()
                .create(name.as_deref(), request, platform.as_deref())
                .await
        })
        .await?;
    created.warnings.append(&mut warnings);
    Ok((StatusCode::CREATED, Json(created)))
}

fn empty() -> ApiError {
    ApiError::bad("config cannot be empty in order to create a container")
}

/// Makes a request of an older client one of the newest version, and returns what its sender should know.
fn adapt(request: &mut ContainerCreateRequest, version: ApiVersion) -> Result<Vec<String>> {
    let before = |minor| version < ApiVersion::v1(minor);
    let mut warnings = Vec::new();
    let host = request.host_config.get_or_insert_default();
    let networking = request.networking_config.get_or_insert_default();
    if host.network_mode.is_empty() || host.network_mode == "default" {
        host.network_mode = "bridge".to_owned();
        if let Some(endpoint) = networking.endpoints_config.remove("default") {
            networking
                .endpoints_config
                .insert("bridge".to_owned(), endpoint);
        }
    }
    if before(40) && host.ipc_mode.is_empty() {
        host.ipc_mode = "shareable".to_owned();
    }
    if before(42) {
        host.console_size = [0, 0];
    }
    if before(43) {
        host.annotations.clear();
    }
    if before(44) {
        if let Some(check) = &mut request.config.healthcheck {
            check.start_interval = 0;
        }
        if networking.endpoints_config.len() > 1 {
            let names: Vec<&str> = networking
                .endpoints_config
                .keys()
                .map(String::as_str)
                .collect();
            return Err(ApiError::bad(format!(
                "Container cannot be created with multiple network endpoints: {}",
                names.join(", ")
            )));
        }
    }
    if before(56) {
        host.umask = None;
    }
    adapt_mounts(host, version)?;
    warnings.extend(warn_of_driver(host, version));
    if host.resources.pids_limit.is_some_and(|limit| limit <= 0) {
        // Both zero and -1 have always meant without limit.
        host.resources.pids_limit = None;
    }
    if host.resources.memory_swappiness == Some(-1) {
        // The command line's way to say nothing.
        host.resources.memory_swappiness = None;
    }
    let address = request.mac_address.take().filter(|a| !a.is_empty());
    warnings.extend(adapt_mac_address(address, host, networking, version)?);
    warnings.extend(adapt_port_bindings(host, version));
    Ok(warnings)
}

fn adapt_mounts(host: &mut HostConfig, version: ApiVersion) -> Result<()> {
    let before = |minor| version < ApiVersion::v1(minor);
    for mount in &mut host.mounts {
        if before(44) && mount.kind == "bind" && mount.read_only {
            // Older clients mean the mount alone, and nothing below it.
            let options = mount.bind_options.get_or_insert_default();
            options.read_only_non_recursive = !options.read_only_force_recursive;
        }
        if let Some(options) = &mut mount.bind_options {
            if before(40) {
                options.non_recursive = false;
            }
            if before(42) {
                options.create_mountpoint = false;
            }
            if before(44) && options.read_only_force_recursive {
                return Err(ApiError::bad(
                    "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
                ));
            }
        }
        for (present, options, kind) in [
            (mount.volume_options.is_some(), "VolumeOptions", "volume"),
            (mount.bind_options.is_some(), "BindOptions", "bind"),
            (mount.tmpfs_options.is_some(), "TmpfsOptions", "tmpfs"),
        ] {
            if present && mount.kind != kind && !before(42) {
                return Err(ApiError::bad(format!(
                    "{options} must not be specified on mount type {:?}",
                    mount.kind
                )));
            }
        }
        if before(42) && mount.kind != "volume" {
            mount.volume_options = None;
        }
        if before(42) && mount.kind != "tmpfs" {
            mount.tmpfs_options = None;
        }
        if before(45)
            && mount
                .volume_options
                .as_ref()
                .is_some_and(|o| !o.subpath.is_empty())
        {
            return Err(ApiError::bad(
                "VolumeOptions.Subpath needs API v1.45 or newer",
            ));
        }
        if before(48) && mount.kind == "image" {
            return Err(ApiError::bad(
                "Mount type \"Image\" needs API v1.48 or newer",
            ));
        }
    }
    Ok(())
}

/// The container-wide driver of volumes is not that of mounts, as one could think.
fn warn_of_driver(host: &HostConfig, version: ApiVersion) -> Option<String> {
    if host.volume_driver.is_empty() || version < ApiVersion::v1(48) {
        return None;
    }
    let names_none = |mount: &dhow_api::Mount| {
        let options = mount.volume_options.as_ref();
        let driver = options.and_then(|o| o.driver_config.as_ref());
        mount.kind == "volume" && driver.is_none_or(|d| d.name.is_empty())
    };
    host.mounts.iter().any(names_none).then(|| {
        "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. Use '--mount type=volume,volume-driver=...' instead".to_owned()
    })
}

/// The container-wide address of older clients becomes the main endpoint's.
fn adapt_mac_address(
    address: Option<String>,
    host: &HostConfig,
    networking: &mut NetworkingConfig,
    version: ApiVersion,
) -> Result<Option<String>> {
    let mode = host.network_mode.as_str();
    let has_endpoint = !matches!(mode, "host" | "none") && !mode.starts_with("container:");
    if version < ApiVersion::v1(44) {
        let Some(address) = address else {
            for endpoint in networking.endpoints_config.values_mut().flatten() {
                endpoint.mac_address.clear();
            }
            return Ok(None);
        };
        if !has_endpoint {
            return Err(ApiError::bad(
                "conflicting options: mac-address and the network mode",
            ));
        }
        endpoint_of(mode, networking).mac_address = address;
        return Ok(None);
    }
    let Some(address) = address else {
        return Ok(None);
    };
    if version >= ApiVersion::v1(52) {
        return Err(ApiError::bad(
            "container-wide MAC address no longer supported; use endpoint-specific MAC address instead",
        ));
    }
    if has_endpoint {
        let endpoint = endpoint_of(mode, networking);
        if endpoint.mac_address.is_empty() {
            endpoint.mac_address = address;
        } else if endpoint.mac_address != address {
            return Err(ApiError::bad(
                "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
            ));
        }
    }
    Ok(Some(
        "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."
            .to_owned(),
    ))
}

fn endpoint_of<'a>(
    network: &str,
    networking: &'a mut NetworkingConfig,
) -> &'a mut EndpointSettings {
    networking
        .endpoints_config
        .entry(network.to_owned())
        .or_default()
        .get_or_insert_default()
}

/// A port with an empty list of bindings is published on a port of the daemon's choice.
fn adapt_port_bindings(host: &mut HostConfig, version: ApiVersion) -> Option<String> {
    let mut filled = Vec::new();
    for (port, bindings) in host.port_bindings.iter_mut().flatten() {
        let bindings = bindings.get_or_insert_default();
        if bindings.is_empty() {
            bindings.push(PortBinding::default());
            filled.push(port.as_str());
        }
    }
    if filled.is_empty() || version < ApiVersion::v1(52) {
        return None;
    }
    Some(format!(
        "Following container port(s) have an empty list of port-bindings: {}. Such bindings will be discarded in a future version.",
        filled.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapted(minor: u16, json: &str) -> Result<(ContainerCreateRequest, Vec<String>)> {
        let mut request = serde_json::from_str(json).unwrap();
        let warnings = adapt(&mut request, ApiVersion::v1(minor))?;
        Ok((request, warnings))
    }

    #[test]
    fn the_default_network_is_the_bridge() {
        let (request, warnings) = adapted(
            51,
            r#"{"Image":"x","HostConfig":{"NetworkMode":"default","PidsLimit":-1,"MemorySwappiness":-1},"NetworkingConfig":{"EndpointsConfig":{"default":{"Aliases":["a"]}}}}"#,
        )
        .unwrap();
        let host = request.host_config.unwrap();
        assert_eq!(host.network_mode, "bridge");
        assert_eq!(host.resources.pids_limit, None);
        assert_eq!(host.resources.memory_swappiness, None);
        assert!(request.networking_config.unwrap().endpoints_config["bridge"].is_some());
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn the_container_wide_address_moves_to_the_endpoint() {
        let json = r#"{"Image":"x","MacAddress":"02:42:00:00:00:01"}"#;
        for (minor, warns) in [(43, false), (44, true), (51, true)] {
            let (request, warnings) = adapted(minor, json).unwrap();
            let networking = request.networking_config.unwrap();
            let endpoint = networking.endpoints_config["bridge"].as_ref().unwrap();
            assert_eq!(endpoint.mac_address, "02:42:00:00:00:01");
            assert_eq!(!warnings.is_empty(), warns, "{minor}");
        }
        assert!(adapted(52, json).is_err());
        let other = r#"{"Image":"x","MacAddress":"02:42:00:00:00:01","NetworkingConfig":{"EndpointsConfig":{"bridge":{"MacAddress":"02:42:00:00:00:02"}}}}"#;
        assert!(adapted(51, other).is_err());
        let host =
            r#"{"Image":"x","MacAddress":"02:42:00:00:00:01","HostConfig":{"NetworkMode":"host"}}"#;
        assert!(adapted(43, host).is_err());
    }

    #[test]
    fn empty_port_bindings_are_filled() {
        let json = r#"{"Image":"x","HostConfig":{"PortBindings":{"80/tcp":[],"81/tcp":null}}}"#;
        let (request, warnings) = adapted(51, json).unwrap();
        let ports = request.host_config.unwrap().port_bindings.unwrap();
        assert_eq!(ports["80/tcp"].as_ref().unwrap().len(), 1);
        assert_eq!(ports["81/tcp"].as_ref().unwrap().len(), 1);
        assert!(warnings.is_empty());
        assert!(adapted(52, json).unwrap().1[0].contains("80/tcp, 81/tcp"));
    }

    #[test]
    fn options_of_another_kind_of_mount_are_refused_since_1_42() {
        let json = r#"{"Image":"x","HostConfig":{"Mounts":[{"Type":"bind","Source":"/a","Target":"/b","VolumeOptions":{}}]}}"#;
        assert!(adapted(41, json).is_ok());
        let refused = adapted(42, json).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "VolumeOptions must not be specified on mount type \"bind\""
        );
    }
}
