//! `--flag` and `--flag=value`, of those that an instruction knows.

use crate::problem::Problem;
use crate::suggest::closest;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `--name`, `--name=true` or `--name=false`.
    Switch,
    /// `--name=value`, once.
    Text,
    /// `--name=value`, any number of times.
    Texts,
}

/// Those that were given, in their order.
pub(super) struct Flags<'a> {
    given: Vec<(&'static str, &'a str)>,
}

impl<'a> Flags<'a> {
    pub fn parse(
        words: &'a [String],
        known: &[(&'static str, Kind)],
    ) -> Result<Flags<'a>, Problem> {
        let mut given: Vec<(&'static str, &str)> = Vec::new();
        for word in words {
            let Some(flag) = word.strip_prefix("--") else {
                let message = format!("arg should start with -- : {word}");
                return Err(Problem::Arguments(message));
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag, None),
            };
            let Some((name, kind)) = known.iter().find(|(known, _)| *known == name) else {
                return Err(Problem::UnknownFlag {
                    flag: name.to_owned(),
                    hint: closest(name, known.iter().map(|(known, _)| *known)),
                });
            };
            let refused = |what: &str| Err(Problem::Arguments(format!("{what}: --{name}")));
            if *kind != Kind::Texts && given.iter().any(|(earlier, _)| earlier == name) {
                return refused("duplicate flag specified");
            }
            let value = match (kind, value) {
                (Kind::Switch, None) => "true",
                (Kind::Switch, Some("")) | (_, None) => {
                    return refused("missing a value on flag");
                }
                (Kind::Switch, Some(value)) => match value.to_lowercase().as_str() {
                    "true" => "true",
                    "false" => "false",
                    _ => {
                        return Err(Problem::Arguments(format!(
                            "expecting boolean value for flag --{name}, not: {value}"
                        )));
                    }
                },
                (_, Some(value)) => value,
            };
            given.push((name, value));
        }
        Ok(Flags { given })
    }

    /// Of an instruction that knows none.
    pub fn none(words: &[String]) -> Result<(), Problem> {
        Flags::parse(words, &[]).map(|_| ())
    }

    pub fn text(&self, name: &str) -> Option<&'a str> {
        let found = self.given.iter().find(|(given, _)| *given == name);
        found.map(|(_, value)| *value)
    }

    pub fn texts(&self, name: &str) -> Vec<String> {
        let all = self.given.iter().filter(|(given, _)| *given == name);
        all.map(|(_, value)| (*value).to_owned()).collect()
    }

    pub fn switch(&self, name: &str) -> Option<bool> {
        self.text(name).map(|value| value == "true")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[(&str, Kind)] = &[
        ("link", Kind::Switch),
        ("chown", Kind::Text),
        ("exclude", Kind::Texts),
    ];

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn flags_are_read() {
        let words = owned(&["--link=FALSE", "--exclude=a", "--chown=a=b", "--exclude="]);
        let flags = Flags::parse(&words, KNOWN).unwrap();
        assert_eq!(flags.switch("link"), Some(false));
        assert_eq!(flags.text("chown"), Some("a=b"));
        assert_eq!(flags.texts("exclude"), ["a", ""]);
        assert_eq!(Flags::parse(&[], KNOWN).unwrap().switch("link"), None);
    }

    #[test]
    fn others_are_refused() {
        for (words, message) in [
            (&["--lnk"][..], "unknown flag: --lnk (did you mean link?)"),
            (&["--something=x"], "unknown flag: --something"),
            (&["--link", "--link"], "duplicate flag specified: --link"),
            (&["--link="], "missing a value on flag: --link"),
            (&["--chown"], "missing a value on flag: --chown"),
            (
                &["--link=x"],
                "expecting boolean value for flag --link, not: x",
            ),
            (&["-x"], "arg should start with -- : -x"),
        ] {
            let words = owned(words);
            let error = Flags::parse(&words, KNOWN).err().unwrap();
            assert_eq!(error.to_string(), message);
        }
    }
}
