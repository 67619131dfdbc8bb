//! `ps`.

use std::collections::HashSet;

use dhow_api::{ContainerSummary, Filters, PortSummary};

use crate::error::Result;
use crate::flags::{Args, Flag, Kind};
use crate::format::table::{Listing, Row};
use crate::format::{text, units};
use crate::reference::Reference;
use crate::session::Session;
use crate::stdio;

pub const PS: &[Flag] = &[
    Flag::new(
        "all",
        Kind::Bool,
        "Show all containers, not only those that run",
    )
    .short('a'),
    super::FILTER,
    super::FORMAT,
    Flag::new(
        "last",
        Kind::Int,
        "Show the last n containers, whatever their state",
    )
    .short('n')
    .default("-1"),
    Flag::new(
        "latest",
        Kind::Bool,
        "Show the container that was made last",
    )
    .short('l'),
    Flag::new("no-trunc", Kind::Bool, "Do not cut long cells"),
    Flag::new("quiet", Kind::Bool, "Show only IDs").short('q'),
    Flag::new("size", Kind::Bool, "Show sizes").short('s'),
];

const DEFAULT: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
const WITH_SIZE: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}";

const LISTING: Listing = Listing {
    columns: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("State", "STATE"),
        ("Ports", "PORTS"),
        ("Names", "NAMES"),
        ("Size", "SIZE"),
        ("Labels", "LABELS"),
        ("Mounts", "MOUNTS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Networks", "NETWORKS"),
    ],
    default: DEFAULT,
    quiet: "{{.ID}}",
};

const COMMAND_WIDTH: usize = 20;
const MOUNT_WIDTH: usize = 15;

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let mut filters = Filters::default();
    for filter in args.list("filter") {
        super::add_filter(&mut filters, filter);
    }
    let asked = LISTING.pick(
        args.text("format"),
        session.config.text("psFormat"),
        args.is_set("quiet"),
    );
    let size = args.is_set("size") || asked.contains(".Size");
    let last = args.int("last").unwrap_or(-1);
    let limit = if args.is_set("latest") { 1 } else { last };
    let client = session.client().await?;
    let containers = client
        .container_list(args.is_set("all"), limit, size, &filters)
        .await?;
    let cut = !args.is_set("no-trunc");
    let rows: Vec<Row> = containers.iter().map(|c| row(c, cut, size)).collect();
    let listing = match size {
        true => Listing {
            default: WITH_SIZE,
            ..LISTING
        },
        false => LISTING,
    };
    let out = listing.render(asked, &rows)?;
    Ok(stdio::print(&out)?)
}

fn row(container: &ContainerSummary, cut: bool, size: bool) -> Row {
    let c = container;
    let id = if cut { text::short_id(&c.id) } else { &c.id };
    let command = match cut {
        true => text::ellipsis(&c.command, COMMAND_WIDTH),
        false => c.command.clone(),
    };
    let names: Vec<&str> = c
        .names
        .iter()
        .map(|name| name.trim_start_matches('/'))
        // Names that other containers' links give are long, and left out.
        .filter(|name| !cut || !name.contains('/'))
        .collect();
    let labels: Vec<String> = c.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let mounts: Vec<String> = c
        .mounts
        .iter()
        .map(|mount| match mount.name.as_str() {
            "" => &mount.source,
            _ => &mount.name,
        })
        .map(|name| match cut {
            true => text::ellipsis(name, MOUNT_WIDTH),
            false => name.clone(),
        })
        .collect();
    let volumes = c.mounts.iter().filter(|m| m.driver == "local").count();
    let networks: Vec<&str> = c
        .network_settings
        .networks
        .keys()
        .map(String::as_str)
        .collect();
    let written = match (size, c.size_root_fs) {
        (false, _) => units::size(0),
        (true, 0) => units::size(c.size_rw),
        (true, virtual_size) => format!(
            "{} (virtual {})",
            units::size(c.size_rw),
            units::size(virtual_size)
        ),
    };
    Row::from([
        ("ID", id.to_owned()),
        ("Image", image(c, cut)),
        ("Command", text::quote(&command)),
        ("CreatedAt", text::go_time(c.created)),
        ("RunningFor", text::ago(c.created)),
        ("Status", c.status.clone()),
        ("State", c.state.clone()),
        ("Ports", ports(&c.ports)),
        ("Names", names.join(",")),
        ("Size", written),
        ("Labels", labels.join(",")),
        ("Mounts", mounts.join(",")),
        ("LocalVolumes", volumes.to_string()),
        ("Networks", networks.join(",")),
    ])
}

