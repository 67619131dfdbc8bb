//! The filters of image lists and of pruning.

use dhow_api::Filters;
use dhow_image::{Image, Images};
use dhow_oci::Reference;

use crate::error::{EngineError, Result};
use crate::until;

const LIST: [&str; 7] = [
    "dangling",
    "label",
    "label!",
    "before",
    "since",
    "until",
    "reference",
];
const PRUNE: [&str; 4] = ["dangling", "label", "label!", "until"];

/// Which images are meant.
pub(super) struct Filter {
    filters: Filters,
    dangling: Option<bool>,
    /// Bounds of the creation time, in seconds since the epoch.
    after: Option<i64>,
    before: Option<i64>,
}

impl Filter {
    pub fn new(filters: &Filters, images: &Images) -> Result<Filter> {
        filters.validate(&LIST)?;
        let mut filter = Filter {
            dangling: filters.boolean("dangling")?,
            after: None,
            before: older_than(filters)?,
            filters: filters.clone(),
        };
        for name in filters.get("before") {
            let created = images.resolve(name)?.config.created_seconds();
            filter.before = Some(filter.before.map_or(created, |b| b.min(created)));
        }
        for name in filters.get("since") {
            let created = images.resolve(name)?.config.created_seconds();
            filter.after = Some(filter.after.map_or(created, |a| a.max(created)));
        }
        Ok(filter)
    }

    /// The filter, and whether only untagged images go, which is the default.
    pub fn for_prune(filters: &Filters) -> Result<(Filter, bool)> {
        filters.validate(&PRUNE)?;
        let dangling = filters.boolean("dangling")?.unwrap_or(true);
        let filter = Filter {
            dangling: None,
            after: None,
            before: older_than(filters)?,
            filters: filters.clone(),
        };
        Ok((filter, dangling))
    }

    pub fn matches(&self, image: &Image) -> bool {
        let created = image.config.created_seconds();
        let none = Default::default();
        let labels = image.config.config.labels.as_ref().unwrap_or(&none);
        let unwanted =
            self.filters.contains("label!") && self.filters.labels_match("label!", labels);
        self.dangling.is_none_or(|d| d == image.tags.is_empty())
            && self.after.is_none_or(|after| created > after)
            && self.before.is_none_or(|before| created < before)
            && self.filters.labels_match("label", labels)
            && !unwanted
            && (!self.filters.contains("reference") || image.references().any(|r| self.names_it(r)))
    }

    /// Those of an image's names that are shown.
    pub fn names(&self, references: &[Reference]) -> Vec<String> {
        references
            .iter()
            .filter(|r| !self.filters.contains("reference") || self.names_it(r))
            .map(Reference::familiar)
            .collect()
    }

    fn names_it(&self, reference: &Reference) -> bool {
        self.filters.get("reference").any(|pattern| {
            glob(pattern, &reference.familiar()) || glob(pattern, &reference.familiar_name())
        })
    }
}

/// The time of `until`, in seconds since the epoch.
fn older_than(filters: &Filters) -> Result<Option<i64>> {
    let mut values = filters.get("until");
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(EngineError::invalid("more than one until filter specified"));
    }
    let at = until::parse(value)?;
    Ok(Some(at / 1_000_000_000))
}

/// Go's `path.Match`: `*` and `?` do not match a slash; `[a-z]`, `[^a-z]`; a backslash escapes.
fn glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // Where the last star was, and how much it has taken.
    let mut star: Option<(usize, usize)> = None;
    let (mut p, mut t) = (0, 0);
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
            continue;
        }
        match one(&pattern[p.min(pattern.len())..], text[t]) {
            Some(length) => {
                p += length;
                t += 1;
            }
            None => match star {
                Some((at, taken)) if text[taken] != '/' => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                _ => return false,
            },
        }
    }
    pattern[p.min(pattern.len())..].iter().all(|c| *c == '*')
}

/// How much of the pattern's front matches this character.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern {
        ['?', ..] => (c != '/').then_some(1),
        ['\\', escaped, ..] => (*escaped == c).then_some(2),
        ['[', class @ ..] => {
            let (negated, class, skipped) = match class {
                ['^', rest @ ..] => (true, rest, 2),
                rest => (false, rest, 1),
            };
            let end = class.iter().position(|c| *c == ']')?;
            let mut found = false;
            let mut at = 0;
            while at < end {
                if at + 2 < end && class[at + 1] == '-' {
                    found |= (class[at]..=class[at + 2]).contains(&c);
                    at += 3;
                } else {
                    found |= class[at] == c;
                    at += 1;
                }
            }
            (found != negated).then_some(skipped + end + 1)
        }
        [literal, ..] => (*literal == c).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_is_a_time_or_a_duration_and_given_once() {
        let mut filters = Filters::default();
        assert_eq!(older_than(&filters).unwrap(), None);
        filters.add("until", "24h");
        let day = dhow_api::time::now() / 1_000_000_000 - 86_400;
        let at = older_than(&filters).unwrap().unwrap();
        assert!((day..day + 60).contains(&at), "{at} is not near {day}");
        assert!(Filter::for_prune(&filters).is_ok());
        filters.add("until", "1136073845");
        assert!(older_than(&filters).is_err());
    }

    #[test]
    fn patterns_match_as_gos() {
        for (pattern, text) in [
            ("busybox", "busybox"),
            ("busy*", "busybox"),
            ("*:latest", "busybox:latest"),
            ("*box*", "busybox:latest"),
            ("*/app", "me/app"),
            ("b?sybox", "busybox"),
            ("[a-c]usybox", "busybox"),
            ("[^x]usybox", "busybox"),
            ("\\*x", "*x"),
            ("*", ""),
        ] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("busy", "busybox"),
            ("*", "me/app"),
            ("*app", "me/app"),
            ("me?app", "me/app"),
            ("[x-z]usybox", "busybox"),
            ("[", "["),
            ("", "x"),
        ] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }
}
