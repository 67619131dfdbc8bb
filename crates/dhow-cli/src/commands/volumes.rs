//! `volume ls`, `create`, `rm`, `prune`, and `network ls`.

use std::collections::BTreeMap;

use dhow_api::{Filters, VolumeCreateRequest};

use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::format::table::{Listing, Row};
use crate::format::text;
use crate::session::Session;
use crate::{spec, stdio};

pub const VOLUME_LS: &[Flag] = &[
    super::FILTER,
    super::FORMAT_LONG,
    Flag::new("quiet", Kind::Bool, "Show only names").short('q'),
];

pub const VOLUME_CREATE: &[Flag] = &[
    Flag::new("driver", Kind::String, "Driver of the volume")
        .short('d')
        .default("local"),
    Flag::new("label", Kind::List, "Set a label"),
    Flag::new("opt", Kind::Map, "Set an option of the driver").short('o'),
];

pub const VOLUME_RM: &[Flag] = &[Flag::new(
    "force",
    Kind::Bool,
    "Do not mind volumes that are not there",
)
.short('f')];

pub const NETWORK_LS: &[Flag] = &[
    super::FILTER,
    super::FORMAT_LONG,
    Flag::new("no-trunc", Kind::Bool, "Do not cut long cells"),
    Flag::new("quiet", Kind::Bool, "Show only IDs").short('q'),
];

const VOLUMES: Listing = Listing {
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

const NETWORKS: Listing = Listing {
    columns: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
    default: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    quiet: "{{.ID}}",
};

fn filters(args: &Args) -> Filters {
    let mut filters = Filters::default();
    for filter in args.list("filter") {
        super::add_filter(&mut filters, filter);
    }
    filters
}

fn labels(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    pairs.join(",")
}

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
                    volume.labels.as_ref().map(labels).unwrap_or_default(),
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
    let asked = VOLUMES.pick(args.text("format"), configured, args.is_set("quiet"));
    Ok(stdio::print(&VOLUMES.render(asked, &rows)?)?)
}

pub async fn create(session: &Session, args: &Args) -> Result<()> {
    let pairs = |list: Vec<&str>| {
        list.into_iter()
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (name.to_owned(), value.to_owned())
            })
            .collect::<BTreeMap<_, _>>()
    };
    let request = VolumeCreateRequest {
        driver: args.text("driver").unwrap_or("local").to_owned(),
        driver_opts: pairs(args.list("opt")),
        labels: spec::read_labels(&[], &args.list("label")).map_err(message)?,
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
    match failures.is_empty() {
        true => Ok(()),
        false => Err(message(failures.join("\n"))),
    }
}

pub async fn networks(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    let mut list = client.network_list(&filters(args)).await?;
    list.sort_by(|a, b| a.name.cmp(&b.name));
    let cut = !args.is_set("no-trunc");
    let rows: Vec<Row> = list
        .iter()
        .map(|network| {
            let id = match cut {
                true => text::short_id(&network.id).to_owned(),
                false => network.id.clone(),
            };
            Row::from([
                ("ID", id),
                ("Name", network.name.clone()),
                ("Driver", network.driver.clone()),
                ("Scope", network.scope.clone()),
                ("IPv4", network.enable_ipv4.to_string()),
                ("IPv6", network.enable_ipv6.to_string()),
                ("Internal", network.internal.to_string()),
                ("Labels", labels(&network.labels)),
                ("CreatedAt", text::go_time_of(&network.created)),
            ])
        })
        .collect();
    let configured = session.config.text("networksFormat");
    let asked = NETWORKS.pick(args.text("format"), configured, args.is_set("quiet"));
    Ok(stdio::print(&NETWORKS.render(asked, &rows)?)?)
}
