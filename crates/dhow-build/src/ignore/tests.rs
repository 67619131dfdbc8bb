use proptest::prelude::*;

use super::*;

fn ignores(patterns: &[&str], path: &str) -> bool {
    Ignore::new(patterns).unwrap().ignores(path)
}

#[test]
fn patterns_match_paths_and_what_is_below() {
    for (pattern, path, expected) in [
        ("a", "a", true),
        ("a", "a/b/c", true),
        ("a", "b/a", false),
        ("a/b", "a", false),
        ("*.o", "x.o", true),
        ("*.o", "d/x.o", false),
        ("*/*.o", "d/x.o", true),
        ("**/*.o", "x.o", true),
        ("**/*.o", "a/b/x.o", true),
        ("**/x/y", "a/x/y", true),
        ("**/x/y", "ax/y", false),
        ("a/**/b", "a/b", true),
        ("a/**/b", "a/x/y/b", true),
        ("a/**/b", "a/xb", false),
        ("a/**", "a", false),
        ("a/**", "a/b", true),
        ("**", "a", true),
        ("**file", "afile", true),
        ("**fil?", "afile", false),
        ("x?", "x/", false),
        ("x?y", "x/y", false),
        ("x[a-c^]", "xb", true),
        ("x[a-c^]", "x^", true),
        ("x[^a-c]", "xd", true),
        ("x[\\]\\-]", "x]", true),
        ("\\*", "*", true),
        ("\\*", "a", false),
        ("./a//b/", "a/b", true),
        ("a.b", "aXb", false),
        ("é?", "éa", true),
    ] {
        assert_eq!(ignores(&[pattern], path), expected, "{pattern} {path}");
    }
}

#[test]
fn the_last_that_matches_counts() {
    assert!(!ignores(&["docs", "!docs/README.md"], "docs/README.md"));
    assert!(ignores(&["docs", "!docs/README.md"], "docs/other"));
    assert!(ignores(&["!x", "*"], "x"));
    assert!(!ignores(&["**", "!util/web"], "util/web/a/b"));
    assert!(ignores(&["**", "!util/web", "util/web/a"], "util/web/a/b"));
    assert!(!ignores(&[], "x"));
}

#[test]
fn what_is_no_pattern_is_refused() {
    for bad in [
        "[", "a[", "[^bc", "[]a]", "[-]", "[x-]", "[a-b-c]", "\\", "[a\\",
    ] {
        assert_eq!(Ignore::new([bad]), Err(IgnoreError::Syntax), "{bad}");
    }
    let error = Ignore::new(["!"]).unwrap_err();
    assert_eq!(error.to_string(), "illegal exclusion pattern: \"!\"");
    assert!(Ignore::new(["", "  "]).unwrap().is_empty());
}

#[test]
fn directories_that_are_left_out_whole_need_not_be_entered() {
    let enters = |patterns: &[&str], directory: &str| {
        let ignore = Ignore::new(patterns).unwrap();
        let verdict = ignore.judge(directory, &Above::default());
        ignore.may_keep_below(directory, &verdict)
    };
    assert!(enters(&["a"], "b"));
    assert!(!enters(&["a"], "a"));
    assert!(!enters(&["a", "!b"], "a"));
    assert!(!enters(&["*", "!ab"], "a"));
    assert!(enters(&["*", "!a/b/c"], "a"));
    assert!(!enters(&["*", "!a/b/c"], "x"));
    assert!(!enters(&["!a/b", "a"], "a"));
    assert!(enters(&["*", "!*/b"], "a"));
    assert!(enters(&["*", "!**/*.md"], "a"));
    assert!(enters(&["*", "!a*/**"], "abc"));
    assert!(!enters(&["*", "!a/**"], "b"));
}

#[test]
fn what_leaves_out_all_is_known() {
    assert!(Ignore::new(["a", "**/*"]).unwrap().ignores_all());
    let ignore = Ignore::new(["a", "!*"]).unwrap();
    assert!(!ignore.ignores_all());
    assert!(ignore.has_exceptions());
}

const WORDS: &[&str] = &[
    "a", "b", "ab", "*", "**", "?", "a*", "*b", "[ab]", "[^a]", "**a",
];

fn piece() -> impl Strategy<Value = String> {
    let path = proptest::collection::vec(proptest::sample::select(WORDS), 1..4);
    (any::<bool>(), path).prop_map(|(excepts, path)| {
        let mark = if excepts { "!" } else { "" };
        format!("{mark}{}", path.join("/"))
    })
}

fn path() -> impl Strategy<Value = Vec<&'static str>> {
    let names = proptest::sample::select(&["a", "b", "ab", "ba", "c"][..]);
    proptest::collection::vec(names, 1..5)
}

proptest! {
    #[test]
    fn a_walk_finds_all_that_is_kept(patterns in proptest::collection::vec(piece(), 0..5), path in path()) {
        let ignore = Ignore::new(&patterns).unwrap();
        let whole = path.join("/");
        let mut above = Above::default();
        let mut reached = true;
        for depth in 1..path.len() {
            let directory = path[..depth].join("/");
            let verdict = ignore.judge(&directory, &above);
            reached &= ignore.may_keep_below(&directory, &verdict);
            above = verdict.above;
        }
        let ignored = ignore.judge(&whole, &above).ignored;
        prop_assert_eq!(ignored, ignore.ignores(&whole));
        prop_assert!(ignored || reached, "{:?} would not be found", whole);
    }

    #[test]
    fn any_pattern_is_refused_or_matched(pattern in "[a*?/!\\[\\]^\\\\-]{0,12}", path in "[a/*\\]]{0,8}") {
        if let Ok(ignore) = Ignore::new([&pattern]) {
            ignore.ignores(&path);
        }
        for read in read(pattern.as_bytes()) {
            let _ = Ignore::new([read]);
        }
    }
}
