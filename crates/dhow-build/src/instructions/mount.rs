//! `RUN --mount=type=...`: read when its variables have values, as any of its parts may have some.

use dhow_archive::words;

use crate::problem::Problem;
use crate::suggest::closest;
use crate::text::{boolean, quoted};

use super::expand::Expander;
use super::{bytes, csv};

/// A mount as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountSpec {
    fields: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// A directory or file of the context, a stage or an image.
    Bind {
        from: Option<String>,
        source: String,
        target: String,
        /// What is written is thrown away where it is not.
        read_only: bool,
    },
    Cache {
        id: String,
        sharing: Sharing,
        /// What an empty one begins with.
        from: Option<String>,
        source: String,
        target: String,
        read_only: bool,
        owner: Owner,
    },
    Tmpfs {
        target: String,
        read_only: bool,
        /// In bytes; 0 is no limit.
        size: u64,
    },
    Secret {
        id: String,
        /// A file, if it is to be one.
        target: Option<String>,
        /// A variable, if it is to be one.
        env: Option<String>,
        required: bool,
        owner: Owner,
    },
    Ssh {
        id: String,
        /// Where the socket is to be; the engine chooses a place if nothing is said.
        target: Option<String>,
        required: bool,
        owner: Owner,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    #[default]
    Shared,
    Private,
    Locked,
}

/// Whose a mount is; what is not said is the type's own default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mode: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

const KINDS: [(&str, Kind); 5] = [
    ("bind", Kind::Bind),
    ("cache", Kind::Cache),
    ("tmpfs", Kind::Tmpfs),
    ("secret", Kind::Secret),
    ("ssh", Kind::Ssh),
];

const MODES: [(&str, Sharing); 3] = [
    ("shared", Sharing::Shared),
    ("private", Sharing::Private),
    ("locked", Sharing::Locked),
];

const KEYS: &[&str] = &[
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

impl Kind {
    fn name(self) -> &'static str {
        let found = KINDS.iter().find(|(_, kind)| *kind == self);
        found.map_or("", |(name, _)| name)
    }
}

impl MountSpec {
    /// Checks what can be checked without variables.
    pub(super) fn parse(text: &str) -> Result<MountSpec, Problem> {
        let fields =
            csv::fields(text).map_err(|e| refused(format!("failed to parse csv mounts: {e}")))?;
        let spec = MountSpec { fields };
        let is_variable = |from: &str| from.find('$').is_some_and(|at| at + 1 != from.len());
        if spec.froms().any(is_variable) {
            let message = "'from' doesn't support variable expansion, define alias stage instead";
            return Err(refused(message));
        }
        Ok(spec)
    }

    fn froms(&self) -> impl Iterator<Item = &str> {
        let pairs = self.fields.iter().filter_map(|field| field.split_once('='));
        let froms = pairs.filter(|(key, _)| key.eq_ignore_ascii_case("from"));
        froms.map(|(_, from)| from)
    }

    /// The stage, context or image that it is of, which no variable can say.
    pub fn from(&self) -> Option<&str> {
        self.froms().last().filter(|from| !from.is_empty())
    }

    pub fn resolve(&self, expander: &mut Expander) -> Result<Mount, Problem> {
        let mut draft = Draft::default();
        for field in &self.fields {
            match field.split_once('=') {
                Some((key, value)) => {
                    let value = expander.word(value)?;
                    draft.pair(&key.to_lowercase(), value, field)?;
                }
                None => draft.word(&field.to_lowercase(), field)?,
            }
        }
        draft.mount()
    }
}

fn refused(message: impl Into<String>) -> Problem {
    Problem::Arguments(message.into())
}

/// What has been said so far.
#[derive(Default)]
struct Draft {
    kind: Option<Kind>,
    from: String,
    source: String,
    target: String,
    read_only: Option<bool>,
    size: u64,
    id: String,
    sharing: Option<Sharing>,
    required: bool,
    env: Option<String>,
    owner: Owner,
}

impl Draft {
    fn kind(&self) -> Kind {
        self.kind.unwrap_or(Kind::Bind)
    }

    fn word(&mut self, key: &str, field: &str) -> Result<(), Problem> {
        match key {
            "readonly" | "ro" => self.read_only = Some(true),
            "readwrite" | "rw" => self.read_only = Some(false),
            "required" => self
                .only(key, &[Kind::Secret, Kind::Ssh])
                .map(|()| self.required = true)?,
            _ => {
                return Err(refused(format!(
                    "invalid field '{field}' must be a key=value pair"
                )));
            }
        }
        Ok(())
    }

