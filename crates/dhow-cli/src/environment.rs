//! Environment variables, labels and options: `name=value` from flags, from files, and from this program's
//! own environment.

use std::collections::BTreeMap;
use std::{env, fs};

use crate::error::Refusal;

/// The variables of `--env-file` and `--env`, in this order. A name without a value takes the value it
/// has here; in a file it is left out if it has none, on the command line it takes the image's away.
pub fn read(files: &[&str], variables: &[&str]) -> Result<Vec<String>, Refusal> {
    let mut all = Vec::new();
    for file in files {
        for (name, value) in read_file(file)? {
            match value.or_else(|| env::var(&name).ok()) {
                Some(value) => all.push(format!("{name}={value}")),
                None => continue,
            }
        }
    }
    for variable in variables {
        all.push(complete(variable)?);
    }
    Ok(all)
}

/// Whether this is a variable, with or without a value.
pub fn check(variable: &str) -> Result<(), Refusal> {
    complete(variable).map(drop)
}

fn complete(variable: &str) -> Result<String, Refusal> {
    match variable.split_once('=') {
        Some(("", _)) => Err(format!("invalid environment variable: {variable}")),
        None if variable.is_empty() => Err("invalid environment variable: ".to_owned()),
        Some(_) => Ok(variable.to_owned()),
        None => Ok(match env::var(variable) {
            Ok(value) => format!("{variable}={value}"),
            Err(_) => variable.to_owned(),
        }),
    }
}

/// The labels of `--label-file` and `--label`.
pub fn read_labels(files: &[&str], labels: &[&str]) -> Result<BTreeMap<String, String>, Refusal> {
    let mut all = BTreeMap::new();
    for file in files {
        for (name, value) in read_file(file)? {
            all.insert(name, value.unwrap_or_default());
        }
    }
    for label in labels {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        let bare = name.trim_start();
        if bare.is_empty() {
            return Err(format!("invalid label '{label}': empty name"));
        }
        if bare.contains(char::is_whitespace) {
            return Err(format!("label '{bare}' contains whitespaces"));
        }
        all.insert(name.to_owned(), value.to_owned());
    }
    Ok(all)
}

/// `name=value` by name; a name alone has an empty value.
pub fn pairs(list: &[&str]) -> BTreeMap<String, String> {
    list.iter()
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

/// Lines of `name=value` or `name`; empty ones and those that begin with `#` are passed over.
fn read_file(path: &str) -> Result<Vec<(String, Option<String>)>, Refusal> {
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("open {path}: no such file or directory"),
        _ => format!("open {path}: {error}"),
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| format!("invalid env file ({path}): its content is not UTF-8"))?;
    parse_file(&text).map_err(|reason| format!("invalid env file ({path}): {reason}"))
}

fn parse_file(text: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut all = Vec::new();
    for line in text.lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line, None),
        };
        let name = name.trim_start();
        if name.is_empty() {
            return Err(format!("no variable name on line '{line}'"));
        }
        if name.contains(char::is_whitespace) {
            return Err(format!("variable '{name}' contains whitespaces"));
        }
        all.push((name.to_owned(), value));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_completed_from_the_environment() {
        assert_eq!(complete("A=1=2"), Ok("A=1=2".into()));
        assert_eq!(complete("A="), Ok("A=".into()));
        assert_eq!(complete("NO_SUCH_VARIABLE"), Ok("NO_SUCH_VARIABLE".into()));
        let path = env::var("PATH").unwrap();
        assert_eq!(complete("PATH"), Ok(format!("PATH={path}")));
        assert_eq!(
            complete("=1"),
            Err("invalid environment variable: =1".into())
        );
        assert!(complete("").is_err());
    }

    #[test]
    fn files_have_comments_and_names_alone() {
        let parsed = parse_file("\u{feff}A=1 # no comment\n\n  # comment\n  B\r\nC=\n").unwrap();
        assert_eq!(
            parsed,
            [
                ("A".to_owned(), Some("1 # no comment".to_owned())),
                ("B".to_owned(), None),
                ("C".to_owned(), Some(String::new())),
            ]
        );
        assert_eq!(
            parse_file("A B=1"),
            Err("variable 'A B' contains whitespaces".into())
        );
        assert_eq!(
            parse_file("=1"),
            Err("no variable name on line '=1'".into())
        );
    }

    #[test]
    fn labels_may_lack_values() {
        let labels = read_labels(&[], &["a=1", "b", "a=2"]).unwrap();
        assert_eq!(labels["a"], "2");
        assert_eq!(labels["b"], "");
        for (bad, why) in [
            ("=x", "invalid label '=x': empty name"),
            ("a b=x", "label 'a b' contains whitespaces"),
        ] {
            assert_eq!(read_labels(&[], &[bad]), Err(why.to_owned()));
        }
        assert_eq!(
            read_labels(&["/no/such/file"], &[]),
            Err("open /no/such/file: no such file or directory".into())
        );
    }
}
