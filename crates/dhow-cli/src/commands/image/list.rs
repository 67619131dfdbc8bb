//! `images`.

use dhow_api::ImageSummary;

use super::tree;
use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::format::table::{Listing, Row};
use crate::format::{text, time, units};
use crate::lists::{FILTER, FORMAT, filters};
use crate::reference::Reference;
use crate::session::Session;
use crate::stdio;

pub const IMAGES: &[Flag] = &[
    Flag::new("all", Kind::Bool, "Show intermediate images, too").short('a'),
    Flag::new("digests", Kind::Bool, "Show digests"),
    FILTER,
    FORMAT,
    Flag::new("no-trunc", Kind::Bool, "Do not cut long cells"),
    Flag::new("quiet", Kind::Bool, "Show only IDs").short('q'),
    Flag::new(
        "tree",
        Kind::Bool,
        "Show each image with the platforms that there are of it",
    ),
];

const DEFAULT: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";
const WITH_DIGEST: &str = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";
const NONE: &str = "<none>";

pub const LISTING: Listing = Listing {
    columns: &[
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("Size", "SIZE"),
        ("Containers", "CONTAINERS"),
        ("VirtualSize", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
    ],
    default: DEFAULT,
    quiet: "{{.ID}}",
};

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let mut filters = filters(args);
    if let Some(name) = args.rest.first() {
        filters.add("reference", name.as_str());
    }
    let client = session.client().await?;
    if args.is_set("tree") {
        for (flag, shown) in [
            ("quiet", "--quiet"),
            ("no-trunc", "--no-trunc"),
            ("digests", "--show-digest"),
            ("format", "--format"),
        ] {
            if args.is_set(flag) || args.nonempty(flag).is_some() {
                let refused = format!("{shown} is not yet supported with --tree");
                return Err(message(refused));
            }
        }
        let all = args.is_set("all");
        let images = client.image_list_with_manifests(all, &filters).await?;
        return Ok(stdio::print(&tree::draw(images, all))?);
    }
    let images = client.image_list(args.is_set("all"), &filters).await?;
    let asked = LISTING.pick(
        args.text("format"),
        session.config.text("imagesFormat"),
        args.is_set("quiet"),
    );
    let digests = args.is_set("digests");
    let listing = match digests {
        true => Listing {
            default: WITH_DIGEST,
            ..LISTING
        },
        false => LISTING,
    };
    let shows_digests = digests || asked.contains("{{.Digest}}");
    let rows: Vec<Row> = images
        .iter()
        .flat_map(|image| rows(image, !args.is_set("no-trunc"), shows_digests))
        .collect();
    let out = listing.render(asked, &rows)?;
    Ok(stdio::print(&out)?)
}

/// A row for each name of an image; with digests, for each pair of a tag and a digest.
pub fn rows(image: &ImageSummary, cut: bool, digests: bool) -> Vec<Row> {
    let tags: Vec<(String, String)> = image
        .repo_tags
        .iter()
        .filter(|tag| *tag != "<none>:<none>")
        .filter_map(|tag| tag.rsplit_once(':'))
        .map(|(name, tag)| (familiar(name), tag.to_owned()))
        .collect();
    let with_digest: Vec<(String, String)> = image
        .repo_digests
        .iter()
        .filter_map(|name| name.split_once('@'))
        .filter(|(name, _)| *name != NONE)
        .map(|(name, digest)| (familiar(name), digest.to_owned()))
        .collect();
    let row = |repository: &str, tag: &str, digest: &str| one(image, cut, repository, tag, digest);
    if tags.is_empty() && with_digest.is_empty() {
        return vec![row(NONE, NONE, NONE)];
    }
    let mut all = Vec::new();
    for (repository, tag) in &tags {
        let own: Vec<&str> = with_digest
            .iter()
            .filter(|(name, _)| name == repository)
            .map(|(_, digest)| digest.as_str())
            .collect();
        if digests && !own.is_empty() {
            all.extend(own.iter().map(|digest| row(repository, tag, digest)));
        } else {
            all.push(row(repository, tag, NONE));
        }
    }
    // What only a digest names.
    for (repository, digest) in &with_digest {
        if !tags.iter().any(|(name, _)| name == repository) {
            all.push(row(repository, NONE, digest));
        }
    }
    all
}

fn familiar(name: &str) -> String {
    Reference::parse(name).map_or_else(|_| name.to_owned(), |r| r.familiar_name().to_owned())
}

fn one(image: &ImageSummary, cut: bool, repository: &str, tag: &str, digest: &str) -> Row {
    let id = if cut {
        text::short_id(&image.id)
    } else {
        &image.id
    };
    let counted = |n: i64| {
        if n < 0 {
            "N/A".to_owned()
        } else {
            units::size(n)
        }
    };
    let unique = match image.shared_size {
        n if n < 0 => "N/A".to_owned(),
        shared => units::size(image.size - shared),
    };
    Row::from([
        ("ID", id.to_owned()),
        ("Repository", repository.to_owned()),
        ("Tag", tag.to_owned()),
        ("Digest", digest.to_owned()),
        (
            "CreatedSince",
            match image.created {
                n if n <= 0 => "N/A".to_owned(),
                created => time::ago(created),
            },
        ),
        ("CreatedAt", time::go_time(image.created)),
        ("Size", units::size(image.size)),
        (
            "Containers",
            match image.containers {
                -1 => "N/A".to_owned(),
                n => n.to_string(),
            },
        ),
        ("VirtualSize", units::long_size(image.size)),
        ("SharedSize", counted(image.shared_size)),
        ("UniqueSize", unique),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_a_row_for_each_name() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let image = ImageSummary {
            id: format!("sha256:{}", "b".repeat(64)),
            repo_tags: vec![
                "busybox:1".into(),
                "busybox:2".into(),
                "localhost:5000/x:y".into(),
            ],
            repo_digests: vec![format!("busybox@{digest}"), format!("other@{digest}")],
            size: 4_261_550,
            shared_size: -1,
            containers: -1,
            ..ImageSummary::default()
        };
        let names = |digests| -> Vec<String> {
            rows(&image, true, digests)
                .iter()
                .map(|row| {
                    format!(
                        "{} {} {}",
                        row["Repository"],
                        row["Tag"],
                        &row["Digest"][..6]
                    )
                })
                .collect()
        };
        assert_eq!(
            names(true),
            [
                "busybox 1 sha256",
                "busybox 2 sha256",
                "localhost:5000/x y <none>",
                "other <none> sha256"
            ]
        );
        assert_eq!(names(false)[0], "busybox 1 <none>");
        let row = &rows(&image, true, false)[0];
        assert_eq!(
            (row["ID"].as_str(), row["Size"].as_str()),
            ("bbbbbbbbbbbb", "4.26MB")
        );
        let bare = ImageSummary::default();
        assert_eq!(rows(&bare, true, false)[0]["Repository"], NONE);
    }
}
