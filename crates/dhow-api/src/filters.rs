//! The `filters` query parameter: names with sets of values, as JSON. Both of its forms are read,
//! `{"label":{"a=b":true}}` and the older `{"label":["a=b"]}`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize, Serializer};

/// Filters by name. Values of one name are alternatives, except labels, which must all match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    fields: BTreeMap<String, BTreeSet<String>>,
}

/// Which filter was refused; the texts are Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("invalid filter")]
    Malformed,
    #[error("invalid filter '{0}'")]
    Unknown(String),
    #[error("invalid filter '{name}=[{values}]'")]
    Value { name: String, values: String },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    Set(BTreeMap<String, bool>),
    List(Vec<String>),
    Null,
}

impl Filters {
    /// Reads the parameter's text; an empty one has no filters.
    pub fn parse(text: &str) -> Result<Filters, FilterError> {
        if text.is_empty() {
            return Ok(Filters::default());
        }
        let raw: Option<BTreeMap<String, Values>> =
            serde_json::from_str(text).map_err(|_| FilterError::Malformed)?;
        let fields = raw
            .unwrap_or_default()
            .into_iter()
            .map(|(name, values)| {
                let values = match values {
                    Values::Set(set) => set.into_keys().collect(),
                    Values::List(list) => list.into_iter().collect(),
                    Values::Null => BTreeSet::new(),
                };
                (name, values)
            })
            .collect();
        Ok(Filters { fields })
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    pub fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.fields
            .entry(name.into())
            .or_default()
            .insert(value.into());
    }

    pub fn contains(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// The values of a filter, in order.
    pub fn get(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields
            .get(name)
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    /// Refuses every filter whose name is not among `accepted`.
    pub fn validate(&self, accepted: &[&str]) -> Result<(), FilterError> {
        match self
            .fields
            .keys()
            .find(|name| !accepted.contains(&name.as_str()))
        {
            Some(name) => Err(FilterError::Unknown(name.clone())),
            None => Ok(()),
        }
    }

    /// Whether `source` is one of the values, or the filter is not set.
    pub fn exact_match(&self, name: &str, source: &str) -> bool {
        match self.fields.get(name) {
            Some(values) if !values.is_empty() => values.contains(source),
            _ => true,
        }
    }

    /// Whether `source` is or begins with one of the values, or the filter is not set.
    pub fn prefix_match(&self, name: &str, source: &str) -> bool {
        self.exact_match(name, source) || self.get(name).any(|value| source.starts_with(value))
    }

    /// Whether one of the values, as a regular expression, is found in `source`, or the filter is not
    /// set. A value that is not a regular expression matches only itself.
    pub fn regex_match(&self, name: &str, source: &str) -> bool {
        self.exact_match(name, source)
            || self
                .get(name)
                .any(|value| regex_lite::Regex::new(value).is_ok_and(|re| re.is_match(source)))
    }

    /// Whether the labels have every `key` or `key=value` among the values, or the filter is not set.
    pub fn labels_match(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.get(name).all(|wanted| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        })
    }

    /// The value of a filter that is true or false.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, FilterError> {
        let Some(values) = self.fields.get(name) else {
            return Ok(None);
        };
        if values.is_empty() {
            return Err(FilterError::Unknown(name.to_owned()));
        }
        let any = |wanted: [&str; 2]| wanted.iter().any(|value| values.contains(*value));
        match (any(["1", "true"]), any(["0", "false"])) {
            (true, false) => Ok(Some(true)),
            (false, true) => Ok(Some(false)),
            _ => Err(FilterError::Value {
                name: name.to_owned(),
                values: self.get(name).collect::<Vec<_>>().join(" "),
            }),
        }
    }
}

impl Serialize for Filters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields.iter().map(|(name, values)| {
            let values: BTreeMap<&str, bool> = values.iter().map(|v| (v.as_str(), true)).collect();
            (name, values)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let set =
            Filters::parse(r#"{"label":{"a=b":true,"c":true},"status":{"exited":true}}"#).unwrap();
        let list = Filters::parse(r#"{"label":["a=b","c"],"status":["exited"]}"#).unwrap();
        assert_eq!(set, list);
        assert_eq!(
            serde_json::to_string(&set).unwrap(),
            r#"{"label":{"a=b":true,"c":true},"status":{"exited":true}}"#
        );
        for empty in ["", "{}", "null"] {
            assert!(Filters::parse(empty).unwrap().is_empty());
        }
        for bad in ["[", "[]", "\"x\"", r#"{"a":"b"}"#, r#"{"a":[1]}"#] {
            assert_eq!(Filters::parse(bad), Err(FilterError::Malformed), "{bad}");
        }
    }

    #[test]
    fn values_are_alternatives_and_labels_are_not() {
        let filters = Filters::parse(
            r#"{"name":["^/web$","db"],"id":["ab"],"label":["x","y=1"],"dangling":["true"],"both":["0","1"]}"#,
        )
        .unwrap();
        assert!(filters.regex_match("name", "/web"));
        assert!(filters.regex_match("name", "/mydb2"));
        assert!(!filters.regex_match("name", "/web2"));
        assert!(filters.prefix_match("id", "abc") && !filters.prefix_match("id", "b"));
        let labels = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect()
        };
        assert!(filters.labels_match("label", &labels(&[("x", ""), ("y", "1")])));
        assert!(!filters.labels_match("label", &labels(&[("x", ""), ("y", "2")])));
        assert_eq!(filters.boolean("dangling"), Ok(Some(true)));
        assert_eq!(filters.boolean("absent"), Ok(None));
        assert_eq!(
            filters.boolean("both").unwrap_err().to_string(),
            "invalid filter 'both=[0 1]'"
        );
        assert_eq!(
            filters
                .validate(&["name", "id", "label", "dangling"])
                .unwrap_err()
                .to_string(),
            "invalid filter 'both'"
        );
    }
}
