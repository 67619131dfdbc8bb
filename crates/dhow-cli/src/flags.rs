//! Flags: each is one value in one table, which makes the parser, the help, the completions and the
//! reference. They parse as Docker's do: `--bool=false`, `-itd`, `-p80`, the last of two wins.

use std::ffi::OsString;

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};
use dhow_api::duration;

use crate::csv;
use crate::format::units;

/// What values a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On, off with `=false`.
    Bool,
    String,
    /// May be given several times.
    List,
    Int,
    Uint,
    /// An amount of memory: `512m`.
    Bytes,
    /// An amount of memory, or -1.
    BytesOrAll,
    /// Go's `1m30s`.
    Duration,
    /// `1.5`.
    Decimal,
    /// `name=value` or `name`.
    Filter,
    /// `name=value`, several times.
    Map,
    /// `name=value,name=value`, several times.
    Pairs,
    /// `a,b`, several times.
    Strings,
}

impl Kind {
    /// How help names a value; nothing for a flag that stands alone.
    pub fn value_name(self) -> &'static str {
        match self {
            Kind::Bool => "",
            Kind::String => "string",
            Kind::List => "list",
            Kind::Int => "int",
            Kind::Uint => "uint",
            Kind::Bytes | Kind::BytesOrAll => "bytes",
            Kind::Duration => "duration",
            Kind::Decimal => "decimal",
            Kind::Filter => "filter",
            Kind::Map => "map",
            Kind::Pairs => "stringToString",
            Kind::Strings => "strings",
        }
    }

    fn is_list(self) -> bool {
        matches!(
            self,
            Kind::List | Kind::Filter | Kind::Map | Kind::Pairs | Kind::Strings
        )
    }

    /// Why a value does not fit.
    fn check(self, value: &str) -> Result<(), String> {
        match self {
            Kind::Bool => parse_bool(value)
                .map(drop)
                .ok_or_else(|| format!("strconv.ParseBool: parsing {value:?}: invalid syntax")),
            Kind::Int => value
                .parse::<i64>()
                .map(drop)
                .map_err(|_| format!("strconv.ParseInt: parsing {value:?}: invalid syntax")),
            Kind::Uint => value
                .parse::<u64>()
                .map(drop)
                .map_err(|_| format!("strconv.ParseUint: parsing {value:?}: invalid syntax")),
            Kind::Bytes => units::parse_bytes(value).map(drop),
            Kind::BytesOrAll if value == "-1" => Ok(()),
            Kind::BytesOrAll => units::parse_bytes(value).map(drop),
            Kind::Duration => match duration::parse(value) {
                Ok(..0) => Err("duration cannot be negative".to_owned()),
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            },
            Kind::Decimal => units::parse_nano_cpus(value).map(drop),
            Kind::Filter if !value.contains('=') => {
                Err("bad format of filter (expected name=value)".to_owned())
            }
            Kind::Strings => csv::fields(value).map(drop),
            Kind::String | Kind::List | Kind::Filter | Kind::Map | Kind::Pairs => Ok(()),
        }
    }
}

/// Go's `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    pub long: &'static str,
    pub short: Option<char>,
    pub kind: Kind,
    pub help: &'static str,
    /// Names that it had, which older scripts give and help does not show.
    pub older: &'static [&'static str],
    /// What help says the default is; empty for the value that is no value.
    pub default: &'static str,
    /// Why a value does not fit, beyond what its kind says.
    pub check: fn(&str) -> Result<(), String>,
}

impl Flag {
    pub const fn new(long: &'static str, kind: Kind, help: &'static str) -> Flag {
        Flag {
            long,
            short: None,
            kind,
            help,
            older: &[],
            default: "",
            check: |_| Ok(()),
        }
    }

    pub const fn checked(mut self, check: fn(&str) -> Result<(), String>) -> Flag {
        self.check = check;
        self
    }

    pub const fn short(mut self, short: char) -> Flag {
        self.short = Some(short);
        self
    }

    pub const fn older(mut self, names: &'static [&'static str]) -> Flag {
        self.older = names;
        self
    }

    pub const fn default(mut self, default: &'static str) -> Flag {
        self.default = default;
        self
    }

    /// As error texts name it: `-m, --memory`.
    fn names(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}, --{}", self.long),
            None => format!("--{}", self.long),
        }
    }

    pub fn arg(&self) -> Arg {
        let arg = Arg::new(self.long)
            .long(self.long)
            .help(self.help)
            .aliases(self.older.iter().copied())
            .value_parser(ValueParser::string());
        let arg = match self.short {
            Some(short) => arg.short(short),
            None => arg,
        };
        match self.kind {
            Kind::Bool => arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
            kind if kind.is_list() => arg
                .action(ArgAction::Append)
                .allow_hyphen_values(true)
                .value_name(kind.value_name()),
            kind => arg
                .action(ArgAction::Set)
                .allow_hyphen_values(true)
                .value_name(kind.value_name()),
        }
    }
}

