//! One image: what it is, and how it was made.

use std::collections::BTreeMap;

use dhow_api::{
    DriverData, HealthConfig, HistoryItem, ImageContainerConfig, ImageInspect, ImageMetadata,
    RootFs, time,
};
use dhow_image::Image;
use dhow_oci::{ImageConfig, Platform};

use super::{Images, manifests};
use crate::error::Result;

/// What is asked of an image beyond what it is.
#[derive(Clone, Debug, Default)]
pub struct ImageInspectOptions {
    /// The entries of its index.
    pub manifests: bool,
    /// The image of this platform, of those that came by one index.
    pub platform: Option<Platform>,
}

impl Images {
    /// What there is to say of an image. Does not block, unless its manifests are asked for.
    pub fn inspect(&self, name: &str, options: &ImageInspectOptions) -> Result<ImageInspect> {
        let store = &self.inner.store;
        let (image, target) = match &options.platform {
            None => {
                let image = store.resolve(name)?;
                let target = store.target(&image);
                (image, target)
            }
            Some(platform) => {
                let image = store.variant(name, platform)?;
                let manifest = store.manifest_of(&image);
                (image, manifest)
            }
        };
        let mut shown = inspect(&image, store);
        shown.descriptor = target.map(manifests::descriptor);
        if options.manifests {
            let users = self.containers_by_image();
            shown.manifests = Some(self.manifests(&image, &users, false)?);
        }
        shown.identity = manifests::identity(&image);
        Ok(shown)
    }

    /// The steps of an image's making, the last first. Does not block.
    pub fn history(&self, name: &str, platform: Option<&Platform>) -> Result<Vec<HistoryItem>> {
        let store = &self.inner.store;
        let image = match platform {
            None => store.resolve(name)?,
            Some(platform) => store.variant(name, platform)?,
        };
        Ok(history(&image, store))
    }
}

fn inspect(image: &Image, store: &dhow_image::Images) -> ImageInspect {
    let config = &image.config;
    let lower: Vec<String> = store
        .lower_dirs(&image.id)
        .unwrap_or_default()
        .iter()
        .map(|dir| dir.display().to_string())
        .collect();
    let mut data = BTreeMap::new();
    if let Some((top, below)) = lower.split_first() {
        data.insert("UpperDir".to_owned(), top.clone());
        if !below.is_empty() {
            data.insert("LowerDir".to_owned(), below.join(":"));
        }
    }
    ImageInspect {
        id: image.id.to_string(),
        repo_tags: image.repo_tags(),
        repo_digests: image.repo_digests(),
        parent: parent(image, store),
        comment: comment(config),
        created: config.created.clone().unwrap_or_default(),
        author: config.author.clone(),
        config: Some(container_config(image)),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        os: config.os.clone(),
        os_version: config.os_version.clone(),
        size: image.size as i64,
        graph_driver: Some(DriverData {
            data: Some(data),
            name: "overlay2".to_owned(),
        }),
        root_fs: RootFs {
            kind: config.rootfs.kind.clone(),
            layers: config
                .rootfs
                .diff_ids
                .iter()
                .map(|d| d.to_string())
                .collect(),
        },
        metadata: ImageMetadata {
            last_tag_time: match image.last_tagged {
                0 => time::ZERO.to_owned(),
                at => time::rfc3339_nano(at),
            },
        },
        ..ImageInspect::default()
    }
}

/// The id of the image that one was made of, as long as that is here.
pub(super) fn parent(image: &Image, store: &dhow_image::Images) -> String {
    let parent = image.parent.as_ref();
    let parent = parent.filter(|parent| store.get(parent).is_some());
    parent.map(ToString::to_string).unwrap_or_default()
}

/// The image's own, or else what was said of its last step.
fn comment(config: &ImageConfig) -> String {
    match config.history.last() {
        Some(last) if config.comment.is_empty() => last.comment.clone(),
        _ => config.comment.clone(),
    }
}

fn container_config(image: &Image) -> ImageContainerConfig {
    let c = &image.config.config;
    let set = |map: &Option<BTreeMap<String, serde_json::Value>>| {
        let keys = map.iter().flat_map(BTreeMap::keys);
        keys.map(|k| (k.clone(), dhow_api::Empty {})).collect()
    };
    ImageContainerConfig {
        user: c.user.clone(),
        exposed_ports: set(&c.exposed_ports),
        env: c.env.clone().unwrap_or_default(),
        entrypoint: c.entrypoint.clone().unwrap_or_default(),
        cmd: c.cmd.clone().unwrap_or_default(),
        volumes: set(&c.volumes),
        working_dir: c.working_dir.clone(),
        labels: c.labels.clone().unwrap_or_default(),
        stop_signal: c.stop_signal.clone(),
        args_escaped: c.args_escaped,
        healthcheck: c.healthcheck.as_ref().map(|h| HealthConfig {
            test: h.test.clone().unwrap_or_default(),
            interval: h.interval,
            timeout: h.timeout,
            start_period: h.start_period,
            start_interval: h.start_interval,
            retries: h.retries,
            restart: 0,
        }),
        on_build: c.on_build.clone().unwrap_or_default(),
        shell: c.shell.clone().unwrap_or_default(),
    }
}

fn history(image: &Image, store: &dhow_image::Images) -> Vec<HistoryItem> {
    let mut layers = image.chain.iter();
    let mut items: Vec<HistoryItem> = image
        .config
        .history
        .iter()
        .map(|step| {
            let layer = if step.empty_layer {
                None
            } else {
                layers.next().and_then(|chain| store.layer(chain))
            };
            let created = step.created.as_deref().and_then(|c| time::parse(c).ok());
            HistoryItem {
                comment: step.comment.clone(),
                created: created.unwrap_or(0) / 1_000_000_000,
                created_by: step.created_by.clone(),
                id: "<missing>".to_owned(),
                size: layer.map_or(0, |l| l.size as i64),
                tags: None,
            }
        })
        .collect();
    items.reverse();
    if let Some(top) = items.first_mut() {
        top.id = image.id.to_string();
        top.tags = Some(image.repo_tags()).filter(|tags| !tags.is_empty());
    }
    items
}
