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
    Flag::new("opt", Kind::Map, "Set an option of the driver").short('o'),
];

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
    list.volumes.sort_by(|a, b| a.name.cmp(&b.name));
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
    let request = VolumeCreateRequest {
        driver: args.text("driver").unwrap_or("local").to_owned(),
        driver_opts: environment::pairs(&args.list("opt")),
        labels: environment::read_labels(&[], &args.list("label")).map_err(message)?,
        name: args.rest.first().cloned().unwrap_or_default(),
    };
    let client = session.client().await?;
    let volume = client.volume_create(&request).await?;
    Ok(stdio::println(&volume.name)?)
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
