//! `.dockerignore`: which files of a context are left out (moby/patternmatcher's patterns).
//!
//! A path is left out if the last pattern that matches it, or a directory above it, is no exception (`!pattern`).
//! Paths are relative to the context and have slashes.

mod file;
mod pattern;

pub use file::read;

use pattern::Pattern;

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum IgnoreError {
    #[error("illegal exclusion pattern: \"!\"")]
    NothingExcepted,
    #[error("syntax error in pattern")]
    Syntax,
}

/// Patterns, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    pattern: Pattern,
    /// What matches is kept after all.
    excepts: bool,
}

/// Which patterns match a directory or one above it: what a walk hands down to what is inside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Above {
    matched: Vec<bool>,
}

/// What the patterns say of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub ignored: bool,
    /// For what is inside, if it is a directory.
    pub above: Above,
}

impl Ignore {
    /// Of patterns as [`read`] makes them.
    pub fn new<P: AsRef<str>>(
        patterns: impl IntoIterator<Item = P>,
    ) -> Result<Ignore, IgnoreError> {
        let mut rules = Vec::new();
        for text in patterns {
            let text = text.as_ref().trim();
            if text.is_empty() {
                continue;
            }
            let clean = dhow_archive::words::clean(text);
            let (excepts, text) = match clean.strip_prefix('!') {
                Some("") => return Err(IgnoreError::NothingExcepted),
                Some(rest) => (true, rest),
                None => (false, clean.as_str()),
            };
            let pattern = Pattern::parse(text).ok_or(IgnoreError::Syntax)?;
            rules.push(Rule { pattern, excepts });
        }
        Ok(Ignore { rules })
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.excepts)
    }

    /// Whether one of the patterns leaves out whatever is at the top.
    pub fn ignores_all(&self) -> bool {
        let all = |rule: &Rule| !rule.excepts && matches!(rule.pattern.text(), "*" | "**" | "**/*");
        self.rules.iter().any(all)
    }

    /// Whether `path` is left out, by itself or with a directory above it.
    pub fn ignores(&self, path: &str) -> bool {
        let mut above = Above::default();
        let ends = path.match_indices('/').map(|(at, _)| at);
        for end in ends.filter(|end| *end > 0) {
            above = self.judge(&path[..end], &above).above;
        }
        self.judge(path, &above).ignored
    }

    /// The same in a walk, which knows of the directory above already. For what is at the top that is the default.
    pub fn judge(&self, path: &str, above: &Above) -> Verdict {
        let mut matched = vec![false; self.rules.len()];
        let mut ignored = false;
        for (n, rule) in self.rules.iter().enumerate() {
            let inherited = above.matched.get(n).copied().unwrap_or_default();
            // A pattern that would change nothing is not tried: whether it matches is tried again inside.
            matched[n] = inherited || (rule.excepts == ignored && rule.pattern.matches(path));
            if matched[n] {
                ignored = !rule.excepts;
            }
        }
        Verdict {
            ignored,
            above: Above { matched },
        }
    }

    /// Whether anything below a directory that is left out could be kept. Where not there is no need to look inside.
    pub fn may_keep_below(&self, directory: &str, verdict: &Verdict) -> bool {
        if !verdict.ignored {
            return true;
        }
        // What comes before the last pattern that matches the directory is overruled by it inside, too.
        let matches = |n: &usize| verdict.above.matched[*n] && !self.rules[*n].excepts;
        let last = (0..self.rules.len()).rev().find(matches).unwrap_or(0);
        let later = self.rules.iter().skip(last);
        later
            .filter(|rule| rule.excepts)
            .any(|rule| rule.pattern.may_match_below(directory))
    }
}

#[cfg(test)]
mod tests;
