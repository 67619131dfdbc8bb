//! `images --tree`: each image with the platforms that there are of it.
//!
//! Colours are for terminals; what is written elsewhere is text alone.

use std::fmt::Write as _;

use dhow_api::{ImagePlatform, ImageSummary, ManifestSummary};

use crate::format::{text, units};
use crate::terminal;

const GAP: &str = "   ";
/// A name's column is never narrower; where it would be, columns are left out.
const NARROWEST: usize = 12;
/// The width where there is no terminal.
const WIDTH: usize = 80;
const USED: &str = "In Use";

/// One line: what it says of an image or of a platform of one.
#[derive(Debug, Default)]
struct Details {
    id: String,
    usage: String,
    content: String,
    used: bool,
}

#[derive(Debug)]
struct Child {
    platform: String,
    available: bool,
    details: Details,
}

#[derive(Debug)]
struct Image {
    names: Vec<String>,
    details: Details,
    children: Vec<Child>,
}

/// How it is drawn.
#[derive(Clone, Copy, Debug)]
struct Screen {
    width: usize,
    colours: bool,
}

/// The columns that there is room for.
struct Columns {
    name: usize,
    /// Of the others: their titles, widths, and whether they are aligned to the right.
    rest: Vec<(&'static str, usize, bool)>,
    /// Whether an image of a platform is in use, so that there is something to mark.
    marks: bool,
}

/// The tree of these images, newest first.
pub fn draw(images: Vec<ImageSummary>, all: bool) -> String {
    let colours = terminal::stdout_is_terminal();
    let width = terminal::size().map_or(0, |(_, columns)| usize::from(columns));
    let screen = Screen {
        width: if width == 0 { WIDTH } else { width.max(20) },
        colours,
    };
    let mut images = images;
    images.retain(|image| all || !is_dangling(image));
    images.sort_by_key(|image| std::cmp::Reverse(image.created));
    let images: Vec<Image> = images.iter().map(Image::of).collect();
    screen.draw(&images)
}

fn is_dangling(image: &ImageSummary) -> bool {
    image.repo_tags.iter().all(|tag| tag == "<none>:<none>")
}

impl Image {
    fn of(image: &ImageSummary) -> Image {
        let manifests = image.manifests.as_deref().unwrap_or_default();
        let content: i64 = manifests.iter().map(|m| m.size.content).sum();
        let children: Vec<Child> = manifests.iter().filter_map(Child::of).collect();
        let mut names = image.repo_tags.clone();
        // The longest first: the last stands beside the other columns.
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        Image {
            names,
            details: Details {
                id: text::short_id(&image.id).to_owned(),
                usage: units::size(image.size),
                content: units::size(content),
                used: image.containers > 0 || children.iter().any(|child| child.details.used),
            },
            children,
        }
    }
}

impl Child {
    fn of(manifest: &ManifestSummary) -> Option<Child> {
        let data = manifest.image_data.as_ref()?;
        (manifest.kind == "image").then(|| Child {
            platform: platform(&data.platform),
            available: manifest.available,
            details: Details {
                id: text::short_id(&manifest.id).to_owned(),
                usage: units::size(manifest.size.total),
                content: units::size(manifest.size.content),
                used: !data.containers.is_empty(),
            },
        })
    }
}

fn platform(platform: &ImagePlatform) -> String {
    if platform.os.is_empty() {
        return "unknown".to_owned();
    }
    let parts = [&platform.os, &platform.architecture, &platform.variant];
    let parts: Vec<&str> = parts.into_iter().map(String::as_str).collect();
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("/")
}

impl Columns {
    fn of(images: &[Image], width: usize) -> Columns {
        let widest = images
            .iter()
            .flat_map(|image| {
                let children = image.children.iter().map(|child| child.platform.len() + 7);
                image.names.iter().map(String::len).chain(children)
            })
            .fold("Image".len(), usize::max);
        let all = [
            ("ID", 12, false),
            ("DISK USAGE", 10, true),
            ("CONTENT SIZE", 12, true),
            ("EXTRA", 5, false),
        ];
        let mut name = width;
        let mut rest = Vec::new();
        for column in all {
            let taken = column.1 + GAP.len();
            if name < taken + NARROWEST {
                break;
            }
            name -= taken;
            rest.push(column);
        }
        let mut children = images.iter().flat_map(|image| &image.children);
        Columns {
            name: name.min(widest),
            rest,
            marks: children.any(|child| child.details.used),
        }
    }
}

impl Screen {
    fn draw(self, images: &[Image]) -> String {
        let columns = Columns::of(images, self.width);
        let mut out = String::new();
        let warning = "WARNING: This is an experimental feature. The output may change and shouldn't be depended on.";
        out += &self.coloured("93", warning);
        out.push('\n');
        out += &self.legend();
        out += "\n\n";
        out += &self.left("39;1", "IMAGE", columns.name);
        for (title, width, right) in &columns.rest {
            out += GAP;
            out += &self.cell("39;1", title, *width, *right);
        }
        out.push('\n');
        let spaced = images.iter().any(|image| !image.children.is_empty());
        for image in images {
            self.names(&mut out, image, &columns);
            self.details(&mut out, &image.details, &columns, "39");
            if spaced {
                out.push('\n');
            }
            for (at, child) in image.children.iter().enumerate() {
                let colour = if child.available { "39" } else { "39;2" };
                let branch = match at + 1 == image.children.len() {
                    true => "└─ ",
                    false => "├─ ",
                };
                let name = format!("{branch}{}", child.platform);
                out += &self.left(colour, &name, columns.name);
                self.details(&mut out, &child.details, &columns, colour);
                out.push('\n');
            }
            out.push('\n');
        }
        out
    }

