//! Throwing away what is not used: `container prune`, `image prune`, `volume prune`, `system prune`; and
//! what there is to throw away: `system df`.

use dhow_api::{ContainerSummary, DiskUsage, Filters, ImageSummary, Volume};

use crate::error::Result;
use crate::flags::{Args, Flag, Kind};
use crate::format::table::{Listing, Row};
use crate::format::units;
use crate::session::Session;
use crate::stdio;

const FORCE: Flag = Flag::new("force", Kind::Bool, "Do not ask").short('f');
const FILTER: Flag = Flag::new(
    "filter",
    Kind::Filter,
    "Choose by a condition (such as until=24h)",
);

pub const CONTAINER: &[Flag] = &[FILTER, FORCE];
pub const IMAGE: &[Flag] = &[
    Flag::new(
        "all",
        Kind::Bool,
        "Remove every image that no container uses, not only untagged ones",
    )
    .short('a'),
    FILTER,
    FORCE,
];
pub const VOLUME: &[Flag] = &[
    Flag::new("all", Kind::Bool, "Remove named volumes, too").short('a'),
    FILTER,
    FORCE,
];
pub const SYSTEM: &[Flag] = &[
    Flag::new(
        "all",
        Kind::Bool,
        "Remove every image that no container uses, not only untagged ones",
    )
    .short('a'),
    FILTER,
    FORCE,
    Flag::new("volumes", Kind::Bool, "Remove anonymous volumes, too"),
];
pub const DF: &[Flag] = &[super::FORMAT_LONG];

fn filters(args: &Args) -> Filters {
    let mut filters = Filters::default();
    for filter in args.list("filter") {
        super::add_filter(&mut filters, filter);
    }
    filters
}

fn agreed(args: &Args, question: &str) -> Result<bool> {
    Ok(args.is_set("force") || stdio::confirm(question)?)
}

fn report(heading: &str, things: &[String], reclaimed: u64) -> Result<()> {
    if !things.is_empty() {
        stdio::println(&format!("{heading}:\n{}\n", things.join("\n")))?;
    }
    total(reclaimed)
}

fn total(reclaimed: u64) -> Result<()> {
    let bytes = i64::try_from(reclaimed).unwrap_or(i64::MAX);
    stdio::println(&format!(
        "Total reclaimed space: {}",
        units::long_size(bytes)
    ))?;
    Ok(())
}

pub async fn containers(session: &Session, args: &Args) -> Result<()> {
    if !agreed(args, "WARNING! This will remove all stopped containers.")? {
        return Ok(());
    }
    let client = session.client().await?;
    let done = client.container_prune(&filters(args)).await?;
    report(
        "Deleted Containers",
        &done.containers_deleted.unwrap_or_default(),
        done.space_reclaimed,
    )
}

fn image_filters(args: &Args) -> Filters {
    let mut filters = filters(args);
    let dangling = if args.is_set("all") { "false" } else { "true" };
    filters.add("dangling", dangling);
    filters
}

fn deleted_images(done: &dhow_api::ImagePruneReport) -> Vec<String> {
    done.images_deleted
        .iter()
        .flatten()
        .map(|step| match step.untagged.as_str() {
            "" => format!("deleted: {}", step.deleted),
            name => format!("untagged: {name}"),
        })
        .collect()
}

pub async fn images(session: &Session, args: &Args) -> Result<()> {
    let question = match args.is_set("all") {
        true => {
            "WARNING! This will remove all images without at least one container associated to them."
        }
        false => "WARNING! This will remove all dangling images.",
    };
    if !agreed(args, question)? {
        return Ok(());
    }
    let client = session.client().await?;
    let done = client.image_prune(&image_filters(args)).await?;
    report(
        "Deleted Images",
        &deleted_images(&done),
        done.space_reclaimed,
    )
}

pub async fn volumes(session: &Session, args: &Args) -> Result<()> {
    let all = args.is_set("all");
    let question = match all {
        true => "WARNING! This will remove all local volumes not used by at least one container.",
        false => {
            "WARNING! This will remove anonymous local volumes not used by at least one container."
        }
    };
    if !agreed(args, question)? {
        return Ok(());
    }
    let mut filters = filters(args);
    if all {
        filters.add("all", "true");
    }
    let client = session.client().await?;
    let done = client.volume_prune(&filters).await?;
    report(
        "Deleted Volumes",
        &done.volumes_deleted,
        done.space_reclaimed,
    )
}

pub async fn system(session: &Session, args: &Args) -> Result<()> {
    let mut question = String::from("WARNING! This will remove:\n  - all stopped containers\n");
    if args.is_set("volumes") {
        question += "  - all anonymous volumes not used by at least one container\n";
    }
    question += match args.is_set("all") {
        true => "  - all images without at least one container associated to them\n",
        false => "  - all dangling images\n",
    };
    if !agreed(args, &question)? {
        return Ok(());
    }
    let client = session.client().await?;
    let mut reclaimed = 0;
    let done = client.container_prune(&filters(args)).await?;
    reclaimed += done.space_reclaimed;
    let list = done.containers_deleted.unwrap_or_default();
    if !list.is_empty() {
        stdio::println(&format!("Deleted Containers:\n{}\n", list.join("\n")))?;
    }
    if args.is_set("volumes") {
        let done = client.volume_prune(&filters(args)).await?;
        reclaimed += done.space_reclaimed;
        if !done.volumes_deleted.is_empty() {
            let list = done.volumes_deleted.join("\n");
            stdio::println(&format!("Deleted Volumes:\n{list}\n"))?;
        }
    }
    let done = client.image_prune(&image_filters(args)).await?;
    reclaimed += done.space_reclaimed;
    let list = deleted_images(&done);
    if !list.is_empty() {
        stdio::println(&format!("Deleted Images:\n{}\n", list.join("\n")))?;
    }
    total(reclaimed)
}

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

pub async fn df(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    let rows = usage(&client.disk_usage().await?);
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
