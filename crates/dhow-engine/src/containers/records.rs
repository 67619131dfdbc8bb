//! Containers in the metadata store: a row each.
//!
//! What a container was defined to be is written once, durably; its state changes often and is written
//! whole each time, from what is in memory at the time of the write, so that writes can't overtake each
//! other.

use std::sync::Arc;

use dhow_store::rusqlite::{self, params};
use dhow_store::{Durability, Store, Unreadable, set_aside};
use serde::Serialize;

use super::container::{Container, Life};
use super::definition::Definition;
use crate::error::{EngineError, Result};
use crate::id::ContainerId;
use crate::storage::schema::OWNER;

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

/// With a state, both are written as one. Whoever changes a container's state has its turn.
pub async fn save_definition(
    store: &Store,
    id: &ContainerId,
    name: &str,
    definition: &Definition,
    life: Option<Life>,
) -> Result<()> {
    let (id, name) = (id.clone(), name.to_owned());
    let text = serde_json::to_string(definition)
        .map_err(|e| EngineError::Internal(format!("the container's definition: {e}")))?;
    store
        .write(Durability::Synced, move |c| {
            let life = life.as_ref().map(json).transpose()?;
            c.execute(
                "UPDATE engine_containers SET name = ?2, definition = ?3, life = COALESCE(?4, life) WHERE id = ?1",
                params![id.as_str(), name, text, life],
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

const TABLE: &str = "engine_containers";

/// All containers. A record that can't be read is set aside.
pub async fn containers(store: &Store) -> Result<Vec<StoredContainer>> {
    let stored = store
        .write(Durability::Synced, |c| {
            let mut statement =
                c.prepare("SELECT id, name, created, definition, life FROM engine_containers")?;
            let rows: Vec<_> = statement
                .query_map([], |r| Ok((r.get_ref(0)?.as_bytes()?.to_vec(), read(r))))?
                .collect::<rusqlite::Result<_>>()?;
            let mut stored = Vec::with_capacity(rows.len());
            for (id, read) in rows {
                match read {
                    Ok(container) => stored.push(container),
                    Err(why) => set_aside(
                        c,
                        &Unreadable {
                            owner: OWNER,
                            table: TABLE,
                            key: &[("id", &id)],
                            why: &why,
                        },
                    )?,
                }
            }
            Ok(stored)
        })
        .await?;
    Ok(stored)
}

fn read(row: &rusqlite::Row<'_>) -> std::result::Result<StoredContainer, String> {
    let text = |at: usize| row.get::<_, String>(at).map_err(|e| e.to_string());
    let id = text(0)?;
    let mut definition: Definition =
        serde_json::from_str(&text(3)?).map_err(|e| format!("definition: {e}"))?;
    definition.make_endpoints_whole();
    Ok(StoredContainer {
        id: ContainerId::parse(&id).ok_or("its id is not 64 hexadecimal digits")?,
        name: text(1)?,
        created: row.get(2).map_err(|e| e.to_string())?,
        definition,
        life: serde_json::from_str(&text(4)?).map_err(|e| format!("state: {e}"))?,
    })
}

/// Whether this container's record was set aside: what is its own must be kept.
pub async fn is_aside(store: &Store, id: &str) -> Result<bool> {
    let id = id.to_owned();
    let aside = store
        .write(Durability::Process, move |c| {
            dhow_store::is_aside(c, TABLE, &[("id", id.as_bytes())])
        })
        .await?;
    Ok(aside)
}
