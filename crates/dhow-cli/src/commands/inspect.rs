//! `inspect`, of anything or of one kind of thing.

use dhow_client::Client;
use gotmpl::MissingKey;

use super::image;
use crate::error::{Error, Result, all_done, message};
use crate::flags::{Args, Flag, Kind};
use crate::format::json::Json;
use crate::format::template::Format;
use crate::format::time::go_time_of;
use crate::lists::FORMAT_SHORT;
use crate::session::Session;
use crate::stdio;

pub const INSPECT: &[Flag] = &[
    FORMAT_SHORT,
    Flag::new(
        "size",
        Kind::Bool,
        "Show sizes of files, if it is a container",
    )
    .short('s'),
    Flag::new(
        "type",
        Kind::String,
        "Look only at objects of this kind (container|image|network|volume)",
    ),
];

pub const CONTAINER: &[Flag] = &[
    FORMAT_SHORT,
    Flag::new("size", Kind::Bool, "Show sizes of files").short('s'),
];

pub const IMAGE: &[Flag] = &[
    FORMAT_SHORT,
    Flag::new(
        "platform",
        Kind::String,
        "Platform of the image (os[/arch[/variant]])",
    ),
];

pub const NETWORK: &[Flag] = &[
    FORMAT_SHORT,
    Flag::new("verbose", Kind::Bool, "Show what helps to find faults").short('v'),
];

pub const VOLUME: &[Flag] = &[FORMAT_SHORT];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinds {
    Container,
    Image,
    Network,
    Volume,
}

const ALL: [Kinds; 4] = [
    Kinds::Container,
    Kinds::Image,
    Kinds::Network,
    Kinds::Volume,
];

async fn fetch(
    client: &Client,
    kind: Kinds,
    name: &str,
    args: &Args,
    platform: Option<&str>,
) -> dhow_client::Result<Json> {
    match kind {
        Kinds::Container => {
            let size = args.is_set("size");
            client.container_inspect_raw(name, size).await
        }
        Kinds::Image => client.image_inspect_raw(name, platform).await,
        Kinds::Network => {
            let verbose = args.is_set("verbose");
            client.network_inspect_raw(name, verbose).await
        }
        Kinds::Volume => client.volume_inspect_raw(name).await,
    }
}

pub async fn any(session: &Session, args: &Args) -> Result<()> {
    let kinds: &[Kinds] = match args.text("type").unwrap_or_default() {
        "" => &ALL,
        "container" => &ALL[..1],
        "image" => &ALL[1..2],
        "network" => &ALL[2..3],
        "volume" => &ALL[3..],
        other => {
            return Err(message(format!(
                "unknown type: {other:?}: must be one of \"container\", \"image\", \"network\", \"volume\""
            )));
        }
    };
    if args.was_given("type") && args.text("type") == Some("") {
        return Err(message(
            "type is empty: must be one of \"container\", \"image\", \"network\", \"volume\"",
        ));
    }
    run(session, args, kinds).await
}

pub async fn container(session: &Session, args: &Args) -> Result<()> {
    run(session, args, &ALL[..1]).await
}

pub async fn image(session: &Session, args: &Args) -> Result<()> {
    run(session, args, &ALL[1..2]).await
}

pub async fn network(session: &Session, args: &Args) -> Result<()> {
    run(session, args, &ALL[2..3]).await
}

pub async fn volume(session: &Session, args: &Args) -> Result<()> {
    run(session, args, &ALL[3..]).await
}

async fn run(session: &Session, args: &Args, kinds: &[Kinds]) -> Result<()> {
    let template = match args.nonempty("format") {
        None => None,
        Some("json") => Some(Format::parse("{{json .}}", MissingKey::Error)?),
        Some(text) => Some(Format::parse(text, MissingKey::Error)?),
    };
    let platform = image::one_platform(args)?;
    let client = session.client().await?;
    let mut found = Vec::new();
    let mut failures: Vec<String> = Vec::new();
    for name in &args.rest {
        match look(client, name, args, kinds, platform.as_deref()).await {
            Ok(json) => found.push(json),
            Err(error) => failures.push(error.to_string()),
        }
    }
    match &template {
        None => stdio::println(&Json::List(found).pretty())?,
        // In the daemon's order.
        Some(_) if args.text("format") == Some("json") => {
            let text = serde_json::to_string(&Json::List(found));
            stdio::println(&text.map_err(|e| message(e.to_string()))?)?;
        }
        Some(format) => {
            for json in &mut found {
                fill_in(json);
                as_go_prints(json, args.text("format").unwrap_or_default());
                let text = format.execute(&json.to_template()).inspect_err(|_| {
                    // As much as there was of the line, which is nothing.
                    let _ = stdio::println("");
                })?;
                stdio::println(&text)?;
            }
            if found.is_empty() {
                stdio::println("")?;
            }
        }
    }
    all_done(failures)
}

