//! Volumes.

use std::collections::BTreeMap;

use crate::wire::{is_default, wire};

wire! {
    #[serde(rename_all = "PascalCase")]
    pub struct Volume {
        #[serde(skip_serializing_if = "is_default")]
        pub created_at: String,
        pub driver: String,
        pub labels: Option<BTreeMap<String, String>>,
        pub mountpoint: String,
        pub name: String,
        pub options: Option<BTreeMap<String, String>>,
        pub scope: String,
        #[serde(skip_serializing_if = "is_default")]
        pub usage_data: Option<VolumeUsage>,
    }

    /// Filled by `GET /system/df` only.
    #[serde(rename_all = "PascalCase")]
    pub struct VolumeUsage {
        pub ref_count: i64,
        pub size: i64,
    }

    /// The body of `POST /volumes/create`.
    #[serde(rename_all = "PascalCase")]
    pub struct VolumeCreateRequest {
        #[serde(skip_serializing_if = "is_default")]
        pub driver: String,
        #[serde(skip_serializing_if = "is_default")]
        pub driver_opts: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "is_default")]
        pub labels: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "is_default")]
        pub name: String,
    }

    /// `GET /volumes`.
    #[serde(rename_all = "PascalCase")]
    pub struct VolumeList {
        pub volumes: Vec<Volume>,
        pub warnings: Option<Vec<String>>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct VolumePruneReport {
        pub volumes_deleted: Vec<String>,
        pub space_reclaimed: u64,
    }
}
