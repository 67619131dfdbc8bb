//! `network ls`.

use std::collections::BTreeMap;

use dhow_api::Network;

use crate::error::Result;
use crate::flags::{Args, Flag, Kind};
use crate::format::table::{Cells, Listing};
use crate::format::{text, time};
use crate::lists::{FILTER, FORMAT, filters};
use crate::session::Session;
use crate::stdio;

pub const LS: &[Flag] = &[
    FILTER,
    FORMAT,
    Flag::new("no-trunc", Kind::Bool, "Do not cut long cells"),
    Flag::new("quiet", Kind::Bool, "Show only IDs").short('q'),
];

const LISTING: Listing = Listing {
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

/// What the format `raw` stands for, alone and with `-q`.
const RAW: [&str; 2] = [
    "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n",
    "network_id: {{.ID}}",
];

struct Shown {
    network: Network,
    /// Whether ids are cut.
    cut: bool,
}

impl Cells for Shown {
    fn cell(&self, column: &str) -> Option<String> {
        let network = &self.network;
        Some(match column {
            "ID" if self.cut => text::short_id(&network.id).to_owned(),
            "ID" => network.id.clone(),
            "Name" => network.name.clone(),
            "Driver" => network.driver.clone(),
            "Scope" => network.scope.clone(),
            "IPv4" => network.enable_ipv4.to_string(),
            "IPv6" => network.enable_ipv6.to_string(),
            "Internal" => network.internal.to_string(),
            "Labels" => text::labels(&network.labels),
            "CreatedAt" => time::go_time_of(&network.created),
            _ => return None,
        })
    }

    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        Some(&self.network.labels)
    }
}

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    let mut list = client.network_list(&filters(args)).await?;
    list.sort_by(|a, b| text::natural(&a.name, &b.name));
    let cut = !args.is_set("no-trunc");
    let rows: Vec<Shown> = list
        .into_iter()
        .map(|network| Shown { network, cut })
        .collect();
    let quiet = args.is_set("quiet");
    let configured = session.config.text("networksFormat");
    let asked = match LISTING.pick(args.text("format"), configured, quiet) {
        "raw" => RAW[usize::from(quiet)],
        asked => asked,
    };
    Ok(stdio::print(&LISTING.render(asked, &rows)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_cell_and_templates_may_name_labels() {
        let network = Network {
            id: "0123456789abcdef".into(),
            labels: [("a.b".to_owned(), "x, y".to_owned())].into(),
            ..Network::default()
        };
        let rows = [Shown { network, cut: true }];
        for (column, _) in LISTING.columns {
            assert!(rows[0].cell(column).is_some(), "{column}");
        }
        let show = |format: &str| LISTING.render(format, &rows).unwrap();
        assert_eq!(show("{{.ID}} {{.Label \"a.b\"}}"), "0123456789ab x, y\n");
        assert_eq!(show(RAW[1]), "network_id: 0123456789ab\n");
    }
}
