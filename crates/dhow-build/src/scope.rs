//! Which variables there are where: ARG in front of stages and in them, the platforms, and what needs no ARG.
//!
//! What is before the first FROM is seen by FROM alone, and by a stage that repeats its name in an ARG. A stage sees its
//! base's environment, its ENV, and its ARG from there on. What whoever builds has given counts more than a default.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dhow_oci::Platform;

use crate::expand::{Env, Lex};
use crate::instructions::{Action, Arg, Dockerfile, Expander, Instruction};
use crate::parser::Pair;
use crate::problem::{LocatedProblem, Problem};

/// A stage may have so many variables; far fewer fit in what a process can be given.
const MOST: usize = 10_000;

/// What whoever builds has given: `--build-arg`.
pub type BuildArgs = BTreeMap<String, String>;

/// Arguments that no ARG needs to declare, besides the platforms', as they are about the builder or the way out.
pub const PREDEFINED: &[&str] = &[
    "ALL_PROXY",
    "BUILDKIT_BUILD_NAME",
    "BUILDKIT_CACHE_MOUNT_NS",
    "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
    "BUILDKIT_DOCKERFILE_CHECK",
    "BUILDKIT_HISTORY_PROVENANCE_V1",
    "BUILDKIT_INLINE_CACHE",
    "BUILDKIT_MULTI_PLATFORM",
    "BUILDKIT_SANDBOX_HOSTNAME",
    "BUILDKIT_SBOM_SCAN_CONTEXT",
    "BUILDKIT_SBOM_SCAN_STAGE",
    "BUILDKIT_SYNTAX",
    "FTP_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "SOURCE_DATE_EPOCH",
    "all_proxy",
    "ftp_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

const PROXIES: &[&str] = &[
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// Declared in a stage these say what is scanned, and are no part of its environment.
const NOT_IN_THE_ENVIRONMENT: &[&str] = &["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// The variables of a step's process that the proxy arguments make, in capitals and small letters. They are neither in
/// the image nor in its history, and the cache does not know them.
pub fn proxies(args: &BuildArgs) -> Env {
    let mut env = Env::default();
    for proxy in PROXIES {
        let given = args
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(proxy));
        for (_, value) in given {
            env.set(proxy, value);
            env.set(&proxy.to_lowercase(), value);
        }
    }
    env
}

fn too_many() -> Problem {
    Problem::TooMany {
        what: "variables in a stage",
        most: MOST,
    }
}

/// Where a build runs, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platforms {
    pub build: Platform,
    pub target: Platform,
}

impl Platforms {
    fn arguments(&self, stage: &str) -> [(&'static str, String); 11] {
        let Platforms { build, target } = self;
        [
            ("BUILDPLATFORM", build.to_string()),
            ("BUILDOS", build.os.clone()),
            ("BUILDOSVERSION", build.os_version.clone()),
            ("BUILDARCH", build.architecture.clone()),
            ("BUILDVARIANT", build.variant.clone()),
            ("TARGETPLATFORM", with_version(target)),
            ("TARGETOS", target.os.clone()),
            ("TARGETOSVERSION", target.os_version.clone()),
            ("TARGETARCH", target.architecture.clone()),
            ("TARGETVARIANT", target.variant.clone()),
            ("TARGETSTAGE", stage.to_owned()),
        ]
    }
}

/// `windows(10.0.17763)/amd64`.
fn with_version(platform: &Platform) -> String {
    let text = platform.to_string();
    match (platform.os_version.as_str(), text.split_once('/')) {
        ("", _) | (_, None) => text,
        (version, Some((os, rest))) => format!("{os}({version})/{rest}"),
    }
}

/// What FROM sees: the platforms, and ARG in front of the first FROM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Globals {
    pub env: Env,
    /// Those that an ARG has declared, with a value or without.
    pub declared: BTreeSet<String>,
}

impl Globals {
    pub fn new(
        dockerfile: &Dockerfile,
        platforms: &Platforms,
        target: usize,
        args: &BuildArgs,
    ) -> Result<Globals, LocatedProblem> {
        let name = dockerfile.stages[target].from.name.as_deref();
        let mut globals = Globals {
            env: Env::default(),
            declared: BTreeSet::new(),
        };
        for (name, value) in platforms.arguments(name.unwrap_or("default")) {
            globals.env.set(name, args.get(name).unwrap_or(&value));
        }
        let lex = Lex::new(dockerfile.escape);
        for instruction in &dockerfile.globals {
            if let Action::Arg(declared) = &instruction.action {
                globals
                    .declare(declared, lex, args)
                    .map_err(|problem| problem.at(instruction.lines))?;
            }
        }
        Ok(globals)
    }

    fn declare(&mut self, declared: &[Arg], lex: Lex, args: &BuildArgs) -> Result<(), Problem> {
        if self.declared.len() >= MOST {
            return Err(too_many());
        }
        for arg in declared {
            let value = match (args.get(&arg.name), &arg.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(lex.text(default, &self.env)?),
                (None, None) => None,
            };
            if let Some(value) = value {
                self.env.set(&arg.name, &value);
            }
            self.declared.insert(arg.name.clone());
        }
        Ok(())
    }
}

/// The variables of a stage, as its instructions are gone through one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub env: Env,
    /// What ARG has declared so far, here and in the stages that this one is based on, with its value then.
    pub args: Vec<(String, Option<String>)>,
    declared: BTreeSet<String>,
    lex: Lex,
}

