//! `system df`.

use dhow_api::{ContainerSummary, DiskUsage, ImageSummary, Volume};

use super::df_verbose;
use crate::error::Result;
use crate::flags::{Args, Flag, Kind};
use crate::format::table::{Listing, Row};
use crate::format::units;
use crate::lists::FORMAT;
use crate::session::Session;
use crate::stdio;

pub const DF: &[Flag] = &[
    FORMAT,
    Flag::new("verbose", Kind::Bool, "Show what each thing takes").short('v'),
];

const USAGE: Listing = Listing {
    columns: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
    default: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    quiet: "{{.Type}}",
};

/// How much of a kind there is, and how much of it nothing uses.
struct Usage {
    kind: &'static str,
    total: usize,
    active: usize,
    size: i64,
    reclaimable: i64,
}

impl Usage {
    fn row(&self) -> Row {
        let share = match self.size {
            0 => String::new(),
            size => format!(" ({}%)", self.reclaimable.saturating_mul(100) / size),
        };
        Row::from([
            ("Type", self.kind.to_owned()),
            ("TotalCount", self.total.to_string()),
            ("Active", self.active.to_string()),
            ("Size", units::long_size(self.size)),
            ("Reclaimable", units::long_size(self.reclaimable) + &share),
        ])
    }
}

fn image_usage(images: &[ImageSummary], layers: i64) -> Usage {
    let active: Vec<&ImageSummary> = images.iter().filter(|i| i.containers > 0).collect();
    let own = |image: &ImageSummary| image.size - image.shared_size.max(0);
    let used: i64 = active.iter().map(|image| own(image)).sum();
    Usage {
        kind: "Images",
        total: images.len(),
        active: active.len(),
        size: layers,
        reclaimable: (layers - used).max(0),
    }
}

fn container_usage(containers: &[ContainerSummary]) -> Usage {
    let runs =
        |c: &&ContainerSummary| matches!(c.state.as_str(), "running" | "paused" | "restarting");
    let size = containers.iter().map(|c| c.size_rw).sum();
    let used: i64 = containers.iter().filter(runs).map(|c| c.size_rw).sum();
    Usage {
        kind: "Containers",
        total: containers.len(),
        active: containers.iter().filter(runs).count(),
        size,
        reclaimable: size - used,
    }
}

fn volume_usage(volumes: &[Volume]) -> Usage {
    let measured = || volumes.iter().filter_map(|v| v.usage_data.as_ref());
    let size = measured().map(|u| u.size.max(0)).sum();
    let used: i64 = measured()
        .filter(|u| u.ref_count > 0)
        .map(|u| u.size.max(0))
        .sum();
    Usage {
        kind: "Local Volumes",
        total: volumes.len(),
        active: measured().filter(|u| u.ref_count > 0).count(),
        size,
        reclaimable: size - used,
    }
}

fn usage(usage: &DiskUsage) -> Vec<Row> {
    let caches = usage.build_cache.as_deref().unwrap_or_default();
    let cached = |only_free: bool| {
        caches
            .iter()
            .filter(|cache| !only_free || cache["InUse"] != true)
            .filter(|cache| cache["Shared"] != true)
            .filter_map(|cache| cache["Size"].as_i64())
            .sum()
    };
    [
        image_usage(
            usage.images.as_deref().unwrap_or_default(),
            usage.layers_size,
        ),
        container_usage(usage.containers.as_deref().unwrap_or_default()),
        volume_usage(usage.volumes.as_deref().unwrap_or_default()),
        Usage {
            kind: "Build Cache",
            total: caches.len(),
            active: caches.iter().filter(|cache| cache["InUse"] == true).count(),
            size: cached(false),
            reclaimable: cached(true),
        },
    ]
    .iter()
    .map(Usage::row)
    .collect()
}

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    let found = client.disk_usage().await?;
    if args.is_set("verbose") {
        return df_verbose::show(&found, args.nonempty("format"));
    }
    let rows = usage(&found);
    let asked = USAGE.pick(args.text("format"), None, false);
    Ok(stdio::print(&USAGE.render(asked, &rows)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_tells_what_could_go() {
        let image = |containers, size| ImageSummary {
            containers,
            size,
            shared_size: 0,
            ..ImageSummary::default()
        };
        let row = image_usage(&[image(1, 750), image(0, 250)], 1000).row();
        assert_eq!(row["Active"], "1");
        assert_eq!(
            (row["Size"].as_str(), row["Reclaimable"].as_str()),
            ("1kB", "250B (25%)")
        );
        let empty = container_usage(&[]).row();
        assert_eq!(empty["Reclaimable"], "0B");
    }
}
