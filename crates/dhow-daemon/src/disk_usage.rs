//! What `/system/df` says: how many objects of each kind there are, what they take up, and what of it nothing
//! uses.

use dhow_api::{
    ApiVersion, ContainerSummary, DiskUsage, Filters, ImageSummary, ObjectUsage, Volume,
};
use dhow_engine::{Engine, ImageListOptions, ListOptions};

use crate::error::{ApiError, Result};
use crate::legacy;
use crate::query::Params;

/// Which kinds were asked for; without a word, all.
struct Kinds {
    containers: bool,
    images: bool,
    volumes: bool,
    build_cache: bool,
}

impl Kinds {
    fn asked(params: &Params, version: ApiVersion) -> Result<Kinds> {
        let kinds: Vec<&str> = params.all("type").collect();
        let all = kinds.is_empty() || version < ApiVersion::v1(42);
        if let Some(other) = kinds
            .iter()
            .find(|kind| !["container", "image", "volume", "build-cache"].contains(kind))
            && !all
        {
            return Err(ApiError::bad(format!("unknown object type: {other}")));
        }
        let has = |kind| all || kinds.contains(&kind);
        Ok(Kinds {
            containers: has("container"),
            images: has("image"),
            volumes: has("volume"),
            build_cache: has("build-cache"),
        })
    }
}

/// The answer as this version of the API has it.
pub async fn disk_usage(
    engine: &Engine,
    params: &Params,
    version: ApiVersion,
) -> Result<DiskUsage> {
    let kinds = Kinds::asked(params, version)?;
    let mut usage = DiskUsage::default();
    if kinds.containers {
        usage.container_usage = Some(containers(engine, version).await?);
    }
    if kinds.images {
        usage.image_usage = Some(images(engine, version)?);
    }
    if kinds.volumes {
        usage.volume_usage = Some(volumes(engine.volumes().measured().await?));
    }
    if kinds.build_cache {
        usage.build_cache_usage = Some(ObjectUsage::default());
    }
    let newer = version >= ApiVersion::v1(52);
    if !newer || !params.flag("verbose") {
        add_older(&mut usage);
    }
    if !newer {
        usage.image_usage = None;
        usage.container_usage = None;
        usage.volume_usage = None;
        usage.build_cache_usage = None;
    }
    Ok(usage)
}

/// The fields that there were before 1.52. Whoever reads them does not want the objects a second time.
fn add_older(usage: &mut DiskUsage) {
    if let Some(images) = &mut usage.image_usage {
        usage.layers_size = images.total_size;
        usage.images = Some(std::mem::take(&mut images.items));
    }
    if let Some(containers) = &mut usage.container_usage {
        usage.containers = Some(std::mem::take(&mut containers.items));
    }
    if let Some(volumes) = &mut usage.volume_usage {
        usage.volumes = Some(std::mem::take(&mut volumes.items));
    }
    if let Some(cache) = &mut usage.build_cache_usage {
        usage.build_cache = Some(std::mem::take(&mut cache.items));
    }
}

async fn containers(engine: &Engine, version: ApiVersion) -> Result<ObjectUsage<ContainerSummary>> {
    let everything = ListOptions {
        all: true,
        ..ListOptions::default()
    };
    let mut usage = ObjectUsage::default();
    for mut container in engine.containers().list(&everything)? {
        match engine.containers().size(&container.id).await {
            Ok((own, all)) => {
                container.size_rw = bytes(own);
                container.size_root_fs = bytes(all);
            }
            // Removed since it was listed.
            Err(e) => {
                tracing::debug!(container = container.id, "no size: {e}");
                continue;
            }
        }
        container.image_manifest_descriptor = None;
        legacy::summary(&mut container, version);
        usage.total_size += container.size_rw;
        match container.state.as_str() {
            "running" | "paused" | "restarting" => usage.active_count += 1,
            _ => usage.reclaimable += container.size_rw,
        }
        usage.items.push(container);
    }
    usage.total_count = count(&usage.items);
    Ok(usage)
}

/// Layers that images share are counted once.
fn images(engine: &Engine, version: ApiVersion) -> Result<ObjectUsage<ImageSummary>> {
    let options = ImageListOptions {
        shared_sizes: true,
        ..ImageListOptions::default()
    };
    let mut items = engine.images().list(&Filters::default(), &options)?;
    for image in &mut items {
        legacy::image_summary(image, version);
    }
    let unused = items.iter().filter(|image| image.containers == 0);
    Ok(ObjectUsage {
        active_count: count(&items) - unused.clone().count() as i64,
        reclaimable: unused
            .map(|image| image.size - image.shared_size.max(0))
            .sum(),
        total_count: count(&items),
        total_size: bytes(engine.images().layers_size()),
        items,
    })
}

fn volumes(items: Vec<Volume>) -> ObjectUsage<Volume> {
    let mut usage = ObjectUsage::default();
    for measured in items.iter().filter_map(|volume| volume.usage_data.as_ref()) {
        usage.total_size += measured.size;
        match measured.ref_count {
            0 => usage.reclaimable += measured.size,
            _ => usage.active_count += 1,
        }
    }
    usage.total_count = count(&items);
    usage.items = items;
    usage
}

fn bytes(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn count<T>(items: &[T]) -> i64 {
    i64::try_from(items.len()).unwrap_or(i64::MAX)
}