    fn pair(&mut self, key: &str, value: String, field: &str) -> Result<(), Problem> {
        let invalid = || refused(format!("invalid value for {key}: {value}"));
        let truth = || boolean(&value).ok_or_else(invalid);
        let number = |radix| {
            let plain = !value.starts_with('+');
            let number = u32::from_str_radix(&value, radix).ok().filter(|_| plain);
            number.ok_or_else(|| refused(format!("invalid value {value} for {key}")))
        };
        match key {
            "type" => self.kind = Some(one_of(&KINDS, &value, "unsupported mount type")?),
            "from" => self.from = value,
            "source" | "src" => self.source = value,
            "target" | "dst" | "destination" => self.target = value,
            "readonly" | "ro" => self.read_only = Some(truth()?),
            "readwrite" | "rw" => self.read_only = Some(!truth()?),
            "required" => {
                self.only(key, &[Kind::Secret, Kind::Ssh])?;
                self.required = truth()?;
            }
            "size" => {
                self.only(key, &[Kind::Tmpfs])?;
                self.size = bytes::parse(&value).ok_or_else(invalid)?;
            }
            "id" => self.id = value,
            "sharing" => {
                self.sharing = Some(one_of(&MODES, &value, "unsupported sharing value")?);
            }
            "mode" => self.owner.mode = Some(number(8)?),
            "uid" => self.owner.uid = Some(number(10)?),
            "gid" => self.owner.gid = Some(number(10)?),
            "env" => self.env = Some(value),
            _ => {
                let hint = closest(key, KEYS.iter().copied());
                return Err(refused(format!(
                    "unexpected key '{key}' in '{field}'{hint}"
                )));
            }
        }
        Ok(())
    }

    fn only(&self, key: &str, kinds: &[Kind]) -> Result<(), Problem> {
        if kinds.contains(&self.kind()) {
            return Ok(());
        }
        let kind = self.kind().name();
        Err(refused(format!(
            "unexpected key '{key}' for mount type '{kind}'"
        )))
    }

    fn mount(self) -> Result<Mount, Problem> {
        let kind = self.kind();
        if matches!(kind, Kind::Bind | Kind::Tmpfs) {
            let Owner { uid, gid, mode } = self.owner;
            for (what, said) in [("mode", mode), ("uid", uid), ("gid", gid)] {
                if said.is_some() {
                    let kind = quoted(kind.name());
                    return Err(refused(format!(
                        "{what} not allowed for {kind} type mounts"
                    )));
                }
            }
        }
        if kind == Kind::Secret {
            self.secret_fits()?;
        }
        if self.sharing.is_some() && kind != Kind::Cache {
            let kind = kind.name();
            return Err(refused(format!(
                "invalid cache sharing set for {kind} mount"
            )));
        }
        if kind == Kind::Ssh && !self.source.is_empty() {
            return Err(refused("ssh does not support source"));
        }
        let said = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(match kind {
            Kind::Bind => Mount::Bind {
                from: said(self.from),
                source: self.source,
                target: self.target,
                read_only: self.read_only.unwrap_or(true),
            },
            Kind::Cache => Mount::Cache {
                id: said(self.id).unwrap_or_else(|| words::clean(&self.target)),
                sharing: self.sharing.unwrap_or_default(),
                from: said(self.from),
                source: self.source,
                target: self.target,
                read_only: self.read_only.unwrap_or(false),
                owner: self.owner,
            },
            Kind::Tmpfs => Mount::Tmpfs {
                target: self.target,
                read_only: self.read_only.unwrap_or(false),
                size: self.size,
            },
            Kind::Secret => {
                let named = said(self.source).or(said(self.id));
                let id = named.unwrap_or_else(|| words::base(&self.target).to_owned());
                let file = || format!("/run/secrets/{}", words::base(&id));
                Mount::Secret {
                    target: match &self.env {
                        Some(_) => said(self.target),
                        None => said(self.target).or_else(|| Some(file())),
                    },
                    env: self.env.map(|env| said(env).unwrap_or_else(|| id.clone())),
                    id,
                    required: self.required,
                    owner: self.owner,
                }
            }
            Kind::Ssh => Mount::Ssh {
                id: said(self.id).unwrap_or_else(|| "default".to_owned()),
                target: said(self.target),
                required: self.required,
                owner: self.owner,
            },
        })
    }

    fn secret_fits(&self) -> Result<(), Problem> {
        let message = if !self.from.is_empty() {
            "secret mount should not have a from"
        } else if self.sharing.is_some() {
            "secret mount should not define sharing"
        } else if self.source.is_empty() && self.target.is_empty() && self.id.is_empty() {
            "invalid secret mount. one of source, target required"
        } else if !self.source.is_empty() && !self.id.is_empty() {
            "both source and id can't be set"
        } else {
            return Ok(());
        };
        Err(refused(message))
    }
}

fn one_of<T: Copy>(known: &[(&str, T)], value: &str, what: &str) -> Result<T, Problem> {
    let lower = value.to_lowercase();
    let found = known.iter().find(|(name, _)| *name == lower);
    found.map(|(_, found)| *found).ok_or_else(|| {
        let hint = closest(value, known.iter().map(|(name, _)| *name));
        refused(format!("{what} {}{hint}", quoted(value)))
    })
}

#[cfg(test)]
mod tests;
