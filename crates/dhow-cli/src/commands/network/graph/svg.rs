//! The graph as a picture (SVG 1.1): networks are lanes from top to bottom, containers are rows from left to right, and
//! a dot is where one is on the other, with its addresses. Letters are of one width, so that a text's is known.

use std::fmt::Write as _;

use super::model::{Graph, Net, Node};

const MARGIN: usize = 20;
/// Between lines of text.
const LINE: usize = 16;
/// Between a box's edge and its text.
const PAD: usize = 8;
/// Between two lanes, and between two rows.
const GAP: usize = 16;
/// From a lane's left edge to its line, and from there to addresses.
const STEM: usize = 14;
/// How much those who share are set in.
const INDENT: usize = 24;

const COLOURS: &[&str] = &[
    "#1f6fb2", "#b2541f", "#2e8540", "#8a3fa0", "#a8323e", "#0f7f86", "#7a6a1d", "#5b5fc7",
];

/// A text's width in monospace letters of twelve: most are 7.3 wide, those of the far east twice that.
fn width<'a>(lines: impl IntoIterator<Item = &'a String>) -> usize {
    let cells = |line: &String| -> usize {
        let wide = |c: char| matches!(c as u32, 0x1100..=0x115f | 0x2e80..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xffe6 | 0x1f000..);
        line.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
    };
    let most = lines.into_iter().map(cells).max().unwrap_or(0);
    (most * 73).div_ceil(10)
}

struct Lane {
    left: usize,
    width: usize,
    lines: Vec<String>,
}

impl Lane {
    fn stem(&self) -> usize {
        self.left + STEM
    }
}

struct Row {
    container: usize,
    depth: usize,
    lines: Vec<String>,
    top: usize,
    height: usize,
}

impl Row {
    fn left(&self) -> usize {
        MARGIN + self.depth * INDENT
    }

    fn middle(&self) -> usize {
        self.top + self.height / 2
    }
}

fn lane_lines(network: &Net) -> Vec<String> {
    let mut lines = vec![network.name.clone(), network.driver.clone()];
    lines.extend(network.facts.iter().cloned());
    lines
}

fn row_lines(node: &Node) -> Vec<String> {
    let mut lines = vec![node.name.clone()];
    lines.extend(node.ports.iter().cloned());
    lines.extend(node.state.iter().map(|state| format!("({state})")));
    lines
}

/// The containers from top to bottom: those who share beneath whose network they are on.
fn rows(graph: &Graph, top: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut next: Vec<(usize, usize)> = (0..graph.containers.len())
        .filter(|i| graph.containers[*i].shares.is_none())
        .map(|i| (i, 0))
        .collect();
    next.reverse();
    let mut top = top;
    while let Some((container, depth)) = next.pop() {
        let lines = row_lines(&graph.containers[container]);
        // Two addresses have room, one above the line and one below.
        let height = (lines.len().max(2)) * LINE + 2 * PAD;
        let sharers: Vec<usize> = graph.sharers(container).collect();
        next.extend(sharers.into_iter().rev().map(|i| (i, depth + 1)));
        rows.push(Row {
            container,
            depth,
            lines,
            top,
            height,
        });
        top += height + GAP;
    }
    rows
}

fn lanes(graph: &Graph, left: usize) -> Vec<Lane> {
    let mut left = left;
    let lane = |network: &Net| {
        let lines = lane_lines(network);
        let addresses = network.members.iter().flat_map(|member| &member.addresses);
        let width = (width(&lines) + 2 * PAD).max(STEM + GAP / 2 + width(addresses));
        let lane = Lane { left, width, lines };
        left += width + GAP;
        lane
    };
    graph.networks.iter().map(lane).collect()
}