async fn look(
    client: &Client,
    name: &str,
    args: &Args,
    kinds: &[Kinds],
    platform: Option<&str>,
) -> Result<Json> {
    if name.is_empty() {
        return Err(message("invalid id or name: value is empty"));
    }
    for kind in kinds {
        match fetch(client, *kind, name, args, platform).await {
            Ok(json) => return Ok(json),
            Err(error) if kinds.len() > 1 && is_elsewhere(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Message(format!("Error: No such object: {name}")))
}

/// Whether another kind of thing may have this name: it is not there, or no name of this kind.
fn is_elsewhere(error: &dhow_client::Error) -> bool {
    matches!(
        error.status().map(|status| status.as_u16()),
        Some(400 | 404)
    )
}

/// Fields that Docker's types have but newer daemons leave out, for templates that expect them.
fn fill_in(json: &mut Json) {
    let text = |text: &str| Json::String(text.to_owned());
    let Some(settings) = json.get_mut("NetworkSettings") else {
        return;
    };
    let bridge = settings
        .get("Networks")
        .and_then(|networks| networks.get("bridge"))
        .cloned()
        .unwrap_or(Json::Null);
    for name in [
        "IPAddress",
        "Gateway",
        "MacAddress",
        "EndpointID",
        "GlobalIPv6Address",
        "IPv6Gateway",
    ] {
        let value = bridge.get(name).cloned().unwrap_or_else(|| text(""));
        settings.insert_missing(name, value);
    }
    settings.insert_missing("Bridge", text(""));
    for (member, name, empty) in [
        ("HostConfig", "Tmpfs", Json::Map(Vec::new())),
        ("HostConfig", "Sysctls", Json::Map(Vec::new())),
        ("HostConfig", "Annotations", Json::Map(Vec::new())),
        ("HostConfig", "StorageOpt", Json::Map(Vec::new())),
        ("HostConfig", "Mounts", Json::List(Vec::new())),
        ("HostConfig", "Init", Json::Null),
        ("HostConfig", "Runtime", text("")),
        ("Config", "ExposedPorts", Json::Map(Vec::new())),
        ("Config", "Healthcheck", Json::Null),
        ("Config", "StopSignal", text("")),
        ("Config", "StopTimeout", Json::Null),
        ("Config", "Shell", Json::List(Vec::new())),
        ("Config", "OnBuild", Json::Null),
    ] {
        if let Some(part) = json.get_mut(member) {
            part.insert_missing(name, empty);
        }
    }
}

/// What Go's types, which templates see in Docker's client, name or print otherwise than the JSON made of them. A
/// template that names what only the JSON has sees that.
fn as_go_prints(json: &mut Json, template: &str) {
    if template.contains(".ID")
        && let Some(id) = json.get("Id").cloned()
    {
        json.insert_missing("ID", id);
    }
    // Of all things only networks have a time that is no text.
    if json.get("IPAM").is_some()
        && !template.contains(".Id")
        && !template.contains("json")
        && let Some(Json::String(created)) = json.get_mut("Created")
    {
        *created = go_time_of(created);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_print_as_gos_types() {
        let text = r#"{"Id":"1","Created":"2026-11-29T02:00:00.5Z","IPAM":{}}"#;
        let mut network: Json = serde_json::from_str(text).unwrap();
        as_go_prints(&mut network, "{{.ID}} {{.Created}}");
        assert_eq!(network.get("ID"), network.get("Id"));
        let text = text.replace("IPAM", "Config");
        let mut other: Json = serde_json::from_str(&text).unwrap();
        as_go_prints(&mut other, "{{.Created}}");
        let created = |json: &Json| match json.get("Created") {
            Some(Json::String(created)) => created.clone(),
            _ => String::new(),
        };
        assert_eq!(created(&other), "2026-11-29T02:00:00.5Z");
        assert!(
            created(&network).contains(":00.5 +"),
            "{}",
            created(&network)
        );
    }

    #[test]
    fn fields_that_templates_expect_are_filled_in() {
        let mut json: Json = serde_json::from_str(
            r#"{"NetworkSettings":{"Networks":{"bridge":{"IPAddress":"172.17.0.2"}}},"HostConfig":{},"Config":{"StopSignal":"INT"}}"#,
        )
        .unwrap();
        fill_in(&mut json);
        let show = |template: &str| {
            Format::parse(template, MissingKey::Error)
                .and_then(|format| format.execute(&json.to_template()))
                .unwrap()
        };
        assert_eq!(show("{{.NetworkSettings.IPAddress}}"), "172.17.0.2");
        assert_eq!(show("{{.HostConfig.Tmpfs}}"), "map[]");
        assert_eq!(show("{{.Config.StopSignal}}"), "INT");
    }
}
