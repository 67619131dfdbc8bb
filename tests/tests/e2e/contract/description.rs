//! The published description of the Engine API, of one version: which operations there are, what they may answer, and
//! the schemas that the answers must keep to.
//!
//! It is of Swagger 2.0, whose schemas are JSON schemas of an early draft with additions of its own. They are brought to
//! the draft of 2020-12. The newest is made stricter by one thing: an object has no properties but those described; clients
//! of an old version leave alone what it doesn't have yet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

pub const OLDEST: &str = "1.25";
pub const NEWEST: &str = "1.56";

/// What is null where the descriptions say that it never is, here and in Docker.
const NULLABLE: &[&str] = &["ExitCode", "MemorySwappiness", "OomKillDisable"];

/// What the oldest description gives a type that it never had.
const MISDESCRIBED: &[&str] = &[
    "Containers",
    "Entrypoint",
    "ExecIDs",
    "PidsLimit",
    "PortBindings",
    "Ports",
];

/// What is described as never absent, and is not described itself: neither Docker nor anything here has it.
const NEVER_THERE: &[&str] = &["UnpackedSize"];

/// What has more properties than are described, here and in Docker: those of the versions before, for clients that look for them.
const OPEN: &[&str] = &["GET /system/df"];

pub struct Description {
    draft: Draft,
    root: Value,
    /// By `METHOD path`.
    operations: BTreeMap<String, Operation>,
}

pub struct Operation {
    /// The section that it is in, such as `Container`.
    pub tag: String,
    /// By status: the answer's schema, if it has one.
    responses: BTreeMap<u16, Option<Value>>,
}

/// Where `cargo xtask` has found the descriptions.
fn directory() -> PathBuf {
    std::env::var_os("DHOW_API_DESCRIPTIONS").map_or_else(
        || {
            let home = std::env::var("HOME").unwrap_or_default();
            Path::new(&home).join("go/pkg/mod/github.com/moby/moby/api@v1.56.0/docs")
        },
        PathBuf::from,
    )
}

/// The description of a version.
pub fn published(version: &str) -> PathBuf {
    directory().join(format!("v{version}.yaml"))
}

impl Description {
    pub fn of(version: &str) -> Description {
        let draft = Draft {
            closed: version == NEWEST,
            trusted: version != OLDEST,
        };
        let path = published(version);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("{}: {e}: run `cargo xtask setup`", path.display()));
        let root: Value = serde_saphyr::from_str(&text).expect("the description is YAML");
        let mut operations = BTreeMap::new();
        for (path, methods) in root["paths"].as_object().into_iter().flatten() {
            for (method, operation) in methods.as_object().into_iter().flatten() {
                if !matches!(method.as_str(), "get" | "head" | "post" | "put" | "delete") {
                    continue;
                }
                let name = format!("{} {path}", method.to_uppercase());
                operations.insert(name, Operation::parse(&root, operation));
            }
        }
        let mut definitions = Map::new();
        for (name, schema) in root["definitions"].as_object().into_iter().flatten() {
            definitions.insert(name.clone(), draft.of(schema, false));
        }
        Description {
            draft,
            root: json!({ "definitions": definitions }),
            operations,
        }
    }

    pub fn operations(&self) -> &BTreeMap<String, Operation> {
        &self.operations
    }

    /// What is wrong with an answer, if anything is.
    pub fn check(&self, operation: &str, status: u16, body: &str) -> Option<String> {
        let Some(described) = self.operations.get(operation) else {
            return Some("it is not described".to_owned());
        };
        let Some(schema) = described.responses.get(&status) else {
            return Some(format!("{status} is no answer of it: {body}"));
        };
        let schema = schema.as_ref()?;
        // A bare type of text, or of a file.
        if body.is_empty() || matches!(schema["type"].as_str(), Some("string" | "file")) {
            return None;
        }
        let answer: Value = match serde_json::from_str(body) {
            Ok(answer) => answer,
            Err(e) => return Some(format!("{status}: not JSON: {e}: {body}")),
        };
        let mut whole = self.draft.of(schema, !OPEN.contains(&operation));
        whole["definitions"] = self.root["definitions"].clone();
        let errors: Vec<String> = validator(&whole)
            .iter_errors(&answer)
            .map(|e| format!("{}: {}", e.instance_path(), e.masked()))
            .collect();
        (!errors.is_empty()).then(|| format!("{status}: {}", errors.join("; ")))
    }
}

