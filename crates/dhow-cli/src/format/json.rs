//! JSON that keeps the order in which it was written, so that `inspect` shows what the daemon sent.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use gotmpl::Value;

/// Go has lists and maps that are null in JSON but print as empty ones. These two stand for them, and are
/// known by their address.
static NIL_LIST: LazyLock<Arc<[Value]>> = LazyLock::new(|| Arc::from(Vec::new()));
static NIL_MAP: LazyLock<Arc<BTreeMap<Arc<str>, Value>>> =
    LazyLock::new(|| Arc::new(BTreeMap::new()));

/// The members of the API's answers that are such lists.
const NULL_LISTS: &[&str] = &[
    "Aliases",
    "Args",
    "Binds",
    "BlkioDeviceReadBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps",
    "BlkioWeightDevice",
    "CapAdd",
    "CapDrop",
    "Cmd",
    "DNSNames",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "Entrypoint",
    "Env",
    "ExecIDs",
    "ExtraHosts",
    "GroupAdd",
    "Links",
    "MaskedPaths",
    "Mounts",
    "OnBuild",
    "ReadonlyPaths",
    "RepoDigests",
    "RepoTags",
    "SecurityOpt",
    "Shell",
    "Ulimits",
    "VolumesFrom",
];

/// And such maps.
const NULL_MAPS: &[&str] = &[
    "Annotations",
    "DriverOpts",
    "ExposedPorts",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];

/// A value with its members in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    String(String),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

impl Json {
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Map(members) => members
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// Adds a member that is not there yet.
    pub fn insert_missing(&mut self, name: &str, value: Json) {
        if let Json::Map(members) = self
            && !members.iter().any(|(key, _)| key == name)
        {
            members.push((name.to_owned(), value));
        }
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Json> {
        match self {
            Json::Map(members) => members
                .iter_mut()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// For templates, which see maps in the order of their keys.
    pub fn to_template(&self) -> Value {
        match self {
            Json::Null => Value::Nil,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(n), _) => Value::Int(n),
                (_, Some(n)) => Value::Uint(n),
                _ => Value::Float(number.as_f64().unwrap_or_default()),
            },
            Json::String(text) => Value::String(text.as_str().into()),
            Json::List(list) => Value::List(list.iter().map(Json::to_template).collect()),
            Json::Map(members) => Value::Map(Arc::new(
                members
                    .iter()
                    .map(|(key, value)| {
                        let value = match value {
                            Json::Null if NULL_LISTS.contains(&key.as_str()) => {
                                Value::List(NIL_LIST.clone())
                            }
                            Json::Null if NULL_MAPS.contains(&key.as_str()) => {
                                Value::Map(NIL_MAP.clone())
                            }
                            value => value.to_template(),
                        };
                        (key.as_str().into(), value)
                    })
                    .collect(),
            )),
        }
    }

    /// Indented by four spaces, as `inspect` shows it.
    pub fn pretty(&self) -> String {
        let mut bytes = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
        // Values of this type have text keys only, and memory takes every write.
        let _ = self.serialize(&mut serializer);
        String::from_utf8(bytes).unwrap_or_default()
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(value) => serializer.serialize_bool(*value),
            Json::Number(number) => number.serialize(serializer),
            Json::String(text) => serializer.serialize_str(text),
            Json::List(list) => {
                let mut seq = serializer.serialize_seq(Some(list.len()))?;
                for value in list {
                    seq.serialize_element(value)?;
                }
                seq.end()
            }
            Json::Map(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element()? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Json::Map(members))
    }
}

/// JSON with the escapes that Go's encoder makes of what HTML would not like.
pub fn escape_html(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

/// A template's value as JSON, as Go's encoder writes it without escaping HTML.
pub fn from_template(value: &Value) -> serde_json::Value {
    match value {
        Value::Nil | Value::Function(_) => serde_json::Value::Null,
        Value::List(list) if Arc::ptr_eq(list, &NIL_LIST) => serde_json::Value::Null,
        Value::Map(map) if Arc::ptr_eq(map, &NIL_MAP) => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(n) => (*n).into(),
        Value::Uint(n) => (*n).into(),
        Value::Float(n) => (*n).into(),
        Value::String(text) => serde_json::Value::String(text.to_string()),
        Value::List(list) => list.iter().map(from_template).collect(),
        Value::Map(map) => map
            .iter()
            .map(|(key, value)| (key.to_string(), from_template(value)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_lists_print_as_empty_ones_and_stay_null_in_json() {
        let json: Json =
            serde_json::from_str(r#"{"Binds":null,"Volumes":null,"Empty":[]}"#).unwrap();
        let value = json.to_template();
        assert_eq!(value.to_string(), "map[Binds:[] Empty:[] Volumes:map[]]");
        assert_eq!(
            from_template(&value),
            serde_json::json!({"Binds":null,"Volumes":null,"Empty":[]})
        );
    }

    #[test]
    fn order_and_emptiness_survive() {
        let json: Json =
            serde_json::from_str(r#"{"b":1,"a":{"z":[],"y":{},"x":null},"c":[1.5,"<&>"]}"#)
                .unwrap();
        assert_eq!(
            json.pretty(),
            "{\n    \"b\": 1,\n    \"a\": {\n        \"z\": [],\n        \"y\": {},\n        \"x\": null\n    },\n    \"c\": [\n        1.5,\n        \"<&>\"\n    ]\n}"
        );
    }
}
