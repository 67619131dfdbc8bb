//! What an entry of the log says beside its text: the container's labels and variables that `labels`, `env` and
//! their expressions choose, and the tag, which is a Go template.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::{FuncMap, MissingKey, Template, TemplateError, Value};
use regex_lite::Regex;

use super::options::Options;
use crate::containers::container::Container;
use crate::containers::definition::Definition;
use crate::error::{EngineError, Result};

/// Short ids have so many digits.
const SHORT: usize = 12;

/// What tags and attributes are made of.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    id: String,
    name: String,
    command: Vec<String>,
    image_id: String,
    image_name: String,
    created: i64,
    env: Vec<String>,
    labels: BTreeMap<String, String>,
}

impl Subject {
    pub fn new(container: &Container, definition: &Definition) -> Subject {
        Subject {
            id: container.id.to_string(),
            name: container.name().to_string(),
            command: definition.command(),
            image_id: definition.image_id.clone(),
            image_name: definition.config.image.clone(),
            created: container.created,
            env: definition.config.env.clone().unwrap_or_default(),
            labels: definition.config.labels.clone(),
        }
    }
}

impl Subject {
    /// What each entry of the journal says of its container, under Docker's names.
    pub fn journal_fields(&self) -> Vec<(String, String)> {
        let short: String = self.id.chars().take(SHORT).collect();
        [
            ("CONTAINER_ID", short),
            ("CONTAINER_ID_FULL", self.id.clone()),
            ("CONTAINER_NAME", self.name.clone()),
            ("IMAGE_NAME", self.image_name.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// Refuses expressions and templates that can't be read, or that ask for what no container has.
pub fn check(options: &Options<'_>) -> Result<()> {
    of_file(options, &Subject::default()).map(drop)
}

/// As a JSON object, or nothing where there are none.
pub fn of_file(options: &Options<'_>, subject: &Subject) -> Result<String> {
    let mut all = chosen(options, subject)?;
    // A tag is there only where one was asked for.
    if options.get("tag").is_some_and(|tag| !tag.is_empty()) {
        let tag = tag(options, subject)?;
        if !tag.is_empty() {
            all.insert("tag".to_owned(), tag);
        }
    }
    if all.is_empty() {
        return Ok(String::new());
    }
    serde_json::to_string(&all).map_err(|e| EngineError::Internal(e.to_string()))
}

/// The labels and variables that the options choose.
pub fn chosen(options: &Options<'_>, subject: &Subject) -> Result<BTreeMap<String, String>> {
    let variables: BTreeMap<&str, &str> = subject
        .env
        .iter()
        .filter_map(|variable| variable.split_once('='))
        .collect();
    let labels: BTreeMap<&str, &str> = subject
        .labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut all = BTreeMap::new();
    for (values, names, expression) in [
        (&labels, "labels", "labels-regex"),
        (&variables, "env", "env-regex"),
    ] {
        for name in options.get(names).unwrap_or_default().split(',') {
            if let Some(value) = values.get(name) {
                all.insert(name.to_owned(), (*value).to_owned());
            }
        }
        let Some(expression) = options.get(expression).filter(|text| !text.is_empty()) else {
            continue;
        };
        let expression = Regex::new(expression).map_err(|e| {
            EngineError::invalid(format!("error parsing regexp: {e}: `{expression}`"))
        })?;
        for (name, value) in values {
            if expression.is_match(name) {
                all.insert((*name).to_owned(), (*value).to_owned());
            }
        }
    }
    Ok(all)
}

/// A tag is no longer than this, in bytes, and none of its loops goes round oftener.
const LONGEST: usize = 64 * 1024;
const ROUNDS: u64 = 10_000;

/// The template's name, beside which it may have no others.
const NAME: &str = "log-tag";

/// What a template makes, up to a bound.
#[derive(Default)]
struct Bounded(String);

impl std::fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() + text.len() > LONGEST {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// The tag as a text.
pub fn tag(options: &Options<'_>, subject: &Subject) -> Result<String> {
    let template = match options.get("tag") {
        None | Some("") => "{{.ID}}",
        Some(template) => template,
    };
    let invalid =
        |e: TemplateError| EngineError::invalid(format!("invalid log tag {template:?}: {e}"));
    let parsed = Template::new(NAME)
        .funcs(functions())
        .missing_key(MissingKey::Error)
        .max_range_iters(ROUNDS)
        .parse(template)
        .map_err(invalid)?;
    // One that called itself twice would not come to an end.
    if parsed.templates().iter().any(|name| *name != NAME) {
        return Err(EngineError::invalid(format!(
            "invalid log tag {template:?}: it can't define templates of its own"
        )));
    }
    let mut text = Bounded::default();
    parsed
        .execute_fmt(&mut text, &fields(subject))
        .map_err(invalid)?;
    Ok(text.0)
}

/// The fields and methods of Docker's `logger.Info`.
fn fields(subject: &Subject) -> Value {
    fn string(text: &str) -> Value {
        Value::String(text.into())
    }
    let short = |id: &str| {
        let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
        string(&digits.chars().take(SHORT).collect::<String>())
    };
    let hostname = rustix::system::uname();
    let (entrypoint, args) = match subject.command.split_first() {
        Some((first, args)) => (first.as_str(), args),
        None => ("", &[][..]),
    };
    let list = |items: &[String]| Value::List(items.iter().map(|item| string(item)).collect());
    let fields: BTreeMap<Arc<str>, Value> = [
        ("ID", short(&subject.id)),
        ("FullID", string(&subject.id)),
        ("Name", string(&subject.name)),
        ("Command", string(&subject.command.join(" "))),
        ("ImageID", short(&subject.image_id)),
        ("ImageFullID", string(&subject.image_id)),
        ("ImageName", string(&subject.image_name)),
        ("Hostname", string(&hostname.nodename().to_string_lossy())),
        // Rules on servers are written for this name.
        ("DaemonName", string("docker")),
        ("ContainerID", string(&subject.id)),
        ("ContainerName", string(&format!("/{}", subject.name))),
        ("ContainerEntrypoint", string(entrypoint)),
        ("ContainerArgs", list(args)),
        ("ContainerImageID", string(&subject.image_id)),
        ("ContainerImageName", string(&subject.image_name)),
        (
            "ContainerCreated",
            string(&dhow_api::time::rfc3339_nano(subject.created)),
        ),
        ("ContainerEnv", list(&subject.env)),
        (
            "ContainerLabels",
            Value::Map(Arc::new(
                subject
                    .labels
                    .iter()
                    .map(|(name, value)| (name.as_str().into(), string(value)))
                    .collect(),
            )),
        ),
    ]
    .into_iter()
    .map(|(name, value)| (name.into(), value))
    .collect();
    Value::Map(Arc::new(fields))
}

/// What Docker's daemon adds to Go's own functions.
fn functions() -> FuncMap {
    fn text(args: &[Value], at: usize) -> String {
        args.get(at).map(Value::to_string).unwrap_or_default()
    }
    fn string(text: impl AsRef<str>) -> gotmpl::Result<Value> {
        Ok(Value::String(text.as_ref().into()))
    }
    fn number(args: &[Value], at: usize) -> gotmpl::Result<usize> {
        args.get(at)
            .and_then(Value::as_int)
            .and_then(|n| usize::try_from(n).ok())
            // What a tag is padded with, or cut to, is no more than a line.
            .filter(|n| *n <= 16 * 1024)
            .ok_or_else(|| TemplateError::Exec("expected a number".to_owned()))
    }
    let mut map = FuncMap::new();
    let mut add = |name: &str, function: fn(&[Value]) -> gotmpl::Result<Value>| {
        map.insert(name.to_owned(), Arc::new(function));
    };
    add("json", |args| {
        let value = args.first().map(json).unwrap_or_default();
        string(value.to_string())
    });
    add("lower", |args| string(text(args, 0).to_lowercase()));
    add("upper", |args| string(text(args, 0).to_uppercase()));
    add("title", |args| {
        let mut begins = true;
        let titled = text(args, 0)
            .chars()
            .flat_map(|c| {
                let upper = begins;
                begins = !c.is_alphanumeric() && !matches!(c, '_' | '\'');
                if upper {
                    c.to_uppercase().collect::<Vec<_>>()
                } else {
                    vec![c]
                }
            })
            .collect::<String>();
        string(titled)
    });
    add("split", |args| {
        let (whole, separator) = (text(args, 0), text(args, 1));
        let parts = whole.split(separator.as_str());
        let parts = parts.map(|part| Value::String(part.into()));
        Ok(Value::List(parts.collect()))
    });
    add("join", |args| match args.first() {
        Some(Value::List(list)) => {
            let parts: Vec<String> = list.iter().map(Value::to_string).collect();
            string(parts.join(&text(args, 1)))
        }
        _ => Err(TemplateError::Exec("join expects a list".to_owned())),
    });
    add("pad", |args| {
        let (before, after) = (number(args, 1)?, number(args, 2)?);
        match text(args, 0).as_str() {
            "" => string(""),
            inner => string(format!("{:before$}{inner}{:after$}", "", "")),
        }
    });
    add("truncate", |args| {
        let length = number(args, 1)?;
        string(text(args, 0).chars().take(length).collect::<String>())
    });
    map
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::List(list) => list.iter().map(json).collect(),
        Value::Map(map) => map
            .iter()
            .map(|(name, value)| (name.to_string(), json(value)))
            .collect(),
        Value::Int(n) => (*n).into(),
        Value::Bool(b) => (*b).into(),
        Value::Nil => serde_json::Value::Null,
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject {
            id: "0123456789abcdef0123456789abcdef".to_owned(),
            name: "web".to_owned(),
            command: vec!["sh".to_owned(), "-c".to_owned(), "true".to_owned()],
            image_id: "sha256:fedcba9876543210fedcba9876543210".to_owned(),
            image_name: "busybox:latest".to_owned(),
            created: 0,
            env: vec!["A=1".to_owned(), "AB=2".to_owned(), "C".to_owned()],
            labels: [("l1", "x"), ("l2", "a\tb")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        }
    }

    fn attributes(options: &[(&str, &str)]) -> String {
        let all = options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        of_file(&Options::new(&all), &subject()).unwrap()
    }

    #[test]
    fn labels_and_variables_are_chosen_by_name_and_by_expression() {
        assert_eq!(attributes(&[]), "");
        assert_eq!(attributes(&[("labels", "nosuch"), ("env", "C,nosuch")]), "");
        assert_eq!(
            attributes(&[("labels", "l1"), ("env", "AB")]),
            r#"{"AB":"2","l1":"x"}"#
        );
        assert_eq!(
            attributes(&[("labels-regex", "^l"), ("env-regex", "^A$")]),
            r#"{"A":"1","l1":"x","l2":"a\tb"}"#
        );
    }

    #[test]
    fn tags_come_to_an_end() {
        for template in [
            r#"{{define "x"}}{{template "x"}}{{template "x"}}{{end}}{{template "x"}}"#,
            r#"{{range .ContainerEnv}}{{printf "%60000s" .}}{{end}}"#,
            r#"{{range .ContainerEnv}}{{pad . 99999 1}}{{end}}"#,
        ] {
            let all = [("tag".to_owned(), template.to_owned())].into();
            let told = tag(&Options::new(&all), &subject()).unwrap_err();
            assert!(told.to_string().starts_with("invalid log tag"), "{told}");
        }
    }

    #[test]
    fn tags_are_templates() {
        for (template, expected) in [
            ("plain", "plain"),
            ("{{.ID}}", "0123456789ab"),
            (
                "{{.ImageName}}/{{.Name}}/{{.ImageID}}",
                "busybox:latest/web/fedcba987654",
            ),
            (
                "{{.FullID}} {{.Command}}",
                "0123456789abcdef0123456789abcdef sh -c true",
            ),
            (
                "{{upper .Name}}{{pad .Name 1 0}}{{truncate .Name 2}}",
                "WEB webwe",
            ),
            (
                "{{.DaemonName}}{{index .ContainerLabels \"l1\"}}",
                "dockerx",
            ),
            ("{{json .ContainerArgs}}", r#"["-c","true"]"#),
            (
                "{{title .Name}} {{join (split .ImageName \":\") \"+\"}}",
                "Web busybox+latest",
            ),
        ] {
            let expected = serde_json::json!({ "tag": expected }).to_string();
            assert_eq!(attributes(&[("tag", template)]), expected, "{template}");
        }
        assert_eq!(attributes(&[("tag", "")]), "");
    }
}
