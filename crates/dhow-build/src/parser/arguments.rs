//! What follows the name of an instruction: flags, then words, pairs, a JSON array, a text, or a statement.

use serde_json::Value;

use crate::problem::Problem;
use crate::text::{quoted, split_words};

use super::{Statement, statement};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arguments {
    /// Words, or one text; `json` where they were an array of strings.
    Words { words: Vec<String>, json: bool },
    /// Of ENV and LABEL.
    Pairs(Vec<Pair>),
    /// Of ONBUILD.
    Statement(Box<Statement>),
}

/// `name=value`, neither with its quotes taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub name: String,
    pub value: String,
    /// Whether it was written `name value`, the old way.
    pub legacy: bool,
}

pub(super) fn parse(keyword: &str, rest: &str, escape: char) -> Result<Arguments, Problem> {
    match keyword {
        "ADD" | "COPY" | "VOLUME" => match json(rest)? {
            Some(words) => Ok(Arguments::Words { words, json: true }),
            None => Ok(spaced(rest)),
        },
        "CMD" | "ENTRYPOINT" | "RUN" | "SHELL" => json_or_text(rest),
        "HEALTHCHECK" => health(rest),
        "ARG" => Ok(words(quoted_words(rest, escape))),
        "EXPOSE" | "FROM" => Ok(spaced(rest)),
        "ENV" | "LABEL" => pairs(keyword, rest, escape),
        "MAINTAINER" | "STOPSIGNAL" | "USER" | "WORKDIR" => Ok(text(rest)),
        "ONBUILD" if !rest.is_empty() => {
            let inner = statement::parse(rest, escape)?;
            Ok(Arguments::Statement(Box::new(inner)))
        }
        // An instruction that is unknown is said to be so when it is read as one.
        _ => Ok(words(Vec::new())),
    }
}

fn words(words: Vec<String>) -> Arguments {
    Arguments::Words { words, json: false }
}

fn text(rest: &str) -> Arguments {
    match rest {
        "" => words(Vec::new()),
        rest => words(vec![rest.to_owned()]),
    }
}

fn spaced(rest: &str) -> Arguments {
    match rest {
        "" => words(Vec::new()),
        rest => words(owned(split_words(rest, usize::MAX))),
    }
}

fn owned(words: Vec<&str>) -> Vec<String> {
    words.into_iter().map(str::to_owned).collect()
}

fn json_or_text(rest: &str) -> Result<Arguments, Problem> {
    match json(rest)? {
        Some(words) => Ok(Arguments::Words { words, json: true }),
        None => Ok(text(rest)),
    }
}

/// The strings of an array. What is no JSON is a text that begins with a bracket, but an array of something else is
/// a mistake.
fn json(rest: &str) -> Result<Option<Vec<String>>, Problem> {
    let rest = rest.trim_start();
    if !rest.starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<Value>>(rest) else {
        return Ok(None);
    };
    let string = |value| match value {
        Value::String(text) => Ok(text),
        _ => Err(Problem::NotOnlyStrings),
    };
    values
        .into_iter()
        .map(string)
        .collect::<Result<_, _>>()
        .map(Some)
}

/// `CMD` and a command, or `NONE`.
fn health(rest: &str) -> Result<Arguments, Problem> {
    let (kind, rest) = match rest.find(char::is_whitespace) {
        Some(end) => (&rest[..end], rest[end..].trim_start()),
        None => (rest, ""),
    };
    if kind.is_empty() {
        return Ok(words(Vec::new()));
    }
    let mut arguments = json_or_text(rest)?;
    if let Arguments::Words { words, .. } = &mut arguments {
        words.insert(0, kind.to_owned());
    }
    Ok(arguments)
}

fn pairs(keyword: &str, rest: &str, escape: char) -> Result<Arguments, Problem> {
    let words = quoted_words(rest, escape);
    let Some(first) = words.first() else {
        return Ok(Arguments::Pairs(Vec::new()));
    };
    let pair = |name: &str, value: &str, legacy| Pair {
        name: name.to_owned(),
        value: value.to_owned(),
        legacy,
    };
    if !first.contains('=') {
        return match split_words(rest, 2)[..] {
            [name, value] => Ok(Arguments::Pairs(vec![pair(name, value, true)])),
            _ => Err(Problem::Arguments(format!(
                "{keyword} must have two arguments"
            ))),
        };
    }
    let split = |word: &String| match word.split_once('=') {
        Some((name, value)) => Ok(pair(name, value, false)),
        None => Err(Problem::Arguments(format!(
            "Syntax error - can't find = in {}. Must be of the form: name=value",
            quoted(word)
        ))),
    };
    words
        .iter()
        .map(split)
        .collect::<Result<_, _>>()
        .map(Arguments::Pairs)
}

