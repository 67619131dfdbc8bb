//! The names of things that there are now.

use std::collections::BTreeMap;

use dhow_api::Filters;
use dhow_client::Client;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Names;
use crate::contexts::{DEFAULT, Store};

/// All that is read of a container: lists of them are long.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Thing {
    id: String,
    name: String,
    names: Option<Vec<String>>,
    state: String,
    repo_tags: Option<Vec<String>>,
    network_settings: Option<Settings>,
}

impl Thing {
    fn is_on(&self, network: &str) -> bool {
        let networks = self.network_settings.as_ref();
        networks
            .and_then(|settings| settings.networks.as_ref())
            .is_some_and(|networks| networks.contains_key(network))
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Settings {
    networks: Option<BTreeMap<String, IgnoredAny>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VolumeList {
    volumes: Option<Vec<Thing>>,
}

/// Whether container ids are offered besides names, as Docker's client is told.
fn with_ids() -> bool {
    std::env::var("DOCKER_COMPLETION_SHOW_CONTAINER_IDS").is_ok_and(|value| value == "yes")
}

/// `named` is the command's first argument, where it has one.
pub async fn ask(client: &Client, names: Names, named: Option<&String>) -> Option<Vec<String>> {
    let mut found = match names {
        Names::Containers(states) => containers(client, states, |_| true).await?,
        Names::Members(members) => {
            let network = named?;
            containers(client, &[], |thing| thing.is_on(network) == members).await?
        }
        Names::Images => images(client).await?,
        Names::Networks => by_name(client.get("/networks").read().await.ok()?),
        Names::Volumes => volumes(client).await?,
        Names::Objects => {
            let mut all = containers(client, &[], |_| true).await?;
            all.extend(images(client).await.unwrap_or_default());
            let networks: Vec<Thing> = client.get("/networks").read().await.unwrap_or_default();
            all.extend(by_name(networks));
            all.extend(volumes(client).await.unwrap_or_default());
            all
        }
        Names::Contexts => return None,
    };
    found.sort();
    found.dedup();
    Some(found)
}

async fn containers(
    client: &Client,
    states: &[&str],
    fits: impl Fn(&Thing) -> bool,
) -> Option<Vec<String>> {
    let mut filters = Filters::default();
    for state in states {
        filters.add("status", *state);
    }
    let mut call = client.get("/containers/json").flag("all", true);
    if !states.is_empty() {
        call = call.query("filters", serde_json::to_string(&filters).ok()?);
    }
    let list: Vec<Thing> = call.read().await.ok()?;
    let ids = with_ids();
    let mut found = Vec::new();
    for thing in list {
        let other = !states.is_empty() && !states.contains(&thing.state.as_str());
        if other || !fits(&thing) {
            continue;
        }
        // Names with a further slash are of links.
        let names = thing.names.iter().flatten();
        found.extend(
            names
                .map(|name| name.trim_start_matches('/').to_owned())
                .filter(|name| !name.contains('/')),
        );
        if ids {
            found.push(thing.id.chars().take(12).collect());
        }
    }
    Some(found)
}

async fn images(client: &Client) -> Option<Vec<String>> {
    let list: Vec<Thing> = client.get("/images/json").read().await.ok()?;
    let tags = list.into_iter().filter_map(|image| image.repo_tags);
    Some(
        tags.flatten()
            .filter(|tag| !tag.contains("<none>"))
            .collect(),
    )
}

async fn volumes(client: &Client) -> Option<Vec<String>> {
    let list: VolumeList = client.get("/volumes").read().await.ok()?;
    Some(by_name(list.volumes.unwrap_or_default()))
}

fn by_name(things: Vec<Thing>) -> Vec<String> {
    things.into_iter().map(|thing| thing.name).collect()
}

pub fn contexts(store: &Store) -> Option<Vec<String>> {
    let mut names: Vec<String> = store.list().ok()?.into_iter().map(|c| c.name).collect();
    names.push(DEFAULT.to_owned());
    names.sort();
    Some(names)
}
