//! `context ls`.

use std::cmp::Ordering;

use super::create::default_metadata;
use crate::contexts::choice::{HOST_VARIABLES, variable};
use crate::contexts::{ENDPOINT, Metadata};
use crate::error::Result;
use crate::flags::{Args, Flag, Kind};
use crate::format::table::{Cells, Listing};
use crate::format::text::ellipsis;
use crate::lists::FORMAT;
use crate::session::Session;
use crate::stdio;

pub const LS: &[Flag] = &[
    FORMAT,
    Flag::new("quiet", Kind::Bool, "Show only names").short('q'),
];

/// A longer error is cut.
const LONGEST_ERROR: usize = 45;

const LISTING: Listing = Listing {
    columns: &[
        // No heading, as it is a mark beside the name.
        ("Current", ""),
        ("Description", "DESCRIPTION"),
        ("DockerEndpoint", "DOCKER ENDPOINT"),
        ("Error", "ERROR"),
        ("Name", "NAME"),
    ],
    default: "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
    quiet: "{{.Name}}",
};

struct Line {
    name: String,
    current: bool,
    description: String,
    endpoint: String,
    error: String,
}

impl Cells for Line {
    fn cell(&self, column: &str) -> Option<String> {
        Some(match column {
            "Current" => self.current.to_string(),
            "Description" => self.description.clone(),
            "DockerEndpoint" => self.endpoint.clone(),
            "Error" => ellipsis(&self.error.replace('\n', " "), LONGEST_ERROR),
            "Name" => self.name.clone(),
            _ => return None,
        })
    }

    fn truth(&self, column: &str) -> Option<bool> {
        (column == "Current").then_some(self.current)
    }
}

fn line(metadata: Metadata, current: &str) -> Line {
    let error = match metadata.endpoints.contains_key(ENDPOINT) {
        true => String::new(),
        false => "cannot find docker endpoint in context".to_owned(),
    };
    Line {
        current: metadata.name == current,
        description: metadata.description().to_owned(),
        endpoint: metadata.host().unwrap_or_default().to_owned(),
        error,
        name: metadata.name,
    }
}

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let current = session.choice.name();
    let contexts = session.contexts();
    let mut lines: Vec<Line> = contexts
        .list()?
        .into_iter()
        .map(|metadata| line(metadata, current))
        .collect();
    let mut default = default_metadata(session)?;
    default.describe("Current DOCKER_HOST based configuration");
    lines.push(line(default, current));
    if !lines.iter().any(|line| line.current) {
        let error = contexts.read(current).err();
        lines.push(Line {
            name: current.to_owned(),
            current: true,
            description: String::new(),
            endpoint: String::new(),
            error: error.map(|error| error.to_string()).unwrap_or_default(),
        });
    }
    lines.sort_by(|a, b| naturally(&a.name, &b.name));
    let asked = LISTING.pick(args.text("format"), None, args.is_set("quiet"));
    stdio::print(&LISTING.render(asked, &lines)?)?;
    if let Some((variable, _)) = variable(&HOST_VARIABLES) {
        eprintln!(
            "Warning: {variable} environment variable overrides the active context. To use a context, either set the global --context flag, or unset {variable} environment variable."
        );
    }
    Ok(())
}

/// `a2` before `a10`.
fn naturally(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let digits =
            |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (of_a, of_b) = (digits(a), digits(b));
        if of_a > 0 && of_b > 0 {
            let (number_a, number_b) = (&a[..of_a], &b[..of_b]);
            let (short_a, short_b) = (
                number_a.trim_start_matches('0'),
                number_b.trim_start_matches('0'),
            );
            let order = (short_a.len().cmp(&short_b.len()))
                .then_with(|| short_a.cmp(short_b))
                .then_with(|| of_a.cmp(&of_b));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (&a[of_a..], &b[of_b..]);
            continue;
        }
        let (mut rest_a, mut rest_b) = (a.chars(), b.chars());
        match (rest_a.next(), rest_b.next()) {
            (Some(x), Some(y)) if x == y => (a, b) = (rest_a.as_str(), rest_b.as_str()),
            (x, y) => return x.cmp(&y),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count() {
        let mut names = ["b", "a10", "a2", "a02", "a", "a2b", "10", "9"];
        names.sort_by(|a, b| naturally(a, b));
        assert_eq!(names, ["9", "10", "a", "a2", "a2b", "a02", "a10", "b"]);
    }
}
