//! `network graph`: who is on which network, drawn from the lists of networks and of containers alone, so that every
//! daemon that speaks the Engine API can be drawn.

mod dot;
mod model;
mod svg;
mod tree;

use dhow_api::{Filters, Network};

use self::model::Graph;
use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::session::Session;
use crate::stdio;

pub const GRAPH: &[Flag] = &[
    Flag::new("all", Kind::Bool, "Also containers that do not run").short('a'),
    Flag::new(
        "format",
        Kind::String,
        "How to draw: a tree of text, for Graphviz, or a picture (text|dot|svg)",
    )
    .default("text"),
];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let draw = match args.text("format").unwrap_or_default() {
        "" | "text" => tree::draw,
        "dot" => dot::draw,
        "svg" => svg::draw,
        other => {
            return Err(message(format!(
                "unknown format: {other:?}: must be one of \"text\", \"dot\", \"svg\""
            )));
        }
    };
    let client = session.client().await?;
    let networks = client.network_list(&Filters::default()).await?;
    let (networks, only) = match args.rest.is_empty() {
        true => (networks, false),
        false => (chosen(networks, &args.rest)?, true),
    };
    let all = args.is_set("all");
    let containers = client
        .get("/containers/json")
        .flag("all", all)
        .read()
        .await?;
    let graph = Graph::of(&networks, containers, only);
    Ok(stdio::print(&draw(&graph))?)
}

/// The networks of these names or ids, or beginnings of ids.
fn chosen(networks: Vec<Network>, names: &[String]) -> Result<Vec<Network>> {
    let mut taken = vec![false; networks.len()];
    for name in names {
        let exact = networks
            .iter()
            .position(|network| network.name == *name || network.id == *name);
        let mut begun = (0..networks.len()).filter(|i| networks[*i].id.starts_with(name.as_str()));
        let found = match (exact, begun.next(), begun.next()) {
            (Some(found), ..) => found,
            (None, Some(found), None) if !name.is_empty() => found,
            (None, Some(_), Some(_)) if !name.is_empty() => {
                return Err(message(format!(
                    "network {name} is ambiguous: several ids begin with this"
                )));
            }
            _ => return Err(message(format!("network {name} not found"))),
        };
        taken[found] = true;
    }
    let chosen = networks.into_iter().zip(taken);
    Ok(chosen
        .filter_map(|(network, taken)| taken.then_some(network))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_chosen_by_names_and_ids() {
        let network = |name: &str, id: &str| Network {
            name: name.into(),
            id: id.into(),
            ..Network::default()
        };
        let all = || {
            vec![
                network("a", "bb11"),
                network("bb", "cc22"),
                network("c", "cc33"),
            ]
        };
        let names = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            match chosen(all(), &words) {
                Ok(list) => list
                    .into_iter()
                    .map(|n| n.name)
                    .collect::<Vec<_>>()
                    .join(" "),
                Err(error) => error.to_string(),
            }
        };
        assert_eq!(names(&["c", "bb1", "a"]), "a c");
        assert_eq!(names(&["bb"]), "bb");
        assert_eq!(
            names(&["cc"]),
            "network cc is ambiguous: several ids begin with this"
        );
        assert_eq!(names(&["x"]), "network x not found");
        assert_eq!(names(&[""]), "network  not found");
    }
}
