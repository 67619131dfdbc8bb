//! `history`.

use super::platform;
use crate::error::Result;
use crate::flags::{Args, Flag, Kind};
use crate::format::table::{Listing, Row};
use crate::format::{text, time, units};
use crate::lists::FORMAT;
use crate::session::Session;
use crate::stdio;

pub const HISTORY: &[Flag] = &[
    FORMAT,
    Flag::new("human", Kind::Bool, "Show sizes and dates for people")
        .short('H')
        .default("true"),
    Flag::new("no-trunc", Kind::Bool, "Do not cut long cells"),
    Flag::new(
        "platform",
        Kind::String,
        "Platform of the image (os[/arch[/variant]])",
    ),
    Flag::new("quiet", Kind::Bool, "Show only IDs").short('q'),
];

const LISTING: Listing = Listing {
    columns: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
    default: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    quiet: "{{.ID}}",
};

const CREATED_BY_WIDTH: usize = 45;

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let platform = platform::one(args)?;
    let client = session.client().await?;
    let items = client
        .image_history(&args.rest[0], platform.as_deref())
        .await?;
    let cut = !args.is_set("no-trunc");
    let human = args.is_set_or("human", true);
    let rows: Vec<Row> = items
        .iter()
        .map(|item| {
            let by = item.created_by.replace('\t', " ");
            let date = match jiff::Timestamp::from_second(item.created) {
                Ok(time) => time.to_string(),
                Err(_) => String::new(),
            };
            Row::from([
                (
                    "ID",
                    match cut {
                        true => text::short_id(&item.id).to_owned(),
                        false => item.id.clone(),
                    },
                ),
                (
                    "CreatedSince",
                    match (human, item.created) {
                        (true, n) if n <= 0 => "N/A".to_owned(),
                        (true, created) => time::ago(created),
                        (false, _) => date.clone(),
                    },
                ),
                ("CreatedAt", date),
                (
                    "CreatedBy",
                    match cut {
                        true => text::ellipsis(&by, CREATED_BY_WIDTH),
                        false => by,
                    },
                ),
                (
                    "Size",
                    match human {
                        true => units::size(item.size),
                        false => item.size.to_string(),
                    },
                ),
                ("Comment", item.comment.clone()),
            ])
        })
        .collect();
    let asked = LISTING.pick(args.text("format"), None, args.is_set("quiet"));
    let out = LISTING.render(asked, &rows)?;
    Ok(stdio::print(&out)?)
}
