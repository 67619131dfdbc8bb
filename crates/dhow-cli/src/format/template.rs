//! Go templates, with the functions that Docker adds to Go's own.

use std::sync::Arc;

use gotmpl::{FuncMap, MissingKey, Template, TemplateError, Value};

use crate::format::json;

/// A template that was understood.
pub struct Format {
    template: Template,
    asks_labels: bool,
}

/// The one method of Docker's listed things that takes an argument. The engine's fields take none, so
/// that `.Label "name"` is read as `label .Label "name"`: the field is all labels, the function finds one.
pub const LABEL: &str = "Label";

/// Why a template was not understood, or not carried out.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("template parsing error: {0}")]
    Parse(TemplateError),
    #[error("template parsing error: {0}")]
    Execute(TemplateError),
    #[error("Error parsing format: {0}")]
    ParseEvents(TemplateError),
    #[error("failed to parse template: {0}")]
    ParseList(TemplateError),
    #[error("failed to execute template: {0}")]
    ExecuteList(TemplateError),
}

impl FormatError {
    /// And so does `events`.
    pub fn of_events(self) -> FormatError {
        match self {
            FormatError::Parse(error) => FormatError::ParseEvents(error),
            other => other,
        }
    }

    /// Lists word it otherwise than `inspect` does.
    pub fn of_list(self) -> FormatError {
        match self {
            FormatError::Parse(error) => FormatError::ParseList(error),
            FormatError::Execute(error) => FormatError::ExecuteList(error),
            other => other,
        }
    }
}

fn text(args: &[Value], at: usize) -> String {
    args.get(at).map(Value::to_string).unwrap_or_default()
}

/// What text is padded with is no more than this: a formatter's own widths end at 65,535.
const PADDING: usize = 16 * 1024;

fn integer(name: &str, args: &[Value], at: usize) -> Result<usize, TemplateError> {
    args.get(at)
        .and_then(Value::as_int)
        .and_then(|n| usize::try_from(n).ok())
        .ok_or_else(|| TemplateError::Exec(format!("{name} expects a number")))
}

fn count(name: &str, args: &[Value], expected: usize) -> Result<(), TemplateError> {
    if args.len() == expected {
        return Ok(());
    }
    Err(TemplateError::ArgCount {
        name: name.to_owned(),
        expected,
        got: args.len(),
    })
}

fn string(text: impl AsRef<str>) -> Result<Value, TemplateError> {
    Ok(Value::String(text.as_ref().into()))
}

