//! The rules for what a build would come to: stages are gone through with their variables.

use std::collections::BTreeSet;

use dhow_oci::Reference;

use crate::expand::{Env, Expansion};
use crate::from::{self, Resolved};
use crate::instructions::{Action, Command, Dockerfile, From, Instruction, Sources};
use crate::parser::Pair;
use crate::problem::LocatedProblem;
use crate::scope::{BuildArgs, Globals, Scope};
use crate::source::Lines;
use crate::suggest::{Hint, closest};
use crate::text::quoted;

use super::{Found, Input, Rule};

/// What every container has, so that each stage has it too.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// These say what is scanned, and are in no environment.
const SCANNED: &[&str] = &["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// A variable with one of these words in its name holds a secret,
const SECRET: &[&str] = &[
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
];

/// unless it has one of these.
const NO_SECRET: &[&str] = &["public", "file", "version"];

pub(super) fn check(
    dockerfile: &Dockerfile,
    input: &Input,
    found: &mut Found,
) -> Result<(), LocatedProblem> {
    let target = dockerfile.target(input.target.unwrap_or_default())?;
    defaults(dockerfile, input, target, found);
    let globals = Globals::new(dockerfile, input.platforms, target, input.args)?;
    let mut resolved = Vec::new();
    for stage in &dockerfile.stages {
        let from = from::resolve(&stage.from, &globals, dockerfile.escape)?;
        platform_rules(&stage.from, &from, &globals, found);
        resolved.push(from);
    }
    let needed = match input.target {
        Some(_) => needed(dockerfile, &resolved, target)?,
        None => vec![true; dockerfile.stages.len()],
    };
    let base_of = |n: usize| dockerfile.base(&resolved[n].base.text, n);
    // No state is kept longer than until the last stage that begins with it: a file may have many stages.
    let mut last_use = vec![0; needed.len()];
    for n in (0..needed.len()).filter(|n| needed[*n]) {
        if let Some(base) = base_of(n) {
            last_use[base] = n;
        }
    }
    let mut ends: Vec<Option<State>> = vec![None; needed.len()];
    for (n, stage) in dockerfile
        .stages
        .iter()
        .enumerate()
        .filter(|(n, _)| needed[*n])
    {
        let base = base_of(n).and_then(|base| match last_use[base] == n {
            true => ends[base].take(),
            false => ends[base].clone(),
        });
        let image = || State::of_image(&resolved[n].base.text, dockerfile.escape, input);
        let mut state = base.unwrap_or_else(image);
        state.used = Used::default();
        for instruction in &stage.instructions {
            state.instruction(instruction, &globals, input, found)?;
        }
        ends[n] = Some(state).filter(|_| last_use[n] > n);
    }
    Ok(())
}

/// The stages that a target needs, itself included.
fn needed(
    dockerfile: &Dockerfile,
    resolved: &[Resolved],
    target: usize,
) -> Result<Vec<bool>, LocatedProblem> {
    let mut needed = vec![false; dockerfile.stages.len()];
    let mut open = vec![target];
    while let Some(n) = open.pop() {
        if std::mem::replace(&mut needed[n], true) {
            continue;
        }
        open.extend(dockerfile.base(&resolved[n].base.text, n));
        for instruction in &dockerfile.stages[n].instructions {
            let located = |problem: crate::Problem| problem.at(instruction.lines);
            match &instruction.action {
                Action::Copy(copy) => {
                    if let Some(from) = &copy.from {
                        open.extend(dockerfile.copied_from(from).map_err(located)?);
                    }
                }
                Action::Run(run) => {
                    let names = run.mounts.iter().filter_map(|mount| mount.from());
                    open.extend(names.filter_map(|name| dockerfile.stage(name)));
                }
                _ => {}
            }
        }
    }
    Ok(needed)
}

/// Whether base images have valid names if nobody gives arguments.
fn defaults(dockerfile: &Dockerfile, input: &Input, target: usize, found: &mut Found) {
    let Ok(globals) = Globals::new(dockerfile, input.platforms, target, &BuildArgs::new()) else {
        return;
    };
    for from in dockerfile.stages.iter().map(|stage| &stage.from) {
        let lex = crate::Lex::new(dockerfile.escape);
        let Ok(base) = lex.text(&from.base, &globals.env) else {
            return;
        };
        if Reference::parse_normalized(&base).is_err() {
            let base = &from.base;
            let message =
                format!("Default value for ARG {base} results in empty or invalid base image name");
            found.warn(Rule::InvalidDefaultArgInFrom, from.lines, message);
        }
    }
}

fn platform_rules(from: &From, resolved: &Resolved, globals: &Globals, found: &mut Found) {
    let mut undeclared = |words: &Expansion| {
        for name in &words.unset {
            if globals.declared.contains(name) {
                continue;
            }
            let known = globals.env.names();
            let hint = closest(
                name,
                known.chain(globals.declared.iter().map(String::as_str)),
            );
            let message = format!("FROM argument '{name}' is not declared{hint}");
            found.warn_under(
                &from.comments,
                Rule::UndefinedArgInFrom,
                from.lines,
                message,
            );
        }
    };
    undeclared(&resolved.base);
    let (Some((platform, words)), Some(written)) = (&resolved.platform, &from.platform) else {
        return;
    };
    undeclared(words);
    let target = "TARGETPLATFORM";
    let only_target =
        words.unset.is_empty() && words.used.len() == 1 && words.used.contains(target);
    if only_target && globals.env.get(target) == Some(&words.text) {
        let message = format!(
            "Setting platform to predefined {written} in FROM is redundant as this is the default behavior"
        );
        found.warn_under(
            &from.comments,
            Rule::RedundantTargetPlatform,
            from.lines,
            message,
        );
    }
    let name = from.name.as_deref().unwrap_or_default();
    let constant = words.used.is_empty() && words.unset.is_empty();
    if constant && !name.contains(&platform.os) && !name.contains(&platform.architecture) {
        let shown = quoted(&words.text);
        let message = format!("FROM --platform flag should not use constant value {shown}");
        let rule = Rule::FromPlatformFlagConstDisallowed;
        found.warn_under(&from.comments, rule, from.lines, message);
    }
}

/// Where instructions stand of which only the last counts.
#[derive(Clone, Copy, Default)]
struct Used {
    cmd: Option<Lines>,
    entrypoint: Option<Lines>,
    healthcheck: Option<Lines>,
}

/// What a stage has come to.
#[derive(Clone)]
struct State {
    scope: Scope,
    /// Whether the environment of the image below is known.
    knows_image: bool,
    has_shell: bool,
    has_workdir: bool,
    used: Used,
}

impl State {
    fn of_image(name: &str, escape: char, input: &Input) -> State {
        let image = match name {
            "scratch" => Some(dhow_oci::RunConfig::default()),
            name => (input.image)(name),
        };
        let knows_image = image.is_some();
        let image = image.unwrap_or_default();
        let pairs = image.env.unwrap_or_default();
        let mut env: Env = pairs.iter().map(String::as_str).collect();
        if env.get("PATH").is_none() {
            env.set("PATH", PATH);
        }
        State {
            scope: Scope::new(escape, env),
            knows_image,
            has_shell: image.shell.is_some_and(|shell| !shell.is_empty()),
            has_workdir: false,
            used: Used::default(),
        }
    }

    fn instruction(
        &mut self,
        instruction: &Instruction,
        globals: &Globals,
        input: &Input,
        found: &mut Found,
    ) -> Result<(), LocatedProblem> {
        let Instruction {
            lines,
            keyword,
            comments,
            ..
        } = instruction;
        let known = self.scope.env.len();
        let (action, mut unset) = self.scope.apply(instruction, globals, input.args)?;
        let mut warn = |rule, message| found.warn_under(comments, rule, *lines, message);
        match &action {
            Action::Run(run) => {
                let mut expander = self.scope.expander();
                run.mounts(&mut expander)
                    .map_err(|problem| problem.at(*lines))?;
                let mounts = expander.unset.into_iter();
                unset.extend(mounts.filter(|name| !self.scope.is_declared(name)));
            }
            Action::Expose(words) => {
                let ports = self.scope.expander().ports(words);
                for (word, exposed) in ports.map_err(|problem| problem.at(*lines))? {
                    if exposed.capitals {
                        let message = format!(
                            "Defined protocol '{word}' in EXPOSE instruction should be lowercase"
                        );
                        warn(Rule::ExposeProtoCasing, message);
                    }
                    if exposed.published {
                        let message = format!(
                            "EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'"
                        );
                        warn(Rule::ExposeInvalidFormat, message);
                    }
                }
            }
            Action::Arg(args) => {
                for arg in args.iter().filter(|arg| is_secret(&arg.name)) {
                    warn(Rule::SecretsUsedInArgOrEnv, secret("ARG", &arg.name));
                }
            }
            Action::Env(pairs) => {
                legacy(pairs, keyword, &mut warn);
                for pair in pairs.iter().filter(|pair| is_secret(&pair.name)) {
                    warn(Rule::SecretsUsedInArgOrEnv, secret("ENV", &pair.name));
                }
            }
            Action::Label(pairs) => legacy(pairs, keyword, &mut warn),
            Action::Shell(_) => self.has_shell = true,
            Action::Workdir(path) => {
                if !self.has_workdir && !path.starts_with('/') {
                    let path = quoted(path);
                    let message = format!(
                        "Relative workdir {path} can have unexpected results if the base image changes"
                    );
                    warn(Rule::WorkdirRelativePath, message);
                }
                self.has_workdir = true;
            }
            Action::Cmd(Command::Shell(_)) | Action::Entrypoint(Command::Shell(_))
                if !self.has_shell =>
            {
                let message = format!(
                    "JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"
                );
                warn(Rule::JsonArgsRecommended, message);
            }
            Action::Copy(copy) if copy.from.is_none() => {
                ignored("Copy", &copy.sources, input, &mut warn)
            }
            Action::Add(add) => ignored("Add", &add.sources, input, &mut warn),
            _ => {}
        }
        self.undefined(instruction, &unset, known, found);
        self.once(instruction, &action, found);
        Ok(())
    }

    /// `known` is how many variables there were in front of the instruction.
    fn undefined(
        &self,
        instruction: &Instruction,
        unset: &BTreeSet<String>,
        known: usize,
        found: &mut Found,
    ) {
        let in_environment = |name: &&String| !SCANNED.contains(&name.as_str());
        for name in unset.iter().filter(in_environment) {
            if !self.knows_image || !found.has_room() {
                return;
            }
            let hint = closest(name, self.scope.env.names().take(known));
            let hint = Hint(hint.0.map(|name| format!("${name}")));
            let message = format!("Usage of undefined variable '${name}'{hint}");
            let comments = &instruction.comments;
            found.warn_under(comments, Rule::UndefinedVar, instruction.lines, message);
        }
    }

    /// The one before is what does not count, so its lines are shown.
    fn once(&mut self, instruction: &Instruction, action: &Action, found: &mut Found) {
        let used = match action {
            Action::Cmd(_) => &mut self.used.cmd,
            Action::Entrypoint(_) => &mut self.used.entrypoint,
            Action::Healthcheck(_) => &mut self.used.healthcheck,
            _ => return,
        };
        let Some(lines) = used.replace(instruction.lines) else {
            return;
        };
        let keyword = &instruction.keyword;
        let message = format!(
            "Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"
        );
        let rule = Rule::MultipleInstructionsDisallowed;
        found.warn_under(&instruction.comments, rule, lines, message);
    }
}

fn legacy(pairs: &[Pair], keyword: &str, warn: &mut dyn FnMut(Rule, String)) {
    for _ in pairs.iter().filter(|pair| pair.legacy) {
        let message = format!(
            "\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"
        );
        warn(Rule::LegacyKeyValueFormat, message);
    }
}

fn secret(keyword: &str, name: &str) -> String {
    let name = quoted(name);
    format!("Do not use ARG or ENV instructions for sensitive data ({keyword} {name})")
}

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    let has = |words: &[&str]| name.split('_').any(|word| words.contains(&word));
    has(SECRET) && !has(NO_SECRET)
}

fn ignored(verb: &str, sources: &Sources, input: &Input, warn: &mut dyn FnMut(Rule, String)) {
    // With exceptions a directory may be left out and a file in it not: nothing is said of those.
    let Some(ignore) = input.ignore.filter(|ignore| !ignore.has_exceptions()) else {
        return;
    };
    for source in sources.paths.iter().filter(|source| !is_remote(source)) {
        let path = dhow_archive::words::clean(source);
        if matches!(path.as_str(), "." | "/") && !ignore.ignores_all() {
            continue;
        }
        if ignore.ignores(&path) {
            let shown = quoted(&path);
            let message =
                format!("Attempting to {verb} file {shown} that is excluded by .dockerignore");
            warn(Rule::CopyIgnoredFile, message);
        }
    }
}

fn is_remote(source: &str) -> bool {
    source.contains("://") || source.starts_with("git@") || source.starts_with("github.com/")
}