impl Operation {
    fn parse(root: &Value, operation: &Value) -> Operation {
        let mut responses = BTreeMap::new();
        for (status, response) in operation["responses"].as_object().into_iter().flatten() {
            // One that several operations share stands elsewhere.
            let response = match response["$ref"].as_str() {
                Some(reference) => root
                    .pointer(reference.trim_start_matches('#'))
                    .unwrap_or(response),
                None => response,
            };
            if let Ok(status) = status.parse() {
                responses.insert(status, response.get("schema").cloned());
            }
        }
        Operation {
            tag: operation["tags"][0].as_str().unwrap_or_default().to_owned(),
            responses,
        }
    }

    pub fn may_answer(&self, status: u16) -> bool {
        self.responses.contains_key(&status)
    }
}

fn validator(schema: &Value) -> Validator {
    jsonschema::draft202012::new(schema).unwrap_or_else(|e| panic!("{e}"))
}

/// Brings schemas to the newer draft.
#[derive(Clone, Copy)]
struct Draft {
    /// An object has no properties but those described.
    closed: bool,
    /// Types are right, also of what is [`MISDESCRIBED`] elsewhere.
    trusted: bool,
}

impl Draft {
    /// `whole` says that nothing else adds properties to the object: it is no part of an `allOf`, and no definition, which may be
    /// one elsewhere.
    fn of(&self, schema: &Value, whole: bool) -> Value {
        let Some(old) = schema.as_object() else {
            return schema.clone();
        };
        let mut new = Map::new();
        for (key, value) in old {
            match key.as_str() {
                "properties" => {
                    let properties = value.as_object().into_iter().flatten();
                    let properties =
                        properties.map(|(name, s)| (name.clone(), self.property(name, s)));
                    new.insert(key.clone(), Value::Object(properties.collect()));
                }
                "items" | "additionalProperties" => {
                    new.insert(key.clone(), self.of(value, true));
                }
                "allOf" => {
                    let parts = value.as_array().into_iter().flatten();
                    let parts = parts.map(|part| self.of(part, false));
                    new.insert(key.clone(), parts.collect());
                }
                "required" => {
                    let names = value.as_array().into_iter().flatten();
                    let there =
                        |name: &&Value| !NEVER_THERE.contains(&name.as_str().unwrap_or_default());
                    new.insert(key.clone(), names.filter(there).cloned().collect());
                }
                "type" | "$ref" | "minimum" | "maximum" | "pattern" => {
                    new.insert(key.clone(), value.clone());
                }
                // Words in prose, examples, formats; and lists of words, which old descriptions have not kept complete.
                _ => {}
            }
        }
        let is_object = ["properties", "allOf", "$ref"]
            .iter()
            .any(|key| new.contains_key(*key));
        if self.closed && whole && is_object && !new.contains_key("additionalProperties") {
            new.insert("unevaluatedProperties".to_owned(), json!(false));
        }
        // Go writes an empty list, map or pointer as null, whatever is described; of text and numbers it has none.
        let kind = old.get("type").and_then(Value::as_str);
        let scalar = matches!(kind, Some("string" | "integer" | "number" | "boolean"));
        if let Some(kind) = kind
            && (!scalar || schema["x-nullable"] == json!(true))
        {
            new.insert("type".to_owned(), json!([kind, "null"]));
        }
        Value::Object(new)
    }

    fn property(&self, name: &str, schema: &Value) -> Value {
        if !self.trusted && MISDESCRIBED.contains(&name) {
            return json!({});
        }
        let mut schema = schema.clone();
        if NULLABLE.contains(&name) {
            schema["x-nullable"] = json!(true);
        }
        self.of(&schema, true)
    }
}
