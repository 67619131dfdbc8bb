//! Where a command line has come to: read as the parser reads it, but forgiving, as it is not finished.

use crate::command::Command;
use crate::commands::{COMMANDS, GLOBAL, GROUPS};
use crate::flags::{Flag, HELP, Kind};

#[derive(Clone, Copy)]
pub enum Place {
    Top,
    Group(&'static str),
    Command(&'static Command),
    /// After a name that is none.
    Nowhere,
}

pub struct Walk {
    pub place: Place,
    /// How many of the words are in front of the command.
    pub globals: usize,
    /// The flag whose value is next.
    pub awaits: Option<Flag>,
    /// Whether what begins with a dash is an argument now.
    pub flags_ended: bool,
    /// What the command was given so far.
    pub arguments: Vec<String>,
    /// Values of flags, by their long names.
    pub values: Vec<(&'static str, String)>,
}

impl Walk {
    pub fn of(words: &[String]) -> Walk {
        let mut walk = Walk {
            place: Place::Top,
            globals: 0,
            awaits: None,
            flags_ended: false,
            arguments: Vec::new(),
            values: Vec::new(),
        };
        for word in words {
            walk.step(word);
            if matches!(walk.place, Place::Top) {
                walk.globals += 1;
            }
        }
        walk
    }

    fn step(&mut self, word: &str) {
        if let Some(flag) = self.awaits.take() {
            self.values.push((flag.long, word.to_owned()));
        } else if self.flags_ended || !word.starts_with('-') || word == "-" {
            self.argument(word);
        } else if word == "--" {
            self.flags_ended = true;
        } else if let Some(name) = word.strip_prefix("--") {
            match name.split_once('=') {
                Some((name, value)) => {
                    if let Some(flag) = self.flag(name) {
                        self.values.push((flag.long, value.to_owned()));
                    }
                }
                None => self.awaits = self.flag(name).filter(takes_value),
            }
        } else {
            let mut letters = word[1..].chars();
            while let Some(letter) = letters.next() {
                let found = self.flags().find(|flag| flag.short == Some(letter));
                if let Some(flag) = found.filter(takes_value) {
                    match letters.as_str() {
                        "" => self.awaits = Some(flag),
                        value => self.values.push((flag.long, value.to_owned())),
                    }
                    return;
                }
            }
        }
    }

    fn argument(&mut self, word: &str) {
        let named = |path: &str| {
            COMMANDS
                .iter()
                .find(|command| command.names().any(|name| name == path))
        };
        match self.place {
            Place::Top => {
                self.place = match GROUPS.iter().find(|group| group.name == word) {
                    Some(group) => Place::Group(group.name),
                    None => named(word).map_or(Place::Nowhere, Place::Command),
                };
            }
            Place::Group(group) => {
                self.place =
                    named(&format!("{group} {word}")).map_or(Place::Nowhere, Place::Command);
            }
            Place::Command(command) => {
                self.flags_ended |= command.flags_first;
                self.arguments.push(word.to_owned());
            }
            Place::Nowhere => {}
        }
    }

    /// The flags that may stand here.
    pub fn flags(&self) -> impl Iterator<Item = Flag> {
        let (own, global): (&[&[Flag]], &[Flag]) = match self.place {
            Place::Top => (&[], GLOBAL),
            Place::Command(command) => (command.flags, &[]),
            Place::Group(_) | Place::Nowhere => (&[], &[]),
        };
        own.iter()
            .copied()
            .flatten()
            .chain(global)
            .copied()
            .chain([HELP])
    }

    pub fn flag(&self, long: &str) -> Option<Flag> {
        self.flags()
            .find(|flag| flag.long == long || flag.older.contains(&long))
    }

    /// The last value that a flag was given.
    pub fn value(&self, long: &str) -> Option<&str> {
        let mut given = self.values.iter().rev();
        given
            .find(|(name, _)| *name == long)
            .map(|(_, value)| value.as_str())
    }
}

fn takes_value(flag: &Flag) -> bool {
    flag.kind != Kind::Bool
}
