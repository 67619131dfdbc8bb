//! Completion: what may follow the words that were typed, from the tables that make the parser.
//!
//! The shells' scripts call `dhow __complete WORD... LAST`, in the protocol of cobra's programs, Docker's client
//! among them: a candidate a line, perhaps with a tab and a description, then `:` and a number that says what
//! else the shell may do. So Docker's own scripts complete this program, too, where it is called `docker`.
//! Whatever goes wrong is silent, and no daemon is started.

mod names;
mod script;
mod values;
mod walk;

use std::ffi::OsString;
use std::time::Duration;

use crate::commands::{FACES, GLOBAL, GROUPS, help};
use crate::config;
use crate::contexts::Store;
use crate::flags::{self, Args};
use crate::session::Session;
use crate::stdio;

use self::walk::{Place, Walk};

pub use self::script::script;

/// The words that ask for candidates, with descriptions and without.
pub const ASKS: [&str; 2] = ["__complete", "__completeNoDesc"];

/// A daemon that takes longer has no names to tell.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the shell may do besides; the numbers are cobra's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Complete files if there are no candidates.
    Files = 0,
    Nothing = 4,
    /// Not even a space behind the candidate.
    NoSpaceNothing = 6,
    Directories = 16,
}

/// Something that may stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    text: String,
    about: &'static str,
}

fn plain(text: impl Into<String>) -> Candidate {
    Candidate {
        text: text.into(),
        about: "",
    }
}

/// Whose names are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// Of containers in one of these states, or in any.
    Containers(&'static [&'static str]),
    /// Of containers that are on the network that was named, or that are not.
    Members(bool),
    Images,
    Networks,
    Volumes,
    Contexts,
    /// Of containers, images, networks and volumes.
    Objects,
}

/// What may stand at a place.
enum Choices {
    Fixed(Vec<Candidate>, Then),
    Live(Names),
}

/// Prints the candidates for the last of these words; gives the exit status.
pub fn run(program: &str, words: &[OsString]) -> u8 {
    let descriptions = words.first().is_some_and(|word| word == ASKS[0]);
    let words: Vec<String> = words[1..]
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let Some((last, before)) = words.split_last() else {
        return 1;
    };
    let walk = Walk::of(before);
    let (choices, typed) = choices(&walk, last);
    let (mut candidates, then) = match choices {
        Choices::Fixed(candidates, then) => (candidates, then),
        Choices::Live(names) => (live(program, &walk, names, before), Then::Nothing),
    };
    candidates.retain(|candidate| candidate.text.starts_with(typed));
    let mut out = String::new();
    for candidate in &candidates {
        out.push_str(&candidate.text);
        if descriptions && !candidate.about.is_empty() {
            out.push('\t');
            out.push_str(candidate.about);
        }
        out.push('\n');
    }
    out.push_str(&format!(":{}\n", then as u8));
    match stdio::print(&out) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

/// What may stand where the last word does, and how much of it is typed.
fn choices<'a>(walk: &Walk, last: &'a str) -> (Choices, &'a str) {
    if let Some(flag) = walk.awaits {
        return (values::of_flag(walk, &flag), last);
    }
    if !walk.flags_ended && last.starts_with('-') {
        if let Some((name, value)) = last.split_once('=')
            && let Some(flag) = walk.flag(name.trim_start_matches('-'))
        {
            return (values::of_flag(walk, &flag), value);
        }
        let flags = walk.flags().map(|flag| Candidate {
            text: format!("--{}", flag.long),
            about: flag.help,
        });
        let short = walk.flags().filter_map(|flag| {
            Some(Candidate {
                text: format!("-{}", flag.short?),
                about: flag.help,
            })
        });
        // The letters only where nothing more was typed.
        let mut all: Vec<Candidate> = flags.collect();
        if last == "-" {
            all.extend(short);
        }
        all.sort_by(|a, b| a.text.cmp(&b.text));
        return (Choices::Fixed(all, Then::Nothing), last);
    }
    let choices = match walk.place {
        Place::Top => {
            let mut all = help::beneath("");
            all.extend(GROUPS.iter().map(|g| (g.name, g.about)));
            all.extend(FACES.iter().map(|f| (f.name, f.about)));
            all.sort_unstable();
            named(all)
        }
        Place::Group(group) => named(help::beneath(group)),
        Place::Command(command) => values::of_argument(walk, command),
        Place::Nowhere => Choices::Fixed(Vec::new(), Then::Files),
    };
    (choices, last)
}

fn named(all: Vec<(&'static str, &'static str)>) -> Choices {
    let candidates = all.into_iter().map(|(name, about)| Candidate {
        text: name.to_owned(),
        about,
    });
    Choices::Fixed(candidates.collect(), Then::Nothing)
}