/// Each word with its first letter in upper case.
fn title(text: &str) -> String {
    let mut previous = ' ';
    text.chars()
        .flat_map(|c| {
            let begins = !previous.is_alphanumeric() && previous != '_' && previous != '\'';
            previous = c;
            if begins {
                c.to_uppercase().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect()
}

fn functions() -> FuncMap {
    let mut map = FuncMap::new();
    let mut add = |name: &'static str,
                   arity: usize,
                   function: fn(&[Value]) -> Result<Value, TemplateError>| {
        map.insert(
            name.to_owned(),
            Arc::new(move |args: &[Value]| {
                count(name, args, arity)?;
                function(args)
            }),
        );
    };
    add("json", 1, |args| {
        string(json::from_template(&args[0]).to_string())
    });
    add("lower", 1, |args| string(text(args, 0).to_lowercase()));
    add("upper", 1, |args| string(text(args, 0).to_uppercase()));
    add("title", 1, |args| string(title(&text(args, 0))));
    add("split", 2, |args| {
        let separator = text(args, 1);
        Ok(Value::List(
            text(args, 0)
                .split(separator.as_str())
                .map(|part| Value::String(part.into()))
                .collect(),
        ))
    });
    add("join", 2, |args| match &args[0] {
        Value::List(list) => {
            let parts: Vec<String> = list.iter().map(Value::to_string).collect();
            string(parts.join(&text(args, 1)))
        }
        Value::Nil => string(""),
        other => Err(TemplateError::TypeMismatch {
            expected: "list",
            got: other.type_name(),
        }),
    });
    add("pad", 3, |args| {
        let (before, after) = (integer("pad", args, 1)?, integer("pad", args, 2)?);
        if before.max(after) > PADDING {
            return Err(TemplateError::Exec(format!(
                "pad takes no more than {PADDING} spaces"
            )));
        }
        match text(args, 0).as_str() {
            "" => string(""),
            inner => string(format!("{:before$}{inner}{:after$}", "", "")),
        }
    });
    add("truncate", 2, |args| {
        let length = integer("truncate", args, 1)?;
        string(text(args, 0).chars().take(length).collect::<String>())
    });
    add("label", 2, |args| {
        let name = text(args, 1);
        match &args[0] {
            Value::Map(labels) => match labels.get(name.as_str()) {
                Some(value) => Ok(value.clone()),
                // As Go's map has it.
                None => string(""),
            },
            // A heading: the last part of the name, as words.
            _ => string(
                name.rsplit('.')
                    .next()
                    .unwrap_or_default()
                    .replace(['-', '_'], " "),
            ),
        }
    });
    map
}

/// The text with its calls of [`LABEL`] as calls of a function, and whether it has any.
fn with_labels(text: &str) -> (String, bool) {
    let mut out = String::with_capacity(text.len());
    let mut found = false;
    // Within an action, and the quote of the string within that.
    let (mut action, mut quote) = (false, None);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | ')');
        if let (true, None, Some(after)) = (action, quote, rest.strip_prefix(".Label"))
            && after.starts_with(' ')
            && !out.ends_with(word)
        {
            let dollar = out.ends_with('$');
            out.truncate(out.len() - usize::from(dollar));
            out.push_str(if dollar {
                "label $.Label"
            } else {
                "label .Label"
            });
            (found, rest) = (true, after);
            continue;
        }
        let mut taken = c.len_utf8();
        match (action, quote) {
            (false, _) => action = rest.starts_with("{{"),
            (true, None) if rest.starts_with("}}") => action = false,
            (true, None) if matches!(c, '"' | '`' | '\'') => quote = Some(c),
            (true, Some('"' | '\'')) if c == '\\' => {
                taken += rest[taken..].chars().next().map_or(0, char::len_utf8);
            }
            (true, Some(open)) if c == open => quote = None,
            _ => {}
        }
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    (out, found)
}

/// A template's text, in which `\t` and `\n` may be written as two characters.
pub fn unescaped(text: &str) -> String {
    text.trim_matches(' ')
        .replace("\\t", "\t")
        .replace("\\n", "\n")
}

impl Format {
    pub fn parse(text: &str, missing: MissingKey) -> Result<Format, FormatError> {
        let (text, asks_labels) = with_labels(&unescaped(text));
        let template = Template::new("")
            .missing_key(missing)
            .funcs(functions())
            .parse(&text)
            .map_err(FormatError::Parse)?;
        Ok(Format {
            template,
            asks_labels,
        })
    }

    /// Whether the template calls [`LABEL`].
    pub fn asks_labels(&self) -> bool {
        self.asks_labels
    }

    pub fn execute(&self, value: &Value) -> Result<String, FormatError> {
        self.template
            .execute_to_string(value)
            .map_err(FormatError::Execute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::json::Json;

    fn run(template: &str) -> String {
        let data: Json = serde_json::from_str(
            r#"{"Name":"/web","Tags":["a","b"],"State":{"Running":true,"Pid":7},"Labels":{"x.y":"<1>"},"None":null}"#,
        )
        .unwrap();
        match Format::parse(template, MissingKey::Error)
            .and_then(|f| f.execute(&data.to_template()))
        {
            Ok(text) => text,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn templates_do_what_gos_and_dockers_do() {
        for (template, expected) in [
            ("{{.Name}}", "/web"),
            (
                "{{json .}}",
                r#"{"Labels":{"x.y":"<1>"},"Name":"/web","None":null,"State":{"Pid":7,"Running":true},"Tags":["a","b"]}"#,
            ),
            ("{{json .Tags}}", r#"["a","b"]"#),
            ("{{.Tags}}", "[a b]"),
            ("{{join .Tags \",\"}}", "a,b"),
            ("{{index .Labels \"x.y\"}}", "<1>"),
            ("{{range .Tags}}{{.}};{{end}}", "a;b;"),
            ("{{range $i, $t := .Tags}}{{$i}}={{$t}} {{end}}", "0=a 1=b "),
            ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
            ("{{.Name | upper | printf \"%s!\"}}", "/WEB!"),
            ("{{title \"hello world\"}}", "Hello World"),
            ("{{(split .Name \"/\")}}", "[ web]"),
            ("{{truncate .Name 2}}|{{pad .Name 1 2}}|", "/w| /web  |"),
            ("{{println .Name}}", "/web\n"),
            ("{{len .Tags}} {{eq .State.Pid 7}}", "2 true"),
            (r"a\tb", "a\tb"),
            ("{{.None}}", "<no value>"),
        ] {
            assert_eq!(run(template), expected, "{template}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_template_is_said() {
        assert!(run("{{.Nope}}").contains("map has no entry for key"));
        for bad in [
            "{{",
            "{{.Name",
            "{{nope .}}",
            "{{join .Name \",\"}}",
            "{{upper}}",
        ] {
            assert!(
                run(bad).starts_with("template parsing error: "),
                "{bad}: {}",
                run(bad)
            );
        }
        let wide = run("{{pad .Name 70000 1}}");
        assert!(wide.contains("pad takes no more than"), "{wide}");
    }
}
