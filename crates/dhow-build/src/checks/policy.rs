//! `# check=skip=RULE,...;error=true;experimental=RULE,...`: which rules count, and whether warnings are errors.

use std::collections::BTreeSet;

use crate::parser::check_in_comment;
use crate::text::{boolean, quoted};

use super::Rule;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    skips: Names,
    experiments: Names,
    /// Whether a warning fails the build.
    pub errors: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    all: bool,
    some: BTreeSet<String>,
}

impl Names {
    fn parse(text: &str) -> Names {
        match text.trim() {
            "all" => Names {
                all: true,
                some: BTreeSet::new(),
            },
            names => Names {
                all: false,
                some: names
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .collect(),
            },
        }
    }

    fn has(&self, rule: Rule) -> bool {
        self.all || self.some.contains(rule.name())
    }

    fn add(&mut self, others: Names) {
        self.all |= others.all;
        self.some.extend(others.some);
    }
}

impl Policy {
    pub fn parse(text: &str) -> Result<Policy, String> {
        let mut policy = Policy::default();
        for part in text
            .trim()
            .splitn(3, ';')
            .filter(|_| !text.trim().is_empty())
        {
            let Some((key, value)) = part.split_once('=') else {
                return Err(format!("invalid check option {}", quoted(part)));
            };
            match key.trim() {
                "skip" => policy.skips = Names::parse(value),
                "experimental" => policy.experiments = Names::parse(value),
                "error" => {
                    policy.errors = boolean(value.trim()).ok_or_else(|| {
                        let (part, value) = (quoted(part), quoted(value.trim()));
                        format!(
                            "failed to parse check option {part}: strconv.ParseBool: parsing {value}: invalid syntax"
                        )
                    })?;
                }
                other => return Err(format!("invalid check option {}", quoted(other))),
            }
        }
        Ok(policy)
    }

    pub fn counts(&self, rule: Rule) -> bool {
        match rule.is_experimental() {
            true => self.experiments.has(rule),
            false => !self.skips.has(rule),
        }
    }

    /// Whether `rule` counts for what has these comments above it, which may skip it there.
    pub(super) fn counts_under(&self, comments: &[String], rule: Rule) -> bool {
        // The first that is one counts, if it can be read.
        let own = comments
            .iter()
            .find_map(|comment| check_in_comment(comment));
        let own = own.map(|value| value.split(' ').next().unwrap_or_default());
        match own.map(Policy::parse) {
            Some(Ok(own)) => {
                let mut both = self.clone();
                both.skips.add(own.skips);
                both.experiments.add(own.experiments);
                both.counts(rule)
            }
            _ => self.counts(rule),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_skipped_and_asked_for() {
        let policy = Policy::parse("skip=StageNameCasing, UndefinedVar;error=true").unwrap();
        assert!(policy.errors);
        assert!(!policy.counts(Rule::UndefinedVar));
        assert!(policy.counts(Rule::FromAsCasing));
        assert!(!policy.counts(Rule::InvalidDefinitionDescription));
        let all = Policy::parse("skip=all;experimental=all").unwrap();
        assert!(!all.counts(Rule::UndefinedVar));
        assert!(all.counts(Rule::InvalidDefinitionDescription));
        assert_eq!(Policy::parse(" "), Ok(Policy::default()));
    }

    #[test]
    fn a_comment_counts_for_what_is_under_it() {
        let policy = Policy::parse("skip=FromAsCasing").unwrap();
        let comments = [
            "text".to_owned(),
            "check=skip=UndefinedVar // why".to_owned(),
        ];
        assert!(!policy.counts_under(&comments, Rule::UndefinedVar));
        assert!(!policy.counts_under(&comments, Rule::FromAsCasing));
        assert!(policy.counts_under(&comments[..1], Rule::UndefinedVar));
        assert!(policy.counts_under(&["check=x".to_owned()], Rule::UndefinedVar));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for (text, message) in [
            ("x", "invalid check option \"x\""),
            ("x=y", "invalid check option \"x\""),
            (
                "error=maybe",
                "failed to parse check option \"error=maybe\": strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
        ] {
            assert_eq!(Policy::parse(text).unwrap_err(), message);
        }
    }
}
