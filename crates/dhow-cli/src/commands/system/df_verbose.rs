//! `system df -v`: what each image, container and volume takes.

use dhow_api::{ContainerSummary, DiskUsage, ImageSummary, Volume};
use gotmpl::MissingKey;
use serde_json::{Map, Value, json};

use crate::commands::container::ps;
use crate::commands::image::list as images;
use crate::error::Result;
use crate::format::json::{Json, escape_html};
use crate::format::table::{Cells, Listing, Row};
use crate::format::template::Format;
use crate::format::{text, units};
use crate::{error, stdio};

const IMAGES: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const CONTAINERS: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}";

const VOLUMES: Listing = Listing {
    columns: &[
        ("Name", "VOLUME NAME"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Availability", "AVAILABILITY"),
        ("Group", "GROUP"),
        ("Status", "STATUS"),
    ],
    default: "{{.Name}}\t{{.Links}}\t{{.Size}}",
    quiet: "{{.Name}}",
};

const CACHES: Listing = Listing {
    columns: &[
        ("ID", "CACHE ID"),
        ("CacheType", "CACHE TYPE"),
        ("Size", "SIZE"),
        ("CreatedSince", "CREATED"),
        ("LastUsedSince", "LAST USED"),
        ("UsageCount", "USAGE"),
        ("Shared", "SHARED"),
    ],
    default: "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}",
    quiet: "{{.ID}}",
};

fn image_rows(list: &[ImageSummary], cut: bool) -> Vec<Row> {
    let exact = |n: i64| match n {
        ..0 => "N/A".to_owned(),
        n => units::long_size(n),
    };
    let mut all = Vec::new();
    for image in list {
        // An image is one line, by the first of its names.
        if let Some(mut row) = images::rows(image, cut, false).into_iter().next() {
            row.insert("SharedSize", exact(image.shared_size));
            if image.shared_size >= 0 {
                row.insert("UniqueSize", exact(image.size - image.shared_size));
            }
            all.push(row);
        }
    }
    all
}

fn volume_rows(list: &[Volume]) -> Vec<Row> {
    let absent = || "N/A".to_owned();
    list.iter()
        .map(|volume| {
            let usage = volume.usage_data.as_ref();
            let labels = volume.labels.as_ref();
            Row::from([
                ("Name", volume.name.clone()),
                (
                    "Links",
                    usage.map_or_else(absent, |usage| usage.ref_count.to_string()),
                ),
                (
                    "Size",
                    usage.map_or_else(absent, |usage| units::long_size(usage.size.max(0))),
                ),
                ("Driver", volume.driver.clone()),
                ("Scope", volume.scope.clone()),
                ("Mountpoint", volume.mountpoint.clone()),
                ("Labels", labels.map(text::labels).unwrap_or_default()),
                ("Availability", absent()),
                ("Group", absent()),
                ("Status", absent()),
            ])
        })
        .collect()
}

fn cache_rows(list: &[Value]) -> Vec<Row> {
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    list.iter()
        .map(|cache| {
            Row::from([
                ("ID", shown(&cache["ID"]).chars().take(12).collect()),
                ("CacheType", shown(&cache["Type"])),
                (
                    "Size",
                    units::long_size(cache["Size"].as_i64().unwrap_or_default()),
                ),
                ("CreatedSince", shown(&cache["CreatedAt"])),
                ("LastUsedSince", shown(&cache["LastUsedAt"])),
                ("UsageCount", shown(&cache["UsageCount"])),
                ("Shared", shown(&cache["Shared"])),
            ])
        })
        .collect()
}

/// What a container wrote, without what it is made of.
fn bare(containers: &[ContainerSummary]) -> Vec<ContainerSummary> {
    let mut containers = containers.to_vec();
    for container in &mut containers {
        container.size_root_fs = 0;
    }
    containers
}

fn objects(listing: &Listing, rows: &[impl Cells]) -> Value {
    rows.iter()
        .map(|row| {
            let cells = listing.columns.iter();
            let cells =
                cells.filter_map(|(name, _)| Some(((*name).to_owned(), row.cell(name)?.into())));
            Value::Object(cells.collect::<Map<_, _>>())
        })
        .collect()
}

pub fn show(usage: &DiskUsage, format: Option<&str>) -> Result<()> {
    let (images, containers, volumes, caches) = (
        usage.images.as_deref().unwrap_or_default(),
        bare(usage.containers.as_deref().unwrap_or_default()),
        usage.volumes.as_deref().unwrap_or_default(),
        usage.build_cache.as_deref().unwrap_or_default(),
    );
    let cut = matches!(format, None | Some("table"));
    let containers: Vec<ps::Shown> = containers
        .iter()
        .map(|c| ps::Shown::sized(c, cut))
        .collect();
    let (images, volumes) = (image_rows(images, cut), volume_rows(volumes));
    let cached = caches
        .iter()
        .filter_map(|cache| cache["Size"].as_i64())
        .sum();
    let caches = cache_rows(caches);
    if let (false, Some(format)) = (cut, format) {
        let all = json!({
            "Images": objects(&images::LISTING, &images),
            "Containers": objects(&ps::LISTING, &containers),
            "Volumes": objects(&VOLUMES, &volumes),
            "BuildCache": objects(&CACHES, &caches),
        });
        if format == "json" {
            return Ok(stdio::println(&escape_html(&all.to_string()))?);
        }
        let all: Json = serde_json::from_value(all).map_err(|e| error::message(e.to_string()))?;
        let text = Format::parse(format, MissingKey::Error)?.execute(&all.to_template())?;
        return Ok(stdio::print(&text)?);
    }
    let images = Listing {
        default: IMAGES,
        ..images::LISTING
    }
    .render("table", &images)?;
    let containers = Listing {
        default: CONTAINERS,
        ..ps::LISTING
    }
    .render("table", &containers)?;
    stdio::print(&format!(
        "Images space usage:\n\n{images}\nContainers space usage:\n\n{containers}\nLocal Volumes space usage:\n\n{}\nBuild cache usage: {}\n\n{}",
        VOLUMES.render("table", &volumes)?,
        units::long_size(cached),
        CACHES.render("table", &caches)?,
    ))?;
    Ok(())
}