/// The names of things that there are now, but for those that stand there already.
fn live(program: &str, walk: &Walk, names: Names, before: &[String]) -> Vec<Candidate> {
    let mut found = find(program, walk, names, before).unwrap_or_default();
    found.retain(|name| !walk.arguments.contains(name));
    found.into_iter().map(plain).collect()
}

fn find(program: &str, walk: &Walk, names: Names, before: &[String]) -> Option<Vec<String>> {
    // A flag that is waiting for its value says nothing yet.
    let waits = usize::from(walk.awaits.is_some() && matches!(walk.place, Place::Top));
    let globals = globals(&before[..walk.globals - waits])?;
    if names == Names::Contexts {
        let directory = config::directory(globals.nonempty("config"));
        return names::contexts(&Store::new(&directory));
    }
    let session = Session::new(program.to_owned(), &globals).ok()?;
    let client = session.client_as_is().ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let found = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, names::ask(client, names, walk.arguments.first()))
            .await
            .ok()
            .flatten()
    });
    runtime.shutdown_background();
    found
}

/// The flags in front of the command, which say whose daemon is asked.
fn globals(words: &[String]) -> Option<Args> {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    let parser = flags::parser("dhow", GLOBAL.iter().copied(), true);
    flags::parse(parser, GLOBAL.iter().copied(), &words).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::COMMANDS;

    /// The candidates that need no daemon.
    fn fixed(line: &str) -> (Vec<String>, Then) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (last, before) = words.split_last().unwrap();
        let walk = Walk::of(before);
        match choices(&walk, last) {
            (Choices::Fixed(all, then), typed) => (
                all.into_iter()
                    .map(|candidate| candidate.text)
                    .filter(|text| text.starts_with(typed))
                    .collect(),
                then,
            ),
            (Choices::Live(names), _) => (vec![format!("{names:?}")], Then::Nothing),
        }
    }

    #[test]
    fn what_follows_is_told_by_the_tables() {
        for (line, expected) in [
            ("ver", &["version"][..]),
            ("context u", &["update", "use"]),
            ("-H x:1 context sh", &["show"]),
            ("--debug netw", &["network"]),
            ("run --inter", &["--interactive"]),
            ("run --restart=on", &["on-failure"]),
            ("run --restart un", &["unless-stopped"]),
            ("run -it --pull ", &["always", "missing", "never"]),
            ("run --network ", &["Networks"]),
            ("run --net ", &["Networks"]),
            ("network connect ", &["Networks"]),
            ("network connect a ", &["Members(false)"]),
            ("network disconnect -f a ", &["Members(true)"]),
            ("network disconnect a b ", &[]),
            ("network create --driver i", &["ipvlan"]),
            ("network graph --format s", &["svg"]),
            ("run ", &["Images"]),
            ("run -v /a:/b --rm ", &["Images"]),
            ("run busybox --he", &[]),
            ("run --rm=false -e A -- --he", &["Images"]),
            ("stop ", &[r#"Containers(["running", "restarting"])"#]),
            ("container rm a ", &["Containers([])"]),
            ("rename ", &["Containers([])"]),
            ("rename a ", &[]),
            ("rmi ", &["Images"]),
            ("volume rm ", &["Volumes"]),
            ("-c ", &["Contexts"]),
            ("context use ", &["Contexts"]),
            ("inspect ", &["Objects"]),
            ("inspect --type vol", &["volume"]),
            ("inspect --type volume ", &["Volumes"]),
            ("system dial", &[]),
            ("__co", &[]),
            ("completion ", &["bash", "zsh", "fish", "powershell"]),
            ("no-such-command ", &[]),
            ("ps a", &[]),
        ] {
            assert_eq!(fixed(line).0, expected, "{line}");
        }
        assert_eq!(fixed("run --env-file x").1, Then::Files);
        assert_eq!(fixed("load -i ").1, Then::Files);
        assert_eq!(fixed("ps ").1, Then::Nothing);
        assert_eq!(fixed("exec a ").1, Then::Files);
        assert!(fixed("run -").0.contains(&"-d".to_owned()));
    }

    #[test]
    fn every_group_and_command_can_be_completed() {
        for command in COMMANDS {
            let walk = Walk::of(&[command.paths[0].to_owned()]);
            let _ = choices(&walk, "");
            for flag in command.flags() {
                let _ = values::of_flag(&walk, &flag);
            }
        }
        for group in GROUPS {
            assert!(!fixed(&format!("{} ", group.name)).0.is_empty());
        }
    }
}