/// `--help`, which each command has.
pub const HELP: Flag = Flag::new("help", Kind::Bool, "Print usage");

const ARGUMENTS: &str = "ARGUMENTS";

/// The parser of a command with these flags.
pub fn parser(
    name: &'static str,
    flags: impl Iterator<Item = Flag>,
    flags_first: bool,
) -> clap::Command {
    clap::Command::new(name)
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .args_override_self(true)
        .args(flags.chain([HELP]).map(|flag| flag.arg()))
        .arg(
            Arg::new(ARGUMENTS)
                .num_args(0..)
                .value_parser(ValueParser::string())
                .trailing_var_arg(flags_first),
        )
}

/// A command line that was understood.
#[derive(Debug)]
pub struct Args {
    matches: ArgMatches,
    /// What is not a flag.
    pub rest: Vec<String>,
}

/// Parses the words of a command; the error is Docker's sentence for what is wrong.
pub fn parse(
    parser: clap::Command,
    flags: impl Iterator<Item = Flag>,
    words: &[OsString],
) -> Result<Args, String> {
    let mut matches = parser
        .try_get_matches_from(words)
        .map_err(|error| sentence(&error, words))?;
    for flag in flags.chain([HELP]) {
        for value in matches.get_many::<String>(flag.long).into_iter().flatten() {
            let checked = flag.kind.check(value).and_then(|()| (flag.check)(value));
            checked.map_err(|reason| {
                format!(
                    "invalid argument {value:?} for \"{}\" flag: {reason}",
                    flag.names()
                )
            })?;
        }
    }
    let rest = matches
        .remove_many::<String>(ARGUMENTS)
        .map(Iterator::collect)
        .unwrap_or_default();
    Ok(Args { matches, rest })
}

fn sentence(error: &clap::Error, words: &[OsString]) -> String {
    let invalid = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let last = words.last().and_then(|w| w.to_str()).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument if invalid.starts_with("--") => {
            let name = invalid.split('=').next().unwrap_or(invalid);
            format!("unknown flag: {name}")
        }
        ErrorKind::UnknownArgument => {
            let letter = invalid
                .trim_start_matches('-')
                .chars()
                .next()
                .unwrap_or('-');
            let word = words
                .iter()
                .filter_map(|word| word.to_str())
                .find(|word| {
                    word.starts_with('-') && !word.starts_with("--") && word.contains(letter)
                })
                .unwrap_or(invalid);
            format!("unknown shorthand flag: '{letter}' in {word}")
        }
        // Only a flag at the end can lack its value: any word will do for one.
        ErrorKind::InvalidValue | ErrorKind::WrongNumberOfValues => match last.strip_prefix("--") {
            Some(name) => format!("flag needs an argument: --{name}"),
            None => format!(
                "flag needs an argument: '{}' in {last}",
                last.chars().next_back().unwrap_or('-')
            ),
        },
        ErrorKind::InvalidUtf8 => "the arguments are not all UTF-8".to_owned(),
        // A flag that stands alone was given a value by a word of its own.
        _ => {
            let text = error.to_string();
            let text = text.trim_start_matches("error: ");
            text.lines().next().unwrap_or("bad usage").to_owned()
        }
    }
}

impl Args {
    pub fn is_set(&self, long: &str) -> bool {
        self.text(long).and_then(parse_bool).unwrap_or(false)
    }

    /// A flag that is on unless it is turned off.
    pub fn is_set_or(&self, long: &str, default: bool) -> bool {
        self.text(long).and_then(parse_bool).unwrap_or(default)
    }

    /// Nothing, too, for a flag that the command does not have.
    pub fn text(&self, long: &str) -> Option<&str> {
        let value = self.matches.try_get_one::<String>(long).ok().flatten();
        value.map(String::as_str)
    }

    /// The value, if there is one and it is not empty.
    pub fn nonempty(&self, long: &str) -> Option<&str> {
        self.text(long).filter(|text| !text.is_empty())
    }

    pub fn string(&self, long: &str) -> String {
        self.text(long).unwrap_or_default().to_owned()
    }

