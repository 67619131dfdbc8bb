//! The build checks: what a Dockerfile may say and better should not, by Docker's rule names.
//!
//! They go through a file as a build does, with the values that a build would have, and find what they can before a
//! mistake ends it.

mod policy;
mod rule;
mod stages;
mod written;

use std::collections::BTreeSet;

use dhow_oci::RunConfig;

pub use policy::Policy;
pub use rule::Rule;

use crate::ignore::Ignore;
use crate::instructions::Dockerfile;
use crate::parser::{self, Document};
use crate::problem::{LocatedProblem, Problem};
use crate::scope::{BuildArgs, Platforms};
use crate::source::{Lines, excerpt};

/// The build argument that counts more than the file's own `# check=`.
pub const POLICY_ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub rule: Rule,
    pub message: String,
    pub lines: Lines,
}

impl Warning {
    /// As `docker build --check` shows it.
    pub fn show(&self, file: &str, content: &[u8]) -> String {
        let Warning { rule, message, .. } = self;
        let url = rule.url();
        let url = if url.is_empty() {
            url
        } else {
            format!(" - {url}")
        };
        let lines = excerpt(file, content, self.lines);
        format!("WARNING: {}{url}\n{message}\n{lines}", rule.name())
    }
}

/// What a build would know.
pub struct Input<'a> {
    pub platforms: &'a Platforms,
    pub args: &'a BuildArgs,
    /// The stage that is to be built, with what it needs; all where none is said.
    pub target: Option<&'a str>,
    pub ignore: Option<&'a Ignore>,
    /// The configuration of an image that a stage is based on, if it is known. Without it nothing is said of variables
    /// that the image could have.
    pub image: &'a dyn Fn(&str) -> Option<RunConfig>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By lines.
    pub warnings: Vec<Warning>,
    /// What keeps the file from being built; with `error=true` that there are warnings.
    pub error: Option<LocatedProblem>,
}

pub fn check(content: &[u8], input: &Input) -> Report {
    let document = match parser::parse(content) {
        Ok(document) => document,
        Err(error) => {
            return Report {
                warnings: Vec::new(),
                error: Some(error),
            };
        }
    };
    let policy = match policy(&document, input.args) {
        Ok(policy) => policy,
        Err(error) => {
            return Report {
                warnings: Vec::new(),
                error: Some(error),
            };
        }
    };
    let mut found = Found {
        policy: &policy,
        warnings: Vec::new(),
    };
    let (dockerfile, error) = Dockerfile::understood(&document);
    written::document(&document, &mut found);
    written::instructions(&dockerfile, &mut found);
    let error = match error {
        Some(error) => Some(error),
        None => {
            written::stages(&dockerfile, &mut found);
            stages::check(&dockerfile, input, &mut found).err()
        }
    };
    let mut warnings = found.warnings;
    warnings.sort_by_key(|warning| warning.lines.first);
    Report {
        error: error.or_else(|| refusal(&policy, &warnings)),
        warnings,
    }
}

fn policy(document: &Document, args: &BuildArgs) -> Result<Policy, LocatedProblem> {
    if let Some(given) = args.get(POLICY_ARGUMENT) {
        return Policy::parse(given).map_err(|e| {
            let message = format!("failed to parse build-arg:{POLICY_ARGUMENT}: {e}");
            Problem::Arguments(message).into()
        });
    }
    let Some(directive) = &document.directives.check else {
        return Ok(Policy::default());
    };
    Policy::parse(directive.first_word()).map_err(|e| {
        let message = format!("failed to parse check options: {e}");
        Problem::Arguments(message).at(directive.lines)
    })
}

/// The error that warnings are, where the file says so.
fn refusal(policy: &Policy, warnings: &[Warning]) -> Option<LocatedProblem> {
    let first = warnings.first().filter(|_| policy.errors)?;
    let rules: BTreeSet<&str> = warnings.iter().map(|w| w.rule.name()).collect();
    let rules: Vec<&str> = rules.into_iter().collect();
    Some(Problem::Checks(rules.join(", ")).at(first.lines))
}

/// After so many warnings nobody reads on.
const MOST: usize = 1000;

/// The warnings so far.
struct Found<'a> {
    policy: &'a Policy,
    warnings: Vec<Warning>,
}

impl Found<'_> {
    fn has_room(&self) -> bool {
        self.warnings.len() < MOST
    }

    fn warn(&mut self, rule: Rule, lines: Lines, message: String) {
        self.warn_under(&[], rule, lines, message);
    }

    /// Unless one of the comments above says not to.
    fn warn_under(&mut self, comments: &[String], rule: Rule, lines: Lines, message: String) {
        if self.has_room() && self.policy.counts_under(comments, rule) {
            self.warnings.push(Warning {
                rule,
                message,
                lines,
            });
        }
    }
}

#[cfg(test)]
mod tests;