impl Scope {
    /// With the environment of an image, or none.
    pub fn new(escape: char, env: Env) -> Scope {
        Scope {
            env,
            args: Vec::new(),
            declared: BTreeSet::new(),
            lex: Lex::new(escape),
        }
    }

    pub fn expander(&self) -> Expander<'_> {
        Expander::new(self.lex, &self.env)
    }

    pub fn is_declared(&self, name: &str) -> bool {
        self.declared.contains(name)
    }

    /// The instruction with its variables replaced, and the names of those that were not there. ENV and ARG count from
    /// the next instruction on, and the names within one ARG from the next name on.
    pub fn apply(
        &mut self,
        instruction: &Instruction,
        globals: &Globals,
        args: &BuildArgs,
    ) -> Result<(Action, BTreeSet<String>), LocatedProblem> {
        let located = |problem: Problem| problem.at(instruction.lines);
        if self.env.len().max(self.args.len()) >= MOST {
            return Err(located(too_many()));
        }
        if let Action::Arg(declared) = &instruction.action {
            let unset = self.declare(declared, globals, args).map_err(located)?;
            return Ok((instruction.action.clone(), unset));
        }
        let mut expander = self.expander();
        let expanded = instruction.action.expanded(&mut expander);
        let mut unset = expander.unset;
        unset.retain(|name| !self.is_declared(name));
        let action = expanded.map_err(located)?;
        if let Action::Env(pairs) = &action {
            for Pair { name, value, .. } in pairs {
                self.env.set(name, value);
            }
        }
        Ok((action, unset))
    }

    fn declare(
        &mut self,
        declared: &[Arg],
        globals: &Globals,
        args: &BuildArgs,
    ) -> Result<BTreeSet<String>, Problem> {
        let mut all_unset = BTreeSet::new();
        for arg in declared {
            let value = match (args.get(&arg.name), &arg.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => {
                    let expansion = self.lex.expand(default, &self.env)?;
                    let unset = expansion.unset.into_iter();
                    all_unset.extend(unset.filter(|name| !self.is_declared(name)));
                    Some(expansion.text)
                }
                (None, None) => globals.env.get(&arg.name).map(str::to_owned),
            };
            if let Some(value) = &value
                && !NOT_IN_THE_ENVIRONMENT.contains(&arg.name.as_str())
            {
                self.env.set(&arg.name, value);
            }
            self.declared.insert(arg.name.clone());
            self.args.push((arg.name.clone(), value));
        }
        Ok(all_unset)
    }

    /// `|2 A=1 B=2`, which the history has in front of a RUN, each argument once with its present value. Nothing where
    /// no ARG was declared.
    pub fn history(&self) -> Vec<String> {
        let mut pairs: Vec<String> = Vec::new();
        let mut places = HashMap::new();
        for (name, then) in &self.args {
            let value = self.env.get(name).or(then.as_deref()).unwrap_or_default();
            let pair = format!("{name}={value}");
            match places.get(name) {
                Some(place) => pairs[*place] = pair,
                None => {
                    places.insert(name, pairs.len());
                    pairs.push(pair);
                }
            }
        }
        let count = (!pairs.is_empty()).then(|| format!("|{}", pairs.len()));
        count.into_iter().chain(pairs).collect()
    }
}

#[cfg(test)]
mod tests;
