//! Small pieces of listings: ids, ellipses, quotes, labels, addresses.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// An id is shown this long.
const SHORT: usize = 12;

/// An id without its algorithm, cut.
pub fn short_id(id: &str) -> &str {
    let bare = id.split_once(':').map_or(id, |(_, hex)| hex);
    bare.get(..SHORT).unwrap_or(bare)
}

/// At most `width` characters, of which the last is an ellipsis if some were cut.
pub fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept + "…"
}

/// The order in which people count: `v2` before `v10`.
pub fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    while let (Some(x), Some(y)) = (left.first(), right.first()) {
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (m, n) = (number(left), number(right));
            let order = m.len().cmp(&n.len()).then_with(|| m.cmp(n));
            if order != Ordering::Equal {
                return order;
            }
            left = after_number(left);
            right = after_number(right);
        } else if x == y {
            (left, right) = (&left[1..], &right[1..]);
        } else {
            return x.cmp(y);
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// The digits at the beginning, without zeros in front.
fn number(text: &[u8]) -> &[u8] {
    let zeros = text.iter().take_while(|b| **b == b'0').count();
    let end = text.iter().take_while(|b| b.is_ascii_digit()).count();
    &text[zeros..end]
}

fn after_number(text: &[u8]) -> &[u8] {
    let end = text.iter().take_while(|b| b.is_ascii_digit()).count();
    &text[end..]
}

/// As Go's `strconv.Quote`.
pub fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Labels in one cell: `a=1,b=2`.
pub fn labels(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    pairs.join(",")
}

/// An address with its port.
pub fn address(ip: &str, port: &str) -> String {
    match ip.contains(':') {
        true => format!("[{ip}]:{port}"),
        false => format!("{ip}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_cut_and_quoted_as_dockers() {
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("0123"), "0123");
        assert_eq!(ellipsis("sh -c 'sleep 1000'", 20), "sh -c 'sleep 1000'");
        assert_eq!(
            ellipsis("0123456789012345678901", 20),
            "0123456789012345678…"
        );
        assert_eq!(quote("sh -c \"a\\b\"\n"), r#""sh -c \"a\\b\"\n""#);
    }

    #[test]
    fn numbers_in_names_are_counted() {
        let mut names = ["v10", "v2", "v02", "w", "v", "v2b", "v2a"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["v", "v02", "v2", "v2a", "v2b", "v10", "w"]);
    }
}
