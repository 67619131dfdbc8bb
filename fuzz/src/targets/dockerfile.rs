//! Dockerfiles, words with variables, ignore files.

use dhow_build::checks::{self, Input};
use dhow_build::ignore::{self, Above, Ignore};
use dhow_build::parser::{self, Document, Statement};
use dhow_build::scope::{BuildArgs, Platforms};
use dhow_build::{Env, Lex, Lines};
use dhow_oci::{Platform, RunConfig};

use super::choice;

/// What is printed is read as the same; what is checked may be wrong, but ends.
pub fn dockerfile(data: &[u8]) {
    let (flags, content) = choice(data);
    parser::syntax(content);
    if let Ok(document) = parser::parse(content) {
        let again = parser::parse(&document.print());
        let again = again.map(|again| without_places(&again));
        assert_eq!(again.as_ref(), Ok(&without_places(&document)));
    }
    let platforms = Platforms {
        build: Platform::new("linux", "amd64", ""),
        target: Platform::new("linux", "arm", "v7"),
    };
    let mut args = BuildArgs::new();
    args.insert("A".to_owned(), "given ${B} \\".to_owned());
    let patterns = Ignore::new(["a*", "b/**"]).ok();
    let report = checks::check(
        content,
        &Input {
            platforms: &platforms,
            args: &args,
            target: (flags & 1 == 1).then_some("a"),
            ignore: patterns.as_ref(),
            image: &|name| (name != "a").then(RunConfig::default),
        },
    );
    for warning in &report.warnings {
        assert!(warning.lines.first > 0, "{warning:?}");
        warning.show("Dockerfile", content);
    }
    if let Some(error) = &report.error {
        error.excerpt("Dockerfile", content);
    }
}

fn without_places(document: &Document) -> (Vec<Statement>, char) {
    let bare = |statement: &Statement| Statement {
        lines: Lines::default(),
        ..statement.clone()
    };
    let statements = document.statements.iter().map(bare).collect();
    (statements, document.escape)
}

/// The flags say how a word is read. Whether its variables are set or not, it ends.
pub fn words(data: &[u8]) {
    let (flags, rest) = choice(data);
    let text = String::from_utf8_lossy(rest);
    let lex = Lex {
        escape: if flags & 1 == 1 { '`' } else { '\\' },
        keeps_quotes: flags & 2 != 0,
        keeps_escapes: flags & 4 != 0,
        ignores_quotes: flags & 8 != 0,
        keeps_unset: flags & 16 != 0,
    };
    let env: Env = ["A=a/b*c", "B=", "C=x y  z"].into_iter().collect();
    if let Ok(expansion) = lex.expand(&text, &env) {
        let words: String = expansion.words.concat();
        assert!(words.len() <= expansion.text.len(), "{text:?}");
        assert!(
            expansion.words.iter().all(|word| !word.is_empty()),
            "{text:?}"
        );
    }
}

/// A path in the first line, patterns in the others: a walk from the top finds what the patterns keep.
pub fn ignore(data: &[u8]) {
    let end = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (path, patterns) = data.split_at(end);
    let path = String::from_utf8_lossy(path);
    let Ok(ignore) = Ignore::new(ignore::read(patterns)) else {
        return;
    };
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    let (mut above, mut reached) = (Above::default(), true);
    for depth in 1..names.len() {
        let directory = names[..depth].join("/");
        let verdict = ignore.judge(&directory, &above);
        reached &= ignore.may_keep_below(&directory, &verdict);
        above = verdict.above;
    }
    let whole = names.join("/");
    let ignored = ignore.judge(&whole, &above).ignored;
    assert_eq!(ignored, ignore.ignores(&whole), "{whole:?}");
    assert!(ignored || reached, "{whole:?} is kept and not reached");
}
