//! A container's definition as clients send it: `POST /containers/create`. The definition is kept as it
//! came, null apart from empty, so that what inspect shows can be sent to create again.

use std::collections::BTreeMap;

use crate::wire::{Empty, composed, is_default, nullable, wire, words};
use crate::{HostConfig, NetworkingConfig};

/// What is in the image's gift and the client may override; the part of a container that does not
/// depend on its host.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    #[serde(deserialize_with = "nullable")]
    pub hostname: String,
    #[serde(deserialize_with = "nullable")]
    pub domainname: String,
    /// `user`, `user:group`, or their numbers.
    #[serde(deserialize_with = "nullable")]
    pub user: String,
    #[serde(deserialize_with = "nullable")]
    pub attach_stdin: bool,
    #[serde(deserialize_with = "nullable")]
    pub attach_stdout: bool,
    #[serde(deserialize_with = "nullable")]
    pub attach_stderr: bool,
    /// Keys are `port/protocol`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub exposed_ports: BTreeMap<String, Empty>,
    #[serde(deserialize_with = "nullable")]
    pub tty: bool,
    #[serde(deserialize_with = "nullable")]
    pub open_stdin: bool,
    #[serde(deserialize_with = "nullable")]
    pub stdin_once: bool,
    /// `NAME=value`, or `NAME` alone to take the variable away.
    #[serde(deserialize_with = "nullable")]
    pub env: Option<Vec<String>>,
    #[serde(deserialize_with = "words")]
    pub cmd: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub healthcheck: Option<HealthConfig>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub args_escaped: bool,
    #[serde(deserialize_with = "nullable")]
    pub image: String,
    /// Keys are paths in the container.
    #[serde(deserialize_with = "nullable")]
    pub volumes: Option<BTreeMap<String, Empty>>,
    #[serde(deserialize_with = "nullable")]
    pub working_dir: String,
    /// In a request `None` takes the image's entrypoint, and an empty list none.
    #[serde(deserialize_with = "words")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub network_disabled: bool,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub on_build: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub stop_signal: String,
    /// Seconds; negative means for ever.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub stop_timeout: Option<i64>,
    #[serde(deserialize_with = "words", skip_serializing_if = "is_default")]
    pub shell: Vec<String>,
}

wire! {
    /// A health check's definition; durations are nanoseconds, and zero inherits.
    #[serde(rename_all = "PascalCase")]
    pub struct HealthConfig {
        #[serde(skip_serializing_if = "is_default")]
        pub test: Vec<String>,
        #[serde(skip_serializing_if = "is_default")]
        pub interval: i64,
        #[serde(skip_serializing_if = "is_default")]
        pub timeout: i64,
        #[serde(skip_serializing_if = "is_default")]
        pub start_period: i64,
        #[serde(skip_serializing_if = "is_default")]
        pub start_interval: i64,
        #[serde(skip_serializing_if = "is_default")]
        pub retries: i64,
        /// Dhow's own: so many failures in a row end the container, for its restart policy to start it again; 0 is never.
        #[serde(skip_serializing_if = "is_default")]
        pub restart: i64,
    }

    /// The answer to a creation.
    #[serde(rename_all = "PascalCase")]
    pub struct ContainerCreateResponse {
        pub id: String,
        pub warnings: Vec<String>,
    }
}

/// The body of `POST /containers/create`.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase", remote = "Self")]
pub struct ContainerCreateRequest {
    #[serde(flatten, skip_deserializing)]
    pub config: ContainerConfig,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_config: Option<HostConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networking_config: Option<NetworkingConfig>,
    /// The container-wide address of clients before 1.44; newer ones put it into the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
}

composed!(ContainerCreateRequest: config);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_absent_and_unknown_fields_are_read_as_go_reads_them() {
        let request: ContainerCreateRequest = serde_json::from_str(
            r#"{"Image":"busybox","Cmd":null,"Tty":null,"Labels":null,"Entrypoint":[],"Volumes":{"/data":null},
                "Surprise":{"a":[1]},"HostConfig":null,"NetworkingConfig":{"EndpointsConfig":{"bridge":null}}}"#,
        )
        .unwrap();
        assert_eq!(request.config.image, "busybox");
        assert_eq!(request.config.cmd, None);
        assert_eq!(request.config.entrypoint, Some(Vec::new()));
        assert_eq!(request.config.volumes.unwrap().len(), 1);
        assert_eq!(request.host_config, None);
        let networking = request.networking_config.unwrap();
        assert!(networking.endpoints_config["bridge"].is_none());
    }

    #[test]
    fn a_definition_prints_as_docker_prints_it() {
        let config = ContainerConfig {
            image: "a<b>&c".into(),
            ..ContainerConfig::default()
        };
        assert_eq!(
            serde_json::to_string(&config).unwrap(),
            r#"{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,"Image":"a<b>&c","Volumes":null,"WorkingDir":"","Entrypoint":null,"Labels":{}}"#
        );
    }
}
