//! Small pieces of listings: ids, ellipses, quotes, labels, addresses.

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
}
