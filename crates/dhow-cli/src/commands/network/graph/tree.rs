//! The graph as text: a tree for each network.

use super::model::{Graph, Member, Net};
use crate::format::table::align_to;

/// Cells are divided by tabs until all is there, and aligned within a network.
pub fn draw(graph: &Graph) -> String {
    let mut out = String::new();
    for network in &graph.networks {
        out.push_str(&heading(network));
        branches(&mut out, graph, &network.members);
    }
    let apart: Vec<Member> = graph
        .apart()
        .into_iter()
        .map(|container| Member {
            container,
            addresses: Vec::new(),
        })
        .collect();
    if !apart.is_empty() {
        out.push_str("(on no network)\n");
        branches(&mut out, graph, &apart);
    }
    let aligned = align_to(&out, 0);
    let lines = aligned
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n");
    lines.collect()
}

fn heading(network: &Net) -> String {
    let mut facts = vec![network.driver.clone()];
    facts.extend(network.facts.iter().cloned());
    format!("{} ({})\n", network.name, facts.join(", "))
}

fn branches(out: &mut String, graph: &Graph, members: &[Member]) {
    for (i, member) in members.iter().enumerate() {
        let last = i + 1 == members.len();
        let node = &graph.containers[member.container];
        let mut notes = node.ports.clone();
        notes.extend(node.state.iter().map(|state| format!("({state})")));
        let cells = [member.addresses.join(", "), notes.join(", ")];
        line(out, "", last, &node.name, &cells.join("\t"));
        sharers(
            out,
            graph,
            member.container,
            if last { "    " } else { "│   " },
        );
    }
}

fn line(out: &mut String, indent: &str, last: bool, name: &str, cells: &str) {
    let branch = if last { "└── " } else { "├── " };
    out.push_str(&format!("{indent}{branch}{name}\t{cells}\n"));
}

/// Who is in the network namespace of a container, and who is in theirs.
fn sharers(out: &mut String, graph: &Graph, of: usize, indent: &str) {
    let all: Vec<usize> = graph.sharers(of).collect();
    for (i, sharer) in all.iter().enumerate() {
        let last = i + 1 == all.len();
        let node = &graph.containers[*sharer];
        let owner = &graph.containers[of].name;
        let state = node.state.iter().map(|state| format!(" ({state})"));
        let note = format!("shares the network of {owner}{}", state.collect::<String>());
        line(out, indent, last, &node.name, &note);
        let deeper = if last { "    " } else { "│   " };
        sharers(out, graph, *sharer, &format!("{indent}{deeper}"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::graph;
    use super::*;

    #[test]
    fn a_tree_for_each_network() {
        insta::assert_snapshot!(draw(&graph()));
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(draw(&Graph::default()), "");
    }
}