/// Words that may have spaces in quotes or escaped, with the quotes and escapes left in them.
pub(super) fn quoted_words(rest: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    // The word that has begun, and the quote that is open in it.
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(word.take().filter(|word| !word.is_empty()));
            continue;
        }
        let text = word.get_or_insert_default();
        // Nothing is escaped between single quotes.
        if c == escape && quote != Some('\'') {
            // At the very end it is left out.
            let Some(escaped) = chars.next() else {
                break;
            };
            text.extend([c, escaped]);
            continue;
        }
        match quote {
            None if matches!(c, '\'' | '"') => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        text.push(c);
    }
    words.extend(word.filter(|word| !word.is_empty()));
    words
}

/// The words in front that begin with two dashes, their quotes and escapes taken off, and what follows them. `--` alone
/// ends them.
pub(super) fn flags(line: &str, escape: char) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = line.trim_start();
    while rest.starts_with("--") {
        let (flag, quoted, after) = flag(rest, escape);
        if flag == "--" {
            return (flags, after);
        }
        if quoted || !flag.is_empty() {
            flags.push(flag);
        }
        rest = after.trim_start();
    }
    (flags, rest)
}

/// One word, whether a part of it was quoted, and what follows it.
fn flag(line: &str, escape: char) -> (String, bool, &str) {
    let mut word = String::new();
    let (mut quote, mut quoted) = (None, false);
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => return (word, quoted, &line[at..]),
            None if matches!(c, '\'' | '"') => (quote, quoted) = (Some(c), true),
            Some(open) if c == open => quote = None,
            _ if c == escape => word.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => word.push(c),
        }
    }
    (word, quoted, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_quotes() {
        for (rest, expected) in [
            ("foo bar", vec!["foo", "bar"]),
            ("foo\\ bar", vec!["foo\\ bar"]),
            ("a='b c' \"d e\"", vec!["a='b c'", "\"d e\""]),
            ("'a\\' b'", vec!["'a\\'", "b'"]),
            ("\"a\\\" b\" c\\", vec!["\"a\\\" b\"", "c"]),
            ("föo '' bàr", vec!["föo", "''", "bàr"]),
            ("'open a", vec!["'open a"]),
            ("", vec![]),
        ] {
            assert_eq!(quoted_words(rest, '\\'), expected, "{rest}");
        }
        assert_eq!(quoted_words("a` b \\ c", '`'), ["a` b", "\\", "c"]);
    }

    #[test]
    fn flags_come_first() {
        let seen = |line| flags(line, '\\');
        let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            seen("--a=b  --c x --d"),
            (owned(&["--a=b", "--c"]), "x --d")
        );
        assert_eq!(seen("--a='b c'\\ d x"), (owned(&["--a=b c d"]), "x"));
        assert_eq!(seen("-a x"), (vec![], "-a x"));
        assert_eq!(seen("--a -- --b"), (owned(&["--a"]), " --b"));
        assert_eq!(seen("--ünter=à"), (owned(&["--ünter=à"]), ""));
        assert_eq!(seen("--"), (vec![], ""));
    }

    #[test]
    fn json_is_an_array_of_strings() {
        assert_eq!(json("[\"a\", \"b\"] "), Ok(Some(owned(vec!["a", "b"]))));
        assert_eq!(json("[]"), Ok(Some(vec![])));
        for text in ["['a']", "[\"a\"", "a", "[\"a\"] b", "[-f x ]"] {
            assert_eq!(json(text), Ok(None), "{text}");
        }
        for bad in ["[1]", "[\"a\", [\"b\"]]", "[null]"] {
            assert_eq!(json(bad), Err(Problem::NotOnlyStrings), "{bad}");
        }
    }
}
