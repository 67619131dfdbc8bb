//! The file that has the patterns.

use dhow_archive::words;

/// The patterns of an ignore file, a line each: comments and empty lines left out, paths made short and relative.
pub fn read(content: &[u8]) -> Vec<String> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let content = String::from_utf8_lossy(content);
    let lines = content.split('\n').filter(|line| !line.starts_with('#'));
    lines.filter_map(pattern).collect()
}

fn pattern(line: &str) -> Option<String> {
    let line = line.trim();
    if line.is_empty() {
        return None;
    }
    let (mark, path) = match line.strip_prefix('!') {
        Some(rest) => ("!", rest.trim()),
        None => ("", line),
    };
    if path.is_empty() {
        return Some(mark.to_owned());
    }
    let clean = words::clean(path);
    let relative = clean.strip_prefix('/').filter(|rest| !rest.is_empty());
    Some(format!("{mark}{}", relative.unwrap_or(&clean)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_a_line_each() {
        let content = "\u{feff}test1\n/test2\r\n/a//file/here/.\n\n  last \n# no\n #yes\n! /inverted/abs/path\n!\n! \n/";
        let expected = [
            "test1",
            "test2",
            "a/file/here",
            "last",
            "#yes",
            "!inverted/abs/path",
            "!",
            "!",
            "/",
        ];
        assert_eq!(read(content.as_bytes()), expected);
        assert!(read(b"").is_empty());
    }
}
