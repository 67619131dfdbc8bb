//! Networks: listed.

use crate::error::Result;
use crate::flags::{Args, Flag, Kind};
use crate::format::table::{Listing, Row};
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

pub async fn ls(session: &Session, args: &Args) -> Result<()> {
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
                ("Labels", text::labels(&network.labels)),
                ("CreatedAt", time::go_time_of(&network.created)),
            ])
        })
        .collect();
    let configured = session.config.text("networksFormat");
    let asked = LISTING.pick(args.text("format"), configured, args.is_set("quiet"));
    Ok(stdio::print(&LISTING.render(asked, &rows)?)?)
}
