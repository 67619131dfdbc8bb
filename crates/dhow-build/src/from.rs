//! What FROM means once the variables in front of it have values.

use dhow_oci::Platform;

use crate::expand::{Expansion, Lex};
use crate::instructions::From;
use crate::problem::{LocatedProblem, Problem};
use crate::scope::Globals;
use crate::suggest::{Hint, closest};

/// FROM with its variables replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// A stage, a named context or an image.
    pub base: Expansion,
    /// The platform, if one is said, and what it was made of.
    pub platform: Option<(Platform, Expansion)>,
}

pub fn resolve(from: &From, globals: &Globals, escape: char) -> Result<Resolved, LocatedProblem> {
    let located = |problem: Problem| problem.at(from.lines);
    let lex = Lex::new(escape);
    let base = lex
        .expand(&from.base, &globals.env)
        .map_err(|e| located(e.into()))?;
    if base.text.is_empty() {
        let message = format!("base name ({}) should not be blank", from.base);
        return Err(located(Problem::Arguments(message)));
    }
    let platform = match &from.platform {
        Some(written) => Some(platform(written, globals, lex).map_err(located)?),
        None => None,
    };
    Ok(Resolved { base, platform })
}

fn platform(written: &str, globals: &Globals, lex: Lex) -> Result<(Platform, Expansion), Problem> {
    let words = lex.expand(written, &globals.env).map_err(|e| {
        Problem::Arguments(format!("failed to process arguments for platform : {e}"))
    })?;
    // The variable that is not there is the likely cause.
    let hint = || {
        let mut hints = words
            .unset
            .iter()
            .map(|name| closest(name, globals.env.names()));
        hints.find(|hint| hint.0.is_some()).unwrap_or(Hint(None))
    };
    if words.text.is_empty() {
        let hint = hint();
        return Err(Problem::Arguments(format!(
            "empty platform value from expression {written}{hint}"
        )));
    }
    match words.text.parse() {
        Ok(platform) => Ok((platform, words)),
        Err(e) => {
            let hint = hint();
            Err(Problem::Arguments(format!(
                "failed to parse platform {written}: {e}{hint}"
            )))
        }
    }
}
