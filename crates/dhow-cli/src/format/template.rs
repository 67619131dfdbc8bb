//! Go templates, with the functions that Docker adds to Go's own.

use std::sync::Arc;

use gotmpl::{FuncMap, MissingKey, Template, TemplateError, Value};

use crate::format::json;

/// A template that was understood.
pub struct Format(Template);

/// Why a template was not understood, or not carried out.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("template parsing error: {0}")]
    Parse(TemplateError),
    #[error("template parsing error: {0}")]
    Execute(TemplateError),
    #[error("failed to parse template: {0}")]
    ParseList(TemplateError),
    #[error("failed to execute template: {0}")]
    ExecuteList(TemplateError),
}

impl FormatError {
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
        match text(args, 0).as_str() {
            "" => string(""),
            inner => string(format!("{:before$}{inner}{:after$}", "", "")),
        }
    });
    add("truncate", 2, |args| {
        let length = integer("truncate", args, 1)?;
        string(text(args, 0).chars().take(length).collect::<String>())
    });
    map
}

/// A template's text, in which `\t` and `\n` may be written as two characters.
pub fn unescaped(text: &str) -> String {
    text.trim_matches(' ')
        .replace("\\t", "\t")
        .replace("\\n", "\n")
}

impl Format {
    pub fn parse(text: &str, missing: MissingKey) -> Result<Format, FormatError> {
        Template::new("")
            .missing_key(missing)
            .funcs(functions())
            .parse(&unescaped(text))
            .map(Format)
            .map_err(FormatError::Parse)
    }

    pub fn execute(&self, value: &Value) -> Result<String, FormatError> {
        self.0
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
    }
}
