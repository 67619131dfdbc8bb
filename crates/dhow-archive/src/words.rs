//! What the words of a path mean to `cp`: which of them say that a directory is meant, or its contents, and which
//! name what is copied gets. The rules are those of Docker, whose paths are Go's `path/filepath`.

/// Without `.`, `..`, doubled and trailing slashes.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(last) if *last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            name => parts.push(name),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

pub fn join(directory: &str, path: &str) -> String {
    clean(&format!("{directory}/{path}"))
}

/// The last part; `/` of the root, `.` of nothing.
pub fn base(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    let path = path.trim_end_matches('/');
    match path.rsplit('/').next() {
        None | Some("") => "/",
        Some(last) => last,
    }
}

/// All but the last part.
fn directory(path: &str) -> String {
    match path.rfind('/') {
        Some(at) => clean(&path[..=at]),
        None => ".".to_owned(),
    }
}

/// Whether the contents of a directory are meant, rather than itself: `/srv/.`
pub fn is_contents(path: &str) -> bool {
    base(path) == "."
}

/// Whether it can only be a directory.
pub fn is_directory(path: &str) -> bool {
    path.ends_with('/') || is_contents(path)
}

/// The directory that a path is in, and its name in there, which is `.` where the contents are meant.
pub fn split(path: &str) -> (String, String) {
    let mut cleaned = clean(path);
    if is_contents(path) {
        cleaned.push_str("/.");
    }
    (directory(&cleaned), base(&cleaned).to_owned())
}

/// Gives a path that was cleaned its end back, where that has a meaning.
pub fn with_end_of(mut cleaned: String, original: &str) -> String {
    if !is_contents(&cleaned) && is_contents(original) {
        if !cleaned.ends_with('/') {
            cleaned.push('/');
        }
        cleaned.push('.');
    }
    if !cleaned.ends_with('/') && original.ends_with('/') {
        cleaned.push('/');
    }
    cleaned
}

/// A path within a container: of its root, and with its end.
pub fn in_container(path: &str) -> String {
    with_end_of(join("/", path), path)
}

/// Where a link led, with the end that the path had; and the name that it was asked for by, where that is
/// another.
pub fn followed(path: &str, mut target: String) -> (String, Option<String>) {
    if is_contents(path) && !is_contents(&target) {
        target.push_str("/.");
    }
    if path.ends_with('/') && !target.ends_with('/') {
        target.push('/');
    }
    let name = (base(path) != base(&target)).then(|| base(path).to_owned());
    (target, name)
}

/// Puts another name in the place of the first of a path in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Rename {
    pub fn new(from: &str, to: &str) -> Rename {
        let trimmed = |name: &str| name.trim_end_matches('/').as_bytes().to_vec();
        Rename {
            from: trimmed(from),
            to: trimmed(to),
        }
    }

    pub fn apply(&self, name: Vec<u8>) -> Vec<u8> {
        if self.from.is_empty() {
            let start = name.iter().take_while(|b| **b == b'/').count();
            let mut renamed = self.to.clone();
            if !renamed.is_empty() {
                renamed.push(b'/');
            }
            renamed.extend_from_slice(&name[start..]);
            return renamed;
        }
        match name.strip_prefix(&self.from[..]) {
            Some(rest) if rest.is_empty() || rest[0] == b'/' => [&self.to[..], rest].concat(),
            _ => name,
        }
    }
}

/// An archive's path as one beneath the directory that it is put into, empty for itself; `None` if it leaves that.
pub(crate) fn beneath(raw: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in raw.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart_as_go_does() {
        for (path, cleaned, last) in [
            ("", ".", "."),
            ("/", "/", "/"),
            ("//", "/", "/"),
            ("a/../..", "..", ".."),
            ("/a/./b//../c/", "/a/c", "c"),
            ("/a/.", "/a", "."),
            ("a", "a", "a"),
            ("./..", "..", ".."),
            ("/../a", "/a", "a"),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
            assert_eq!(base(path), last, "{path}");
        }
    }

    #[test]
    fn ends_are_kept() {
        for (path, kept) in [
            ("a", "/a"),
            ("a/", "/a/"),
            ("a/.", "/a/."),
            ("/", "/"),
            ("/.", "/."),
            (".", "/."),
            ("a/..", "/"),
        ] {
            assert_eq!(in_container(path), kept, "{path}");
        }
        for (path, directory, name) in [
            ("/a/b", "/a", "b"),
            ("/a/b/", "/a", "b"),
            ("/a/b/.", "/a/b", "."),
            ("/", "/", "/"),
            ("/.", "/", "."),
            ("a", ".", "a"),
        ] {
            assert_eq!(split(path), (directory.into(), name.into()), "{path}");
        }
        let followed = |path: &str, target: &str| followed(path, target.to_owned());
        assert_eq!(followed("/l", "/t"), ("/t".into(), Some("l".into())));
        assert_eq!(followed("/l/", "/t"), ("/t/".into(), Some("l".into())));
        assert_eq!(followed("/l/.", "/t"), ("/t/.".into(), None));
        assert_eq!(followed("/x/t", "/t"), ("/t".into(), None));
    }

    #[test]
    fn the_first_name_is_replaced() {
        let renamed = |from: &str, to: &str, name: &str| {
            String::from_utf8(Rename::new(from, to).apply(name.into())).unwrap()
        };
        assert_eq!(renamed("a", "b", "a/a"), "b/a");
        assert_eq!(renamed("a", "b", "a"), "b");
        assert_eq!(renamed("a", "b", "ab/a"), "ab/a");
        assert_eq!(renamed("/", "b", "/x/y"), "b/x/y");
        assert_eq!(renamed("/", "b", "/"), "b/");
        assert_eq!(renamed(".", "b", "./x"), "b/x");
    }

    #[test]
    fn nothing_leaves_the_directory() {
        assert_eq!(beneath(b"/a/./b/../c/").unwrap(), b"a/c");
        assert_eq!(beneath(b"./").unwrap(), b"");
        assert_eq!(beneath(b"a/../../b"), None);
    }
}