    /// What marks mean, at the right edge.
    fn legend(self) -> String {
        let (info, mark, length) = match self.colours {
            false => (" Info -> ", "U", " Info ->  U ".len()),
            true => (
                "\u{1b}[1m\u{1b}[106m\u{1b}[30mi\u{1b}[0m\u{1b}[0m \u{1b}[96mInfo → \u{1b}[0m\u{1b}[0m",
                MARK,
                "i Info →   U   ".chars().count(),
            ),
        };
        let room = self.width.saturating_sub(length + USED.len() + 1);
        format!("{}{info} {mark} {USED} ", " ".repeat(room))
    }

    /// All names but the last have lines of their own.
    fn names(self, out: &mut String, image: &Image, columns: &Columns) {
        let Some((last, others)) = image.names.split_last() else {
            *out += &self.left("39;2", "<untagged>", columns.name);
            return;
        };
        for name in others {
            let shown = text::ellipsis(name, self.width);
            let _ = writeln!(out, "{}", self.coloured("34;1", &shown));
        }
        *out += &self.left("34;1", last, columns.name);
    }

    fn details(self, out: &mut String, details: &Details, columns: &Columns, colour: &str) {
        for (title, width, right) in &columns.rest {
            *out += GAP;
            let value = match *title {
                "ID" => details.id.as_str(),
                "DISK USAGE" => &details.usage,
                "CONTENT SIZE" => &details.content,
                _ => {
                    *out += &self.mark(details.used, columns.marks, *width);
                    continue;
                }
            };
            *out += &self.cell(colour, value, *width, *right);
        }
    }

    fn mark(self, used: bool, marks: bool, width: usize) -> String {
        let (shown, length) = match (marks, used, self.colours) {
            (false, ..) => ("", 0),
            (true, true, true) => (MARK, 3),
            (true, true, false) => ("U", 1),
            (true, false, true) => ("   ", 3),
            (true, false, false) => (" ", 1),
        };
        shown.to_owned() + &" ".repeat(width - length)
    }

    fn cell(self, colour: &str, value: &str, width: usize, right: bool) -> String {
        if !right {
            return self.left(colour, value, width);
        }
        let value = text::ellipsis(value, width);
        let room = width - value.chars().count();
        " ".repeat(room) + &self.coloured(colour, &value)
    }

    fn left(self, colour: &str, value: &str, width: usize) -> String {
        let value = text::ellipsis(value, width);
        let room = width - value.chars().count();
        self.coloured(colour, &value) + &" ".repeat(room)
    }

    fn coloured(self, colour: &str, value: &str) -> String {
        match self.colours {
            true => format!("\u{1b}[{colour}m{value}\u{1b}[0m"),
            false => value.to_owned(),
        }
    }
}

/// Black on cyan.
const MARK: &str = "\u{1b}[38;5;0m\u{1b}[48;5;14m U \u{1b}[0m";

#[cfg(test)]
mod tests {
    use dhow_api::{ManifestImage, ManifestSize};

    use super::*;

    fn child(architecture: &str, containers: usize) -> ManifestSummary {
        ManifestSummary {
            id: format!("sha256:{}", "c".repeat(64)),
            kind: "image".to_owned(),
            available: containers > 0,
            size: ManifestSize {
                content: 1_000_000,
                total: 3_500_000,
            },
            image_data: Some(ManifestImage {
                platform: ImagePlatform {
                    os: "linux".into(),
                    architecture: architecture.into(),
                    ..ImagePlatform::default()
                },
                containers: vec!["c1".to_owned(); containers],
                ..ManifestImage::default()
            }),
            ..ManifestSummary::default()
        }
    }

    fn image(tags: &[&str], manifests: Vec<ManifestSummary>) -> ImageSummary {
        ImageSummary {
            id: format!("sha256:{}", "b".repeat(64)),
            repo_tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            size: 3_500_000,
            manifests: Some(manifests),
            ..ImageSummary::default()
        }
    }

    #[test]
    fn a_tree_has_a_branch_for_each_platform() {
        let images = [
            image(
                &["busybox:1", "busybox:latest"],
                vec![child("amd64", 1), child("arm64", 0)],
            ),
            image(&["hello:1"], Vec::new()),
        ];
        let images: Vec<Image> = images.iter().map(Image::of).collect();
        let plain = Screen {
            width: WIDTH,
            colours: false,
        };
        let tree = plain.draw(&images);
        let lines: Vec<&str> = tree.lines().skip(3).map(str::trim_end).collect();
        assert_eq!(
            lines,
            [
                "IMAGE                ID             DISK USAGE   CONTENT SIZE   EXTRA",
                "busybox:latest",
                "busybox:1            bbbbbbbbbbbb        3.5MB            2MB   U",
                "├─ linux/amd64       cccccccccccc        3.5MB            1MB   U",
                "└─ linux/arm64       cccccccccccc        3.5MB            1MB",
                "",
                "hello:1              bbbbbbbbbbbb        3.5MB             0B",
                "",
            ]
        );
        let narrow = Screen {
            width: 40,
            colours: true,
        };
        assert!(!narrow.draw(&images).contains("CONTENT"));
    }
}
