//! Which parts of instructions have their variables replaced.
//!
//! ENV, LABEL, USER, WORKDIR, VOLUME, STOPSIGNAL, EXPOSE; of COPY and ADD the paths, the owner, the mode, the checksum
//! and the content of files; of RUN the mounts alone, as its shell reads the rest. ARG has rules of its own
//! ([`crate::scope`]).

use std::collections::BTreeSet;

use crate::expand::{Env, ExpandError, Lex};
use crate::parser::Pair;
use crate::problem::Problem;

use super::expose::{self, Exposed};
use super::{Action, Add, Copy, Sources};

/// Replaces variables, and remembers which of them were not there.
#[derive(Debug)]
pub struct Expander<'a> {
    lex: Lex,
    env: &'a Env,
    pub unset: BTreeSet<String>,
}

impl<'a> Expander<'a> {
    pub fn new(lex: Lex, env: &'a Env) -> Expander<'a> {
        Expander {
            lex,
            env,
            unset: BTreeSet::new(),
        }
    }

    pub fn word(&mut self, word: &str) -> Result<String, ExpandError> {
        self.with(self.lex, word)
    }

    fn with(&mut self, lex: Lex, word: &str) -> Result<String, ExpandError> {
        let expansion = lex.expand(word, self.env)?;
        self.unset.extend(expansion.unset);
        Ok(expansion.text)
    }

    fn words(&mut self, words: &[String]) -> Result<Vec<String>, ExpandError> {
        words.iter().map(|word| self.word(word)).collect()
    }

    fn pairs(&mut self, pairs: &[Pair]) -> Result<Vec<Pair>, ExpandError> {
        let pair = |pair: &Pair| {
            Ok(Pair {
                name: self.word(&pair.name)?,
                value: self.word(&pair.value)?,
                legacy: pair.legacy,
            })
        };
        pairs.iter().map(pair).collect()
    }

    fn sources(&mut self, sources: &Sources) -> Result<Sources, ExpandError> {
        let mut sources = Sources {
            paths: self.words(&sources.paths)?,
            destination: self.word(&sources.destination)?,
            inline: sources.inline.clone(),
        };
        for file in sources.inline.iter_mut().filter(|file| file.expands) {
            let content = String::from_utf8_lossy(&file.content);
            let expanded = self.with(Lex::for_content(), &content)?;
            file.content = expanded.into_bytes();
        }
        Ok(sources)
    }

    /// The ports of EXPOSE: a variable may hold several.
    pub fn ports(&self, words: &[String]) -> Result<Vec<(String, Exposed)>, Problem> {
        let mut ports = Vec::new();
        for word in words {
            for word in self.lex.words(word, self.env)? {
                let exposed = expose::parse(&word)?;
                ports.push((word, exposed));
            }
        }
        Ok(ports)
    }
}

impl Action {
    /// The same with the variables' values. Mounts of RUN and ports of EXPOSE are left to [`super::Run::mounts`] and
    /// [`Expander::ports`], which make other types of them.
    pub fn expanded(&self, expander: &mut Expander) -> Result<Action, Problem> {
        Ok(match self {
            Action::Add(add) => Action::Add(Add {
                chown: expander.word(&add.chown)?,
                chmod: expander.word(&add.chmod)?,
                checksum: expander.word(&add.checksum)?,
                sources: expander.sources(&add.sources)?,
                ..add.clone()
            }),
            Action::Copy(copy) => Action::Copy(Copy {
                chown: expander.word(&copy.chown)?,
                chmod: expander.word(&copy.chmod)?,
                sources: expander.sources(&copy.sources)?,
                ..copy.clone()
            }),
            Action::Env(pairs) => Action::Env(expander.pairs(pairs)?),
            Action::Label(pairs) => Action::Label(expander.pairs(pairs)?),
            Action::StopSignal(signal) => Action::StopSignal(expander.word(signal)?),
            Action::User(user) => Action::User(expander.word(user)?),
            Action::Volume(paths) => {
                let paths = expander.words(paths)?;
                if paths.iter().any(String::is_empty) {
                    return Err(Problem::arguments(
                        "VOLUME specified can not be an empty string",
                    ));
                }
                Action::Volume(paths)
            }
            Action::Workdir(path) => Action::Workdir(expander.word(path)?),
            Action::Arg(_)
            | Action::Cmd(_)
            | Action::Entrypoint(_)
            | Action::Expose(_)
            | Action::Healthcheck(_)
            | Action::Maintainer(_)
            | Action::Onbuild(_)
            | Action::Run(_)
            | Action::Shell(_) => self.clone(),
        })
    }
}
