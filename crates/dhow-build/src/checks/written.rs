//! The rules for how things are written, whatever the values of variables.

use std::collections::BTreeSet;

use crate::instructions::{Action, Dockerfile, From, Instruction};
use crate::parser::Document;
use crate::source::Lines;
use crate::text::quoted;

use super::{Found, Rule};

const RESERVED: &[&str] = &["context", "scratch"];

pub(super) fn document(document: &Document, found: &mut Found) {
    for lines in &document.empty_continuations {
        let message = "Empty continuation line".to_owned();
        found.warn(Rule::NoEmptyContinuation, *lines, message);
    }
}

pub(super) fn instructions(dockerfile: &Dockerfile, found: &mut Found) {
    for instruction in &dockerfile.globals {
        one(instruction, found);
    }
    for stage in &dockerfile.stages {
        from(&stage.from, found);
        for instruction in &stage.instructions {
            one(instruction, found);
        }
    }
}

fn one(instruction: &Instruction, found: &mut Found) {
    let Instruction {
        lines, comments, ..
    } = instruction;
    match &instruction.action {
        Action::Maintainer(_) => {
            let message = "Maintainer instruction is deprecated in favor of using label";
            let rule = Rule::MaintainerDeprecated;
            found.warn_under(comments, rule, *lines, message.to_owned());
        }
        Action::Arg(args) => {
            let names: Vec<_> = args.iter().map(|arg| arg.name.as_str()).collect();
            description("ARG", &names, comments, *lines, found);
        }
        _ => {}
    }
}

fn from(from: &From, found: &mut Found) {
    let From {
        lines, comments, ..
    } = from;
    let Some((word, name)) = &from.written else {
        return;
    };
    if name.to_lowercase() != *name {
        let message = format!("Stage name '{name}' should be lowercase");
        found.warn_under(comments, Rule::StageNameCasing, *lines, message);
    }
    let keyword = &from.keyword;
    // A keyword in both cases has a rule of its own.
    let fits = match () {
        () if keyword.to_lowercase() == *keyword => word.to_lowercase() == *word,
        () if keyword.to_uppercase() == *keyword => word.to_uppercase() == *word,
        () => true,
    };
    if !fits {
        let message = format!("'{word}' and '{keyword}' keywords' casing do not match");
        found.warn_under(comments, Rule::FromAsCasing, *lines, message);
    }
    if let Some(name) = &from.name {
        description("FROM", &[name.as_str()], comments, *lines, found);
    }
}

/// The last comment above is a description if it begins with a name.
fn description(
    keyword: &str,
    names: &[&str],
    comments: &[String],
    lines: Lines,
    found: &mut Found,
) {
    let Some(last) = comments.last() else {
        return;
    };
    let first = last.split(' ').next().unwrap_or_default();
    if names.is_empty() || names.contains(&first) {
        return;
    }
    let name = if names.len() > 1 {
        "<arg_key>"
    } else {
        names[0]
    };
    let message =
        format!("Comment for {keyword} should follow the format: `# {name} <description>`");
    found.warn_under(comments, Rule::InvalidDefinitionDescription, lines, message);
}

pub(super) fn stages(dockerfile: &Dockerfile, found: &mut Found) {
    names(dockerfile, found);
    casing(dockerfile, found);
}

fn names(dockerfile: &Dockerfile, found: &mut Found) {
    let mut seen = BTreeSet::new();
    for from in dockerfile.stages.iter().map(|stage| &stage.from) {
        let Some(name) = &from.name else {
            continue;
        };
        let shown = quoted(name);
        if RESERVED.contains(&name.as_str()) {
            let message =
                format!("Stage name should not use the same name as reserved stage {shown}");
            found.warn(Rule::ReservedStageName, from.lines, message);
        }
        if !seen.insert(name) {
            let message = format!("Duplicate stage name {shown}, stage names should be unique");
            found.warn(Rule::DuplicateStageName, from.lines, message);
        }
    }
}

/// Instructions are all in capitals or all in small letters, whichever most are.
fn casing(dockerfile: &Dockerfile, found: &mut Found) {
    let mut keywords: Vec<(&str, Lines)> = Vec::new();
    for stage in &dockerfile.stages {
        keywords.push((&stage.from.keyword, stage.from.lines));
        let own = stage.instructions.iter();
        keywords.extend(own.map(|own| (own.keyword.as_str(), own.lines)));
    }
    let small = |keyword: &str| keyword.to_lowercase() == keyword;
    let capital = |keyword: &str| keyword.to_uppercase() == keyword;
    let count = |fits: &dyn Fn(&str) -> bool| keywords.iter().filter(|(k, _)| fits(k)).count();
    let most_are_small = count(&small) > count(&capital);
    for (keyword, lines) in &keywords {
        let (fits, majority) = match most_are_small {
            true => (small(keyword), "lowercase"),
            false => (capital(keyword), "uppercase"),
        };
        if !fits {
            let message = format!(
                "Command '{keyword}' should match the case of the command majority ({majority})"
            );
            found.warn(Rule::ConsistentInstructionCasing, *lines, message);
        }
    }
}
