//! The tables of moby/patternmatcher's own tests, read where they are.
//!
//! `DHOW_PATTERNMATCHER` names the directory of the Go module; without it there is nothing to do, which is said.
//! `cargo xtask test` sets it.

use std::path::Path;

use dhow_build::Ignore;

/// The string literals of a line of Go, and what stands between and after them.
fn literals(line: &str) -> (Vec<String>, String) {
    let (mut strings, mut rest) = (Vec::new(), String::new());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c != '"' {
            rest.push(c);
            continue;
        }
        let mut string = String::new();
        while let Some(c) = chars.next().filter(|c| *c != '"') {
            string.extend(if c == '\\' { chars.next() } else { Some(c) });
        }
        strings.push(string);
        rest.push_str("\"\"");
    }
    (strings, rest)
}

#[test]
fn tables_of_patterns_give_the_same_results() {
    let Some(module) = std::env::var_os("DHOW_PATTERNMATCHER") else {
        println!("skipped: DHOW_PATTERNMATCHER does not say where patternmatcher's module is");
        return;
    };
    let file = Path::new(&module).join("patternmatcher_test.go");
    let source = std::fs::read_to_string(&file).unwrap();
    let mut count = 0;
    for line in source.lines() {
        let (strings, rest) = literals(line.trim());
        let rest: String = rest.split_whitespace().collect();
        let rest = rest.split("//").next().unwrap_or_default();
        // A row has its patterns, one or a list of them, and a path; where one is malformed there is an error as well.
        let shape = rest.replace("true", "T").replace("false", "F");
        let expected = match shape.as_str() {
            "{\"\",\"\",T}," | "{\"\",\"\",T,nil}," => Some(true),
            "{\"\",\"\",F}," | "{\"\",\"\",F,nil}," => Some(false),
            "{\"\",\"\",F,filepath.ErrBadPattern}," => None,
            _ if shape.starts_with("{[]string{\"") && shape.ends_with("\"},\"\",T},") => Some(true),
            _ if shape.starts_with("{[]string{\"") && shape.ends_with("\"},\"\",F},") => {
                Some(false)
            }
            _ => continue,
        };
        let Some((path, patterns)) = strings.split_last() else {
            continue;
        };
        let found = Ignore::new(patterns)
            .ok()
            .map(|ignore| ignore.ignores(path));
        assert_eq!(found, expected, "{patterns:?} {path:?}");
        count += 1;
    }
    assert!(count > 100, "{count} cases");
    println!("{count} cases");
}
