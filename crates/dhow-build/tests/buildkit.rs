//! BuildKit's own test data, read where it is: the same result or the same refusal for each file.
//!
//! `DHOW_BUILDKIT` names the directory of the Go module `github.com/moby/buildkit`; without it there is nothing to do,
//! which is said. `cargo xtask test` sets it.

use std::path::{Path, PathBuf};

use dhow_build::parser::{Arguments, Statement, parse};
use dhow_build::{Env, Lex, Lines};

/// The directory of BuildKit's Dockerfile frontend.
fn frontend() -> Option<PathBuf> {
    let Some(module) = std::env::var_os("DHOW_BUILDKIT") else {
        println!("skipped: DHOW_BUILDKIT does not say where BuildKit's module is");
        return None;
    };
    Some(Path::new(&module).join("frontend/dockerfile"))
}

fn directories(of: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(of).unwrap_or_else(|e| panic!("{}: {e}", of.display()));
    let mut all: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    all.sort();
    assert!(!all.is_empty(), "{} is empty", of.display());
    all
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0' => out.push_str("\\x00"),
            c => out.push(c),
        }
    }
    out + "\""
}

/// A statement as BuildKit's tests write it.
fn dump(statement: &Statement) -> String {
    let mut out = statement.keyword.to_lowercase();
    if !statement.flags.is_empty() {
        let flags: Vec<_> = statement.flags.iter().map(|flag| quoted(flag)).collect();
        out += &format!(" [{}]", flags.join(" "));
    }
    let mut word = |word: &str| out += &format!(" {}", quoted(word));
    match &statement.arguments {
        Arguments::Words { words, .. } => words.iter().for_each(|w| word(w)),
        Arguments::Pairs(pairs) => {
            for pair in pairs {
                word(&pair.name);
                word(&pair.value);
                word(if pair.legacy { "" } else { "=" });
            }
        }
        Arguments::Statement(inner) => out += &format!(" ({})", dump(inner)),
    }
    out
}

#[test]
fn files_are_parsed_to_the_same_results() {
    let Some(frontend) = frontend() else {
        return;
    };
    let mut count = 0;
    for case in directories(&frontend.join("parser/testfiles")) {
        let content = std::fs::read(case.join("Dockerfile")).unwrap();
        let expected = std::fs::read_to_string(case.join("result")).unwrap();
        let document = parse(&content).unwrap_or_else(|e| panic!("{}: {e}", case.display()));
        let lines: Vec<_> = document.statements.iter().map(dump).collect();
        let result: String = lines.iter().map(|line| format!("({line})\n")).collect();
        assert_eq!(result, expected, "{}", case.display());
        let again = parse(&document.print()).unwrap();
        let printed: Vec<_> = again.statements.iter().map(dump).collect();
        assert_eq!(printed, lines, "{} printed", case.display());
        count += 1;
    }
    println!("{count} files");
}

#[test]
fn files_are_refused_alike() {
    let Some(frontend) = frontend() else {
        return;
    };
    for case in directories(&frontend.join("parser/testfiles-negative")) {
        let content = std::fs::read(case.join("Dockerfile")).unwrap();
        let refused = parse(&content).is_err();
        assert!(refused, "{} is refused by BuildKit", case.display());
    }
}

#[test]
fn statements_stand_on_the_same_lines() {
    let Some(frontend) = frontend() else {
        return;
    };
    let content = std::fs::read(frontend.join("parser/testfile-line/Dockerfile")).unwrap();
    let document = parse(&content).unwrap();
    let lines: Vec<_> = document.statements.iter().map(|s| s.lines).collect();
    let expected = [(5, 5), (11, 12), (17, 31)].map(|(first, last)| Lines::new(first, last));
    assert_eq!(lines, expected);
}

#[test]
fn words_expand_to_the_same() {
    let Some(frontend) = frontend() else {
        return;
    };
    let table = std::fs::read_to_string(frontend.join("shell/envVarTest")).unwrap();
    let env: Env = ["PWD=/home", "SHELL=bash", "KOREAN=한국어", "NULL="]
        .into_iter()
        .collect();
    let mut count = 0;
    for (number, line) in table.lines().enumerate() {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let columns: Vec<_> = line.split('|').map(str::trim).collect();
        let [platform, word, expected] = columns[..] else {
            panic!("line {number}: {line}");
        };
        if platform == "W" {
            continue;
        }
        let text = Lex::new('\\').text(word, &env);
        let text = text.as_deref().unwrap_or("error");
        assert_eq!(text, expected, "line {}: {word}", number + 1);
        count += 1;
    }
    assert!(count > 50, "{count} words");
    println!("{count} words");
}

#[test]
fn words_are_split_at_the_same_places() {
    let Some(frontend) = frontend() else {
        return;
    };
    let table = std::fs::read_to_string(frontend.join("shell/wordsTest")).unwrap();
    let mut env = Env::default();
    for (number, line) in table.lines().enumerate() {
        if line.starts_with('#') {
            continue;
        }
        if let Some(pair) = line.strip_prefix("ENV ") {
            let (name, value) = pair.trim_start_matches(' ').split_once('=').unwrap();
            env.set(name, value);
            continue;
        }
        let (text, expected) = line.split_once('|').unwrap();
        let words = Lex::new('\\').words(text.trim(), &env);
        let words = words.unwrap_or_else(|_| vec!["error".to_owned()]);
        let expected: Vec<_> = expected.trim_start_matches(' ').split(',').collect();
        assert_eq!(words, expected, "line {}: {text}", number + 1);
    }
}
