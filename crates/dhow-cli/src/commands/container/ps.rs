//! `ps`.

use std::collections::{BTreeMap, HashSet};

use dhow_api::{ContainerSummary, PortSummary};

use crate::error::Result;
use crate::flags::{Args, Flag, Kind};
use crate::format::table::{Cells, Listing};
use crate::format::{text, time, units};
use crate::lists::{FILTER, FORMAT, filters};
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
    FILTER,
    FORMAT,
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

pub const LISTING: Listing = Listing {
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
    let asked = LISTING.pick(
        args.text("format"),
        session.config.text("psFormat"),
        args.is_set("quiet"),
    );
    // A template that shows all of a container shows its size, too; the word `json` does not.
    let shown = [".Size", "json .}", "json . }"];
    let size = args.is_set("size") || shown.iter().any(|part| asked.contains(part));
    let last = args.int("last").unwrap_or(-1);
    let limit = if args.is_set("latest") { 1 } else { last };
    let client = session.client().await?;
    let containers = client
        .container_list(args.is_set("all"), limit, size, &filters(args))
        .await?;
    let cut = !args.is_set("no-trunc");
    let rows: Vec<Shown> = containers
        .iter()
        .map(|container| Shown {
            container,
            cut,
            size,
        })
        .collect();
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

/// A container as it is listed.
pub struct Shown<'a> {
    container: &'a ContainerSummary,
    /// Whether long cells are cut.
    cut: bool,
    /// Whether the daemon was asked for sizes.
    size: bool,
}

impl<'a> Shown<'a> {
    /// With its size, which the daemon was asked for.
    pub fn sized(container: &'a ContainerSummary, cut: bool) -> Shown<'a> {
        Shown {
            container,
            cut,
            size: true,
        }
    }
}

impl Cells for Shown<'_> {
    fn cell(&self, column: &str) -> Option<String> {
        let (c, cut) = (self.container, self.cut);
        Some(match column {
            "ID" if cut => text::short_id(&c.id).to_owned(),
            "ID" => c.id.clone(),
            "Image" => image(c, cut),
            "Command" if cut => text::quote(&text::ellipsis(&c.command, COMMAND_WIDTH)),
            "Command" => text::quote(&c.command),
            "CreatedAt" => time::go_time(c.created),
            "RunningFor" => time::ago(c.created),
            "Status" => c.status.clone(),
            "State" => c.state.clone(),
            "Ports" => ports(&c.ports),
            "Names" => names(c, cut),
            "Size" => written(c, self.size),
            "Labels" => text::labels(&c.labels),
            "Mounts" => mounts(c, cut),
            "LocalVolumes" => {
                let volumes = c.mounts.iter().filter(|m| m.driver == "local");
                volumes.count().to_string()
            }
            "Networks" => {
                let networks = c.network_settings.networks.keys();
                networks.map(String::as_str).collect::<Vec<_>>().join(",")
            }
            _ => return None,
        })
    }

    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        Some(&self.container.labels)
    }
}

fn names(container: &ContainerSummary, cut: bool) -> String {
    let names: Vec<&str> = container
        .names
        .iter()
        .map(|name| name.trim_start_matches('/'))
        // Names that other containers' links give are long, and left out.
        .filter(|name| !cut || !name.contains('/'))
        .collect();
    names.join(",")
}

fn mounts(container: &ContainerSummary, cut: bool) -> String {
    let mounts: Vec<String> = container
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
    mounts.join(",")
}

fn written(container: &ContainerSummary, size: bool) -> String {
    let c = container;
    match (size, c.size_root_fs) {
        (false, _) => units::size(0),
        (true, 0) => units::size(c.size_rw),
        (true, virtual_size) => format!(
            "{} (virtual {})",
            units::size(c.size_rw),
            units::size(virtual_size)
        ),
    }
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
    // Only a digest beside a tag is more than a line needs.
    if !name.contains('@') {
        return name.to_owned();
    }
    match Reference::parse(name) {
        Ok(reference) if reference.digest.is_some() && reference.tag.is_some() => {
            let tag = reference.tag.as_deref().unwrap_or_default();
            format!("{}:{tag}", reference.familiar_name())
        }
        _ => name.to_owned(),
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
            let address = text::address(&port.ip, &port.public_port.to_string());
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
        ip => format!("{}->{range}/{protocol}", text::address(ip, &range)),
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
        let cell = |cut: bool, column: &str| {
            let shown = Shown {
                container: &container,
                cut,
                size: true,
            };
            shown.cell(column).unwrap()
        };
        assert_eq!(cell(true, "ID"), "0123456789ab");
        assert_eq!(cell(true, "Image"), "busybox:1");
        assert_eq!(cell(true, "Command"), "\"sh -c 'sleep 100000…\"");
        assert_eq!(cell(true, "Names"), "web");
        assert_eq!(cell(true, "Size"), "5B (virtual 4.26MB)");
        assert_eq!(cell(false, "ID"), "0123456789abcdef");
        assert_eq!(cell(false, "Names"), "web,other/link");
        assert_eq!(cell(false, "Command"), "\"sh -c 'sleep 100000000'\"");
    }

    #[test]
    fn every_column_has_a_cell() {
        let container = ContainerSummary::default();
        let shown = Shown {
            container: &container,
            cut: true,
            size: false,
        };
        for (column, _) in LISTING.columns {
            assert!(shown.cell(column).is_some(), "{column}");
        }
    }

    #[test]
    fn a_template_may_name_a_label() {
        let labelled = |name: &str, value: &str| ContainerSummary {
            labels: [(name.to_owned(), value.to_owned())].into(),
            ..ContainerSummary::default()
        };
        let containers = [labelled("org.one_name", "a, b"), labelled("x", "y")];
        let rows: Vec<Shown> = containers
            .iter()
            .map(|container| Shown {
                container,
                cut: true,
                size: false,
            })
            .collect();
        for (template, shown) in [
            ("{{.Label \"org.one_name\"}}", "a, b\n\n"),
            ("{{if eq (.Label \"x\") \"y\"}}yes{{end}}", "\nyes\n"),
            ("{{.Label \"x\" | upper}}", "\nY\n"),
            ("{{$.Label \"x\"}}", "\ny\n"),
            (
                "{{.Labels}}{{\".Label \"}}",
                "org.one_name=a, b.Label \nx=y.Label \n",
            ),
            ("table {{.Label \"org.one_name\"}}", "one name\na, b\n\n"),
        ] {
            assert_eq!(
                LISTING.render(template, &rows).unwrap(),
                shown,
                "{template}"
            );
        }
        assert!(LISTING.render("{{.Label}}", &rows).is_err());
    }
}