fn image(container: &ContainerSummary, cut: bool) -> String {
    let name = container.image.as_str();
    if name.is_empty() {
        return "<no image>".to_owned();
    }
    if !cut {
        return name.to_owned();
    }
    let short = text::short_id(&container.image_id);
    if short == text::short_id(name) {
        return short.to_owned();
    }
    match Reference::parse(name) {
        // A digest beside a tag is more than a line needs.
        Ok(reference) if reference.digest.is_some() && reference.tag.is_some() => {
            let tag = reference.tag.as_deref().unwrap_or_default();
            format!("{}:{tag}", reference.familiar_name())
        }
        _ => name.to_owned(),
    }
}

fn join_address(ip: &str, port: &str) -> String {
    match ip.contains(':') {
        true => format!("[{ip}]:{port}"),
        false => format!("{ip}:{port}"),
    }
}

/// Published ports, with neighbours drawn together.
pub fn ports(ports: &[PortSummary]) -> String {
    let mut sorted: Vec<&PortSummary> = ports.iter().collect();
    sorted.sort_by(|a, b| {
        let key = |p: &PortSummary| {
            (
                p.private_port,
                p.ip.clone(),
                p.public_port,
                p.protocol.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    let mut done: Vec<String> = Vec::new();
    let mut mapped: Vec<String> = Vec::new();
    // Ip and protocol, first and last port, in the order of their first appearance.
    let mut groups: Vec<((&str, &str), u16, u16)> = Vec::new();
    for port in sorted {
        let protocol = port.protocol.as_str();
        if !port.ip.is_empty() && port.public_port != port.private_port {
            let address = join_address(&port.ip, &port.public_port.to_string());
            mapped.push(format!("{address}->{}/{protocol}", port.private_port));
            continue;
        }
        let key = (port.ip.as_str(), protocol);
        match groups.iter_mut().find(|(found, ..)| *found == key) {
            None => groups.push((key, port.private_port, port.private_port)),
            Some((_, _, last)) if port.private_port == last.saturating_add(1) => *last += 1,
            Some((_, first, last)) => {
                done.push(group(key, *first, *last));
                (*first, *last) = (port.private_port, port.private_port);
            }
        }
    }
    done.extend(
        groups
            .into_iter()
            .map(|(key, first, last)| group(key, first, last)),
    );
    done.extend(mapped);
    let mut seen = HashSet::new();
    done.retain(|text| seen.insert(text.clone()));
    done.join(", ")
}

fn group((ip, protocol): (&str, &str), first: u16, last: u16) -> String {
    let range = match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    match ip {
        "" => format!("{range}/{protocol}"),
        ip => format!("{}->{range}/{protocol}", join_address(ip, &range)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ip: &str, private_port: u16, public_port: u16, protocol: &str) -> PortSummary {
        PortSummary {
            ip: ip.into(),
            private_port,
            public_port,
            protocol: protocol.into(),
        }
    }

    #[test]
    fn ports_are_drawn_together() {
        for (list, shown) in [
            (vec![], ""),
            (vec![port("", 80, 0, "tcp")], "80/tcp"),
            (
                vec![
                    port("0.0.0.0", 80, 8080, "tcp"),
                    port("::", 80, 8080, "tcp"),
                ],
                "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp",
            ),
            (
                vec![
                    port("", 81, 0, "tcp"),
                    port("", 80, 0, "tcp"),
                    port("", 90, 0, "tcp"),
                ],
                "80-81/tcp, 90/tcp",
            ),
            (
                vec![
                    port("0.0.0.0", 80, 80, "tcp"),
                    port("0.0.0.0", 81, 81, "tcp"),
                    port("", 53, 0, "udp"),
                ],
                "53/udp, 0.0.0.0:80-81->80-81/tcp",
            ),
        ] {
            assert_eq!(ports(&list), shown);
        }
    }

    #[test]
    fn a_row_is_cut_unless_asked_not_to() {
        let container = ContainerSummary {
            id: "0123456789abcdef".into(),
            names: vec!["/web".into(), "/other/link".into()],
            image: format!("busybox:1@sha256:{}", "a".repeat(64)),
            command: "sh -c 'sleep 100000000'".into(),
            status: "Up 3 seconds".into(),
            size_rw: 5,
            size_root_fs: 4_261_555,
            ..ContainerSummary::default()
        };
        let cut = row(&container, true, true);
        assert_eq!(cut["ID"], "0123456789ab");
        assert_eq!(cut["Image"], "busybox:1");
        assert_eq!(cut["Command"], "\"sh -c 'sleep 100000…\"");
        assert_eq!(cut["Names"], "web");
        assert_eq!(cut["Size"], "5B (virtual 4.26MB)");
        let whole = row(&container, false, false);
        assert_eq!(whole["ID"], "0123456789abcdef");
        assert_eq!(whole["Names"], "web,other/link");
        assert_eq!(whole["Command"], "\"sh -c 'sleep 100000000'\"");
    }
}
