//! Volumes: listed, created, removed.

pub mod prune;

use dhow_api::VolumeCreateRequest;

use crate::error::{Result, all_done, message};
use crate::flags::{Args, Flag, Kind};
use crate::format::table::{Listing, Row};
use crate::format::text;
use crate::lists::{FILTER, FORMAT, filters};
use crate::session::Session;
use crate::{environment, stdio};

pub const LS: &[Flag] = &[
    FILTER,
    FORMAT,
    Flag::new("quiet", Kind::Bool, "Show only names").short('q'),
];

pub const CREATE: &[Flag] = &[
    Flag::new("driver", Kind::String, "Driver of the volume")
        .short('d')
        .default("local"),
    Flag::new("label", Kind::List, "Set a label"),
    Flag::new(
        "name",
        Kind::String,
        "Name of the volume, as older scripts give it",
    ),
    Flag::new("opt", Kind::Map, "Set an option of the driver").short('o'),
];

pub const UPDATE: &[Flag] = &[Flag::new(
    "availability",
    Kind::String,
    "Availability of the volume in its cluster (active|pause|drain)",
)
.default("active")];

pub const RM: &[Flag] = &[Flag::new(
    "force",
    Kind::Bool,
    "Do not mind volumes that are not there",
)
.short('f')];

const LISTING: Listing = Listing {
    columns: &[
        ("Driver", "DRIVER"),
        ("Name", "VOLUME NAME"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
        ("Availability", "AVAILABILITY"),
        ("Group", "GROUP"),
        ("Status", "STATUS"),
    ],
    default: "{{.Driver}}\t{{.Name}}",
    quiet: "{{.Name}}",
};

pub async fn ls(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    let mut list = client.volume_list(&filters(args)).await?;
    list.volumes.sort_by(|a, b| text::natural(&a.name, &b.name));
    let unknown = || "N/A".to_owned();
    let rows: Vec<Row> = list
        .volumes
        .iter()
        .map(|volume| {
            Row::from([
                ("Driver", volume.driver.clone()),
                ("Name", volume.name.clone()),
                ("Scope", volume.scope.clone()),
                ("Mountpoint", volume.mountpoint.clone()),
                (
                    "Labels",
                    volume.labels.as_ref().map(text::labels).unwrap_or_default(),
                ),
                ("Links", unknown()),
                ("Size", unknown()),
                ("Availability", unknown()),
                ("Group", unknown()),
                ("Status", unknown()),
            ])
        })
        .collect();
    let configured = session.config.text("volumesFormat");
    let asked = LISTING.pick(args.text("format"), configured, args.is_set("quiet"));
    Ok(stdio::print(&LISTING.render(asked, &rows)?)?)
}

pub async fn create(session: &Session, args: &Args) -> Result<()> {
    if !args.rest.is_empty() && args.text("name").is_some() {
        return Err(message(
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
        ));
    }
    let name = args.rest.first().map(String::as_str).or(args.text("name"));
    let request = VolumeCreateRequest {
        driver: args.text("driver").unwrap_or("local").to_owned(),
        driver_opts: environment::pairs(&args.list("opt")),
        labels: environment::read_labels(&[], &args.list("label")).map_err(message)?,
        name: name.unwrap_or_default().to_owned(),
    };
    let client = session.client().await?;
    let volume = client.volume_create(&request).await?;
    Ok(stdio::println(&volume.name)?)
}

/// Only a cluster's volumes have anything that can be changed, and there is no cluster.
pub async fn update(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    for name in &args.rest {
        let _: dhow_api::Volume = client.volume_inspect_raw(name).await?;
    }
    Err(message("can only update cluster volumes"))
}

pub async fn rm(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    let mut failures = Vec::new();
    for name in &args.rest {
        match client.volume_remove(name, args.is_set("force")).await {
            Ok(()) => stdio::println(name)?,
            Err(error) => failures.push(error.to_string()),
        }
    }
    all_done(failures)
}
