//! The graph in the language of Graphviz (`dot -Tsvg`), undirected: an edge for each place in a network.

use std::fmt::Write as _;

use super::model::{Graph, Net, Node};

pub fn draw(graph: &Graph) -> String {
    let mut out = String::from(
        "graph networks {\n    rankdir=LR;\n    node [fontname=\"sans-serif\"];\n    edge [fontname=\"sans-serif\", fontsize=10];\n",
    );
    // Writing to a string does not fail, here and below.
    for (i, network) in graph.networks.iter().enumerate() {
        let _ = writeln!(
            out,
            "    n{i} [shape=ellipse, style=filled, fillcolor=\"#dbe7f5\", label={}];",
            label(&network_lines(network))
        );
    }
    for (i, node) in graph.containers.iter().enumerate() {
        let style = match node.state {
            Some(_) => ", style=dashed",
            None => "",
        };
        let _ = writeln!(
            out,
            "    c{i} [shape=box{style}, label={}];",
            label(&node_lines(node))
        );
    }
    for (i, network) in graph.networks.iter().enumerate() {
        for member in &network.members {
            let _ = writeln!(
                out,
                "    c{} -- n{i} [label={}];",
                member.container,
                label(&member.addresses)
            );
        }
    }
    for (i, node) in graph.containers.iter().enumerate() {
        if let Some(owner) = node.shares {
            let _ = writeln!(
                out,
                "    c{i} -- c{owner} [style=dashed, label=\"shares\"];"
            );
        }
    }
    out.push_str("}\n");
    out
}

fn network_lines(network: &Net) -> Vec<String> {
    let mut lines = vec![network.name.clone(), network.driver.clone()];
    lines.extend(network.facts.iter().cloned());
    lines
}

fn node_lines(node: &Node) -> Vec<String> {
    let mut lines = vec![node.name.clone()];
    lines.extend(node.ports.iter().cloned());
    lines.extend(node.state.iter().map(|state| format!("({state})")));
    lines
}

/// A quoted string of lines. In labels a backslash begins an escape of their own, also where it is not before a quote.
fn label(lines: &[String]) -> String {
    let escape = |line: &String| line.replace('\\', "\\\\").replace('"', "\\\"");
    let lines: Vec<String> = lines.iter().map(escape).collect();
    format!("\"{}\"", lines.join("\\n"))
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::graph;
    use super::*;

    #[test]
    fn an_edge_for_each_place() {
        insta::assert_snapshot!(draw(&graph()));
    }
}
