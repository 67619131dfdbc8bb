//! Images as the daemon shows them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::HealthConfig;
use crate::wire::{Empty, is_default, wire};

wire! {
    /// A line of `GET /images/json`.
    #[serde(rename_all = "PascalCase")]
    pub struct ImageSummary {
        /// How many containers use it; -1 where it was not counted.
        pub containers: i64,
        /// Seconds since the epoch.
        pub created: i64,
        pub id: String,
        pub labels: Option<BTreeMap<String, String>>,
        pub parent_id: String,
        #[serde(skip_serializing_if = "is_default")]
        pub descriptor: Option<Descriptor>,
        #[serde(skip_serializing_if = "is_default")]
        pub manifests: Option<Vec<ManifestSummary>>,
        pub repo_digests: Vec<String>,
        pub repo_tags: Vec<String>,
        /// Bytes; -1 where it was not counted.
        pub shared_size: i64,
        pub size: i64,
        /// The size again: before 1.44 alone.
        #[serde(skip_serializing_if = "is_default")]
        pub virtual_size: i64,
    }

    /// `GET /images/{name}/json`.
    #[serde(rename_all = "PascalCase")]
    pub struct ImageInspect {
        pub id: String,
        pub repo_tags: Vec<String>,
        pub repo_digests: Vec<String>,
        /// The image that it was made of on this machine.
        #[serde(skip_serializing_if = "is_default")]
        pub parent: String,
        #[serde(skip_serializing_if = "is_default")]
        pub comment: String,
        #[serde(skip_serializing_if = "is_default")]
        pub created: String,
        #[serde(skip_serializing_if = "is_default")]
        pub author: String,
        pub config: Option<ImageContainerConfig>,
        pub architecture: String,
        #[serde(skip_serializing_if = "is_default")]
        pub variant: String,
        pub os: String,
        #[serde(skip_serializing_if = "is_default")]
        pub os_version: String,
        pub size: i64,
        /// The size again: before 1.44 alone.
        #[serde(skip_serializing_if = "is_default")]
        pub virtual_size: i64,
        #[serde(skip_serializing_if = "is_default")]
        pub graph_driver: Option<DriverData>,
        #[serde(rename = "RootFS")]
        pub root_fs: RootFs,
        pub metadata: ImageMetadata,
        #[serde(skip_serializing_if = "is_default")]
        pub descriptor: Option<Descriptor>,
        #[serde(skip_serializing_if = "is_default")]
        pub manifests: Option<Vec<ManifestSummary>>,
        #[serde(skip_serializing_if = "is_default")]
        pub identity: Option<ImageIdentity>,
    }

    /// An entry of the index that an image came by.
    #[serde(rename_all = "PascalCase")]
    pub struct ManifestSummary {
        /// The manifest's digest.
        #[serde(rename = "ID")]
        pub id: String,
        pub descriptor: Descriptor,
        /// Whether all that it names is here.
        pub available: bool,
        pub size: ManifestSize,
        /// `image`, `attestation` or `unknown`.
        pub kind: String,
        #[serde(skip_serializing_if = "is_default")]
        pub image_data: Option<ManifestImage>,
        #[serde(skip_serializing_if = "is_default")]
        pub attestation_data: Option<ManifestAttestation>,
    }

    /// Bytes of what is here.
    #[serde(rename_all = "PascalCase")]
    pub struct ManifestSize {
        /// As it is in a registry.
        pub content: i64,
        /// That, and what it is unpacked.
        pub total: i64,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct ManifestImage {
        pub platform: ImagePlatform,
        #[serde(skip_serializing_if = "is_default")]
        pub identity: Option<ImageIdentity>,
        pub size: UnpackedSize,
        /// Ids of the containers that use it.
        pub containers: Vec<String>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct UnpackedSize {
        pub unpacked: i64,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct ManifestAttestation {
        /// The digest of the manifest that it is about.
        #[serde(rename = "For")]
        pub about: String,
    }

    /// Where an image is from, as far as the daemon knows by itself.
    #[serde(rename_all = "PascalCase")]
    pub struct ImageIdentity {
        #[serde(skip_serializing_if = "is_default")]
        pub pull: Vec<PullIdentity>,
    }

    /// A repository that it was pulled from, or pushed to.
    #[serde(rename_all = "PascalCase")]
    pub struct PullIdentity {
        pub repository: String,
    }

    /// A statement about an image, in the answer to `GET /images/{name}/attestations`.
    #[serde(rename_all = "PascalCase")]
    pub struct AttestationStatement {
        pub descriptor: Descriptor,
        pub predicate_type: String,
        /// Where it is asked for.
        #[serde(skip_serializing_if = "is_default")]
        pub statement: Option<Value>,
    }

    /// What an image says about the containers made of it.
    #[serde(rename_all = "PascalCase")]
    pub struct ImageContainerConfig {
        #[serde(skip_serializing_if = "is_default")]
        pub user: String,
        #[serde(skip_serializing_if = "is_default")]
        pub exposed_ports: BTreeMap<String, Empty>,
        #[serde(skip_serializing_if = "is_default")]
        pub env: Vec<String>,
        #[serde(skip_serializing_if = "is_default")]
        pub entrypoint: Vec<String>,
        #[serde(skip_serializing_if = "is_default")]
        pub cmd: Vec<String>,
        #[serde(skip_serializing_if = "is_default")]
        pub volumes: BTreeMap<String, Empty>,
        #[serde(skip_serializing_if = "is_default")]
        pub working_dir: String,
        #[serde(skip_serializing_if = "is_default")]
        pub labels: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "is_default")]
        pub stop_signal: String,
        #[serde(skip_serializing_if = "is_default")]
        pub args_escaped: bool,
        #[serde(skip_serializing_if = "is_default")]
        pub healthcheck: Option<HealthConfig>,
        #[serde(skip_serializing_if = "is_default")]
        pub on_build: Vec<String>,
        #[serde(skip_serializing_if = "is_default")]
        pub shell: Vec<String>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct RootFs {
        #[serde(rename = "Type", skip_serializing_if = "is_default")]
        pub kind: String,
        #[serde(skip_serializing_if = "is_default")]
        pub layers: Vec<String>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct ImageMetadata {
        /// Go's zero time when it was never tagged here.
        pub last_tag_time: String,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct DriverData {
        pub data: Option<BTreeMap<String, String>>,
        pub name: String,
    }

    /// The OCI image specification's descriptor.
    #[serde(rename_all = "camelCase")]
    pub struct Descriptor {
        pub media_type: String,
        pub digest: String,
        pub size: i64,
        #[serde(skip_serializing_if = "is_default")]
        pub urls: Vec<String>,
        #[serde(skip_serializing_if = "is_default")]
        pub annotations: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "is_default")]
        pub platform: Option<ImagePlatform>,
        #[serde(skip_serializing_if = "is_default")]
        pub artifact_type: String,
    }

    pub struct ImagePlatform {
        pub architecture: String,
        pub os: String,
        #[serde(rename = "os.version", skip_serializing_if = "is_default")]
        pub os_version: String,
        #[serde(rename = "os.features", skip_serializing_if = "is_default")]
        pub os_features: Vec<String>,
        #[serde(skip_serializing_if = "is_default")]
        pub variant: String,
    }

    /// A line of `GET /images/{name}/history`.
    #[serde(rename_all = "PascalCase")]
    pub struct HistoryItem {
        pub comment: String,
        /// Seconds since the epoch.
        pub created: i64,
        pub created_by: String,
        pub id: String,
        pub size: i64,
        pub tags: Option<Vec<String>>,
    }

    /// The answer to `POST /commit`.
    #[serde(rename_all = "PascalCase")]
    pub struct CommitResponse {
        pub id: String,
    }

    /// What a deletion did, one thing a line.
    #[serde(rename_all = "PascalCase")]
    pub struct DeleteResponse {
        #[serde(skip_serializing_if = "is_default")]
        pub deleted: String,
        #[serde(skip_serializing_if = "is_default")]
        pub untagged: String,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct ImagePruneReport {
        /// Null when nothing was.
        pub images_deleted: Option<Vec<DeleteResponse>>,
        pub space_reclaimed: u64,
    }

    /// `GET /distribution/{name}/json`.
    #[serde(rename_all = "PascalCase")]
    pub struct DistributionInspect {
        pub descriptor: Descriptor,
        pub platforms: Vec<ImagePlatform>,
    }

    /// A line of `GET /images/search`.
    pub struct SearchResult {
        pub star_count: i64,
        pub is_official: bool,
        pub name: String,
        pub is_automated: bool,
        pub description: String,
    }
}