pub fn draw(graph: &Graph) -> String {
    let head = graph
        .networks
        .iter()
        .map(|network| lane_lines(network).len());
    let head = head.max().unwrap_or(0) * LINE + 2 * PAD;
    let rows = rows(graph, MARGIN + head + GAP);
    let boxes = rows
        .iter()
        .map(|row| row.depth * INDENT + width(&row.lines) + 2 * PAD);
    let column = boxes.max().unwrap_or(0);
    let lanes = lanes(graph, MARGIN + column + 2 * GAP);
    let right = lanes
        .last()
        .map_or(MARGIN + column, |lane| lane.left + lane.width)
        + MARGIN;
    let bottom = rows
        .last()
        .map_or(MARGIN + head, |row| row.top + row.height)
        + MARGIN;
    let mut out = String::new();
    // Writing to a string does not fail, here and below.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{right}\" height=\"{bottom}\" viewBox=\"0 0 {right} {bottom}\" font-family=\"monospace\" font-size=\"12\">\n<title>Networks and who is on them</title>\n<rect width=\"{right}\" height=\"{bottom}\" fill=\"#ffffff\"/>\n"
    );
    // Lines first, so that all else is in front of them.
    draw_lines(&mut out, graph, &lanes, &rows, MARGIN + head);
    for (i, lane) in lanes.iter().enumerate() {
        let fill = COLOURS[i % COLOURS.len()];
        rect(
            &mut out,
            (lane.left, MARGIN),
            (lane.width, head),
            &format!("fill=\"{fill}\""),
        );
        lines(
            &mut out,
            (lane.left + PAD, MARGIN + PAD),
            &lane.lines,
            "#ffffff",
        );
    }
    for row in &rows {
        let node = &graph.containers[row.container];
        let dash = if node.state.is_some() {
            " stroke-dasharray=\"4 3\""
        } else {
            ""
        };
        let size = (width(&row.lines) + 2 * PAD, row.height);
        let style = format!("fill=\"#f3f4f6\" stroke=\"#4b5563\"{dash}");
        rect(&mut out, (row.left(), row.top), size, &style);
        lines(
            &mut out,
            (row.left() + PAD, row.top + PAD),
            &row.lines,
            "#111827",
        );
    }
    out.push_str("</svg>\n");
    out
}

fn draw_lines(out: &mut String, graph: &Graph, lanes: &[Lane], rows: &[Row], head: usize) {
    let row_of = |container: usize| rows.iter().find(|row| row.container == container);
    // A container's line, up to the last of its networks.
    for row in rows {
        let on = |network: &Net| network.members.iter().any(|m| m.container == row.container);
        let last = graph.networks.iter().rposition(on);
        if let Some(lane) = last.and_then(|i| lanes.get(i)) {
            let (y, x) = (row.middle(), lane.stem());
            let _ = writeln!(
                out,
                "<path d=\"M{} {y}H{x}\" stroke=\"#9ca3af\" fill=\"none\"/>",
                row.left()
            );
        }
        if let Some(owner) = graph.containers[row.container].shares.and_then(row_of) {
            let _ = writeln!(
                out,
                "<path d=\"M{} {}V{}H{}\" stroke=\"#4b5563\" stroke-dasharray=\"4 3\" fill=\"none\"/>",
                owner.left() + INDENT / 2,
                owner.top + owner.height,
                row.middle(),
                row.left()
            );
        }
    }
    for (i, (lane, network)) in lanes.iter().zip(&graph.networks).enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let members = network.members.iter();
        let places: Vec<_> = members
            .filter_map(|member| Some((row_of(member.container)?.middle(), &member.addresses)))
            .collect();
        let x = lane.stem();
        let end = places.iter().map(|(y, _)| *y).max().unwrap_or(head);
        let _ = writeln!(
            out,
            "<path d=\"M{x} {head}V{end}\" stroke=\"{colour}\" stroke-width=\"3\" fill=\"none\"/>"
        );
        for (y, addresses) in places {
            let _ = writeln!(
                out,
                "<circle cx=\"{x}\" cy=\"{y}\" r=\"5\" fill=\"{colour}\"/>"
            );
            for (address, baseline) in addresses.iter().zip([y - 5, y + LINE - 2]) {
                text(out, (x + GAP / 2, baseline), address, colour, "");
            }
        }
    }
}

fn rect(out: &mut String, (x, y): (usize, usize), (width, height): (usize, usize), style: &str) {
    let _ = writeln!(
        out,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"4\" {style}/>"
    );
}

/// Lines beneath each other, the first of them a name.
fn lines(out: &mut String, (x, y): (usize, usize), lines: &[String], colour: &str) {
    for (i, line) in lines.iter().enumerate() {
        let weight = if i == 0 { " font-weight=\"bold\"" } else { "" };
        text(out, (x, y + i * LINE + 12), line, colour, weight);
    }
}

fn text(out: &mut String, (x, y): (usize, usize), text: &str, colour: &str, more: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{x}\" y=\"{y}\" fill=\"{colour}\"{more}>{}</text>",
        escape(text)
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::graph;
    use super::*;

    #[test]
    fn a_lane_for_each_network_and_a_row_for_each_container() {
        insta::assert_snapshot!(draw(&graph()));
    }

    #[test]
    fn text_is_no_markup() {
        assert_eq!(
            escape("<a href=\"x\">&amp;"),
            "&lt;a href=\"x\"&gt;&amp;amp;"
        );
    }

    #[test]
    fn an_empty_graph_is_a_picture_too() {
        let picture = draw(&Graph::default());
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    }
}
