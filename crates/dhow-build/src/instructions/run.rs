//! RUN, CMD and ENTRYPOINT: commands.

use crate::parser::{Heredoc, Statement, heredoc_of_word};
use crate::problem::Problem;
use crate::suggest::closest;
use crate::text::{boolean, quoted};

use super::expand::Expander;
use super::flags::{Flags, Kind};
use super::mount::{Mount, MountSpec};
use super::{Words, csv};

/// A command as an instruction has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A JSON array: what is executed, as it stands.
    Exec(Vec<String>),
    /// A text for the shell.
    Shell(String),
}

impl Command {
    pub(super) fn of(words: Words) -> Command {
        match words.json {
            true => Command::Exec(words.words),
            false => Command::Shell(words.words.join(" ")),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub command: Command,
    pub heredocs: Vec<Heredoc>,
    pub mounts: Vec<MountSpec>,
    pub network: Network,
    pub security: Security,
    pub devices: Vec<Device>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    #[default]
    Default,
    None,
    Host,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    #[default]
    Sandbox,
    Insecure,
}

/// A device of the Container Device Interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    pub name: String,
    pub required: bool,
}

/// What is to be executed, the heredocs put in their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    Exec(Vec<String>),
    Shell(String),
    /// A file that is to be executed, under this name: it begins with `#!`.
    File {
        name: String,
        content: Vec<u8>,
    },
}

impl Run {
    pub(super) fn parse(statement: &Statement, words: Words) -> Result<Run, Problem> {
        let known = [
            ("mount", Kind::Texts),
            ("network", Kind::Text),
            ("security", Kind::Text),
            ("device", Kind::Texts),
        ];
        let flags = Flags::parse(&statement.flags, &known)?;
        // The order in which BuildKit checks them, which decides what is said first.
        let devices = flags.texts("device");
        let devices = devices.iter().map(|text| Device::parse(text));
        let devices = devices.collect::<Result<_, _>>()?;
        let mounts = flags.texts("mount");
        let mounts = mounts.iter().map(|text| MountSpec::parse(text));
        Ok(Run {
            devices,
            mounts: mounts.collect::<Result<_, _>>()?,
            network: match flags.text("network") {
                None | Some("default") => Network::Default,
                Some("none") => Network::None,
                Some("host") => Network::Host,
                Some(other) => {
                    let message = format!("invalid network mode {}", quoted(other));
                    return Err(Problem::Arguments(message));
                }
            },
            security: match flags.text("security") {
                None | Some("sandbox") => Security::Sandbox,
                Some("insecure") => Security::Insecure,
                Some(other) => {
                    let message = format!("security {} is not valid", quoted(other));
                    return Err(Problem::Arguments(message));
                }
            },
            command: Command::of(words),
            heredocs: statement.heredocs.clone(),
        })
    }

    pub fn mounts(&self, expander: &mut Expander) -> Result<Vec<Mount>, Problem> {
        let mounts = self.mounts.iter().map(|mount| mount.resolve(expander));
        mounts.collect()
    }

    /// A single heredoc is a script for the shell, or a program if it begins with `#!`; else the shell reads heredocs
    /// itself.
    pub fn script(&self) -> Script {
        let text = match &self.command {
            Command::Exec(words) => return Script::Exec(words.clone()),
            Command::Shell(text) => text,
        };
        let Some(first) = self.heredocs.first() else {
            return Script::Shell(text.clone());
        };
        if let Ok(Some(_)) = heredoc_of_word(text) {
            let content = first.chomped();
            if content.starts_with(b"#!") {
                let name = first.name.clone();
                return Script::File { name, content };
            }
            return Script::Shell(String::from_utf8_lossy(&content).into_owned());
        }
        let mut script = text.clone();
        for heredoc in &self.heredocs {
            script.push('\n');
            script.push_str(&String::from_utf8_lossy(&heredoc.content));
            script.push_str(&heredoc.name);
        }
        Script::Shell(script)
    }
}

impl Device {
    fn parse(text: &str) -> Result<Device, Problem> {
        let refused = |message: String| Err(Problem::Arguments(message));
        let fields = match csv::fields(text) {
            Ok(fields) => fields,
            Err(e) => return refused(format!("failed to parse csv devices: {e}")),
        };
        let mut device = Device::default();
        for field in fields {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(value)),
                None => (field.to_lowercase(), None),
            };
            match (key.as_str(), value) {
                ("required", None) => device.required = true,
                ("required", Some(value)) => match boolean(value) {
                    Some(required) => device.required = required,
                    None => return refused(format!("invalid value for {key}: {value}")),
                },
                ("name", Some(value)) if device.name.is_empty() => {
                    value.clone_into(&mut device.name)
                }
                ("name", Some(_)) => {
                    return refused(format!("device name already set to {}", device.name));
                }
                // A device's name may have an equals sign.
                _ if device.name.is_empty() => device.name = field,
                (_, None) => {
                    return refused(format!("invalid field '{field}' must be a key=value pair"));
                }
                (key, Some(_)) => {
                    let hint = closest(key, ["name", "required"]);
                    return refused(format!("unexpected key '{key}' in '{field}'{hint}"));
                }
            }
        }
        Ok(device)
    }
}
