//! Containers in the metadata store: a row each.
//!
//! What a container was defined to be is written once, durably; its state changes often and is written
//! whole each time, from what is in memory at the time of the write, so that writes can't overtake each
//! other.

use std::sync::Arc;

use dhow_store::rusqlite::{self, params};
use dhow_store::{Durability, Store};
use serde::Serialize;

use super::container::{Container, Life};
use super::definition::Definition;
use crate::error::{EngineError, Result};
use crate::id::ContainerId;

/// A container as it was stored.
#[derive(Debug)]
pub struct StoredContainer {
    pub id: ContainerId,
    pub name: String,
    pub created: i64,
    pub definition: Definition,
    pub life: Life,
}

fn json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
}

/// How durable a container's records are: what is removed when it ends needs to survive no power loss.
pub fn durability(definition: &Definition) -> Durability {
    if definition.host_config.auto_remove {
        Durability::Process
    } else {
        Durability::Synced
    }
}

/// As [`durability`], of a volume that is made for it.
pub fn volume_durability(definition: &Definition, anonymous: bool) -> Durability {
    if anonymous {
        durability(definition)
    } else {
        Durability::Synced
    }
}

pub async fn insert_container(store: &Store, container: &Arc<Container>) -> Result<()> {
    let container = container.clone();
    let durability = durability(&container.definition());
    store
        .write(durability, move |c| {
            let (name, definition, life) = {
                let view = container.view();
                (
                    view.name.clone(),
                    view.definition.clone(),
                    view.life.clone(),
                )
            };
            c.prepare_cached("INSERT INTO engine_containers VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![
                    container.id.as_str(),
                    &*name,
                    container.created,
                    json(&*definition)?,
                    json(&life)?
                ])
        })
        .await?;
    Ok(())
}

/// Writes a state. Whoever changes a container's state has its turn, so that writes can't overtake each other.
pub async fn save_life(store: &Store, id: &ContainerId, life: Life) -> Result<()> {
    let id = id.clone();
    store
        .write(Durability::Process, move |c| {
            c.prepare_cached("UPDATE engine_containers SET life = ?2 WHERE id = ?1")?
                .execute(params![id.as_str(), json(&life)?])
        })
        .await?;
    Ok(())
}

pub async fn save_definition(
    store: &Store,
    id: &ContainerId,
    name: &str,
    definition: &Definition,
) -> Result<()> {
    let (id, name) = (id.clone(), name.to_owned());
    let text = serde_json::to_string(definition)
        .map_err(|e| EngineError::Internal(format!("the container's definition: {e}")))?;
    store
        .write(Durability::Synced, move |c| {
            c.execute(
                "UPDATE engine_containers SET name = ?2, definition = ?3 WHERE id = ?1",
                params![id.as_str(), name, text],
            )
        })
        .await?;
    Ok(())
}

pub async fn delete_container(
    store: &Store,
    id: &ContainerId,
    durability: Durability,
) -> Result<()> {
    let id = id.clone();
    store
        .write(durability, move |c| {
            c.prepare_cached("DELETE FROM engine_containers WHERE id = ?1")?
                .execute([id.as_str()])
        })
        .await?;
    Ok(())
}

pub async fn containers(store: &Store) -> Result<Vec<StoredContainer>> {
    let rows = store
        .write(Durability::Process, |c| {
            let mut statement =
                c.prepare("SELECT id, name, created, definition, life FROM engine_containers")?;
            let rows = statement.query_map([], |r| {
                Ok((
                    r.get::<_, String>(0)?,
                    r.get::<_, String>(1)?,
                    r.get::<_, i64>(2)?,
                    r.get::<_, String>(3)?,
                    r.get::<_, String>(4)?,
                ))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })
        .await?;
    rows.into_iter()
        .map(|(id, name, created, definition, life)| {
            let broken = |what: &str, e: String| {
                EngineError::Internal(format!("the record of container {id}: {what}: {e}"))
            };
            Ok(StoredContainer {
                definition: serde_json::from_str(&definition)
                    .map_err(|e| broken("definition", e.to_string()))?,
                life: serde_json::from_str(&life).map_err(|e| broken("state", e.to_string()))?,
                id: ContainerId::parse(&id)
                    .ok_or_else(|| broken("id", "not 64 hexadecimal digits".into()))?,
                name,
                created,
            })
        })
        .collect()
}