    pub fn list(&self, long: &str) -> Vec<&str> {
        self.matches
            .get_many::<String>(long)
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect()
    }

    pub fn strings(&self, long: &str) -> Vec<String> {
        self.list(long).into_iter().map(str::to_owned).collect()
    }

    /// All the parts of a list whose values have commas in them.
    pub fn parts(&self, long: &str) -> Vec<String> {
        self.list(long)
            .into_iter()
            .filter(|text| !text.is_empty())
            // The parser has had the kind's check.
            .flat_map(|text| csv::fields(text).unwrap_or_default())
            .collect()
    }

    /// A list that is null when the flag was not given.
    pub fn some_strings(&self, long: &str) -> Option<Vec<String>> {
        Some(self.strings(long)).filter(|list| !list.is_empty())
    }

    pub fn int(&self, long: &str) -> Option<i64> {
        self.text(long).and_then(|text| text.parse().ok())
    }

    pub fn bytes(&self, long: &str) -> Option<i64> {
        match self.text(long)? {
            "-1" => Some(-1),
            text => units::parse_bytes(text).ok(),
        }
    }

    pub fn duration(&self, long: &str) -> Option<i64> {
        duration::parse(self.text(long)?).ok()
    }

    pub fn was_given(&self, long: &str) -> bool {
        self.text(long).is_some()
            && self.matches.value_source(long) == Some(ValueSource::CommandLine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [Flag; 5] = [
        Flag::new("interactive", Kind::Bool, "").short('i'),
        Flag::new("tty", Kind::Bool, "").short('t'),
        Flag::new("env", Kind::List, "").short('e'),
        Flag::new("memory", Kind::Bytes, "").short('m'),
        Flag::new("rm", Kind::Bool, ""),
    ];

    fn words(line: &[&str], flags_first: bool) -> Result<Args, String> {
        let words: Vec<OsString> = line.iter().map(OsString::from).collect();
        parse(
            parser("x", FLAGS.into_iter(), flags_first),
            FLAGS.into_iter(),
            &words,
        )
    }

    #[test]
    fn flags_come_together_apart_and_in_every_spelling() {
        let args = words(
            &[
                "-it",
                "-eA=1",
                "-e",
                "-b",
                "--env=C",
                "--rm=false",
                "-m64m",
                "box",
                "sh",
                "-c",
                "--",
                "-x",
            ],
            true,
        )
        .unwrap();
        assert!(args.is_set("interactive") && args.is_set("tty") && !args.is_set("rm"));
        assert!(args.was_given("rm") && !args.was_given("help"));
        assert_eq!(args.list("env"), ["A=1", "-b", "C"]);
        assert_eq!(args.bytes("memory"), Some(64 << 20));
        assert_eq!(args.rest, ["box", "sh", "-c", "--", "-x"]);
    }

    #[test]
    fn the_last_of_two_wins() {
        let args = words(&["-m", "1k", "--rm", "-m=2k", "--rm=0"], true).unwrap();
        assert_eq!(args.bytes("memory"), Some(2048));
        assert!(!args.is_set("rm"));
    }

    #[test]
    fn flags_may_follow_arguments_where_no_command_does() {
        let args = words(&["a", "--rm", "b", "-it"], false).unwrap();
        assert_eq!(args.rest, ["a", "b"]);
        assert!(args.is_set("rm") && args.is_set("tty"));
        let args = words(&["a", "--", "--rm"], false).unwrap();
        assert_eq!(args.rest, ["a", "--rm"]);
    }

    #[test]
    fn what_is_wrong_is_said_in_dockers_words() {
        for (line, sentence) in [
            (&["--foo"][..], "unknown flag: --foo"),
            (&["--foo=1"], "unknown flag: --foo"),
            (&["-zz"], "unknown shorthand flag: 'z' in -zz"),
            (&["-iz"], "unknown shorthand flag: 'z' in -iz"),
            (&["--memory"], "flag needs an argument: --memory"),
            (&["-m"], "flag needs an argument: 'm' in -m"),
            (&["-im"], "flag needs an argument: 'm' in -im"),
            (
                &["-m", "zz"],
                "invalid argument \"zz\" for \"-m, --memory\" flag: invalid size: 'zz'",
            ),
            (
                &["--rm=maybe"],
                "invalid argument \"maybe\" for \"--rm\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
        ] {
            assert_eq!(words(line, true).unwrap_err(), sentence, "{line:?}");
        }
    }
}
