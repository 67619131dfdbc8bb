//! The engine's tables in the metadata store, and the facts in one of them.

use dhow_store::rusqlite::{Connection, params};
use dhow_store::{Durability, Store};

use crate::error::Result;

/// Step 1 of the engine's tables.
pub const SCHEMA_1: &str = "
CREATE TABLE engine_containers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    definition TEXT NOT NULL,
    life TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE engine_volumes (
    name TEXT PRIMARY KEY,
    record TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE engine_facts (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// A fact about this data-root that is made once, such as its id.
pub async fn fact(store: &Store, key: &'static str, make: String) -> Result<String> {
    let value = store
        .write(Durability::Synced, move |c: &Connection| {
            c.execute(
                "INSERT OR IGNORE INTO engine_facts VALUES (?1, ?2)",
                params![key, make],
            )?;
            c.query_row(
                "SELECT value FROM engine_facts WHERE key = ?1",
                [key],
                |r| r.get(0),
            )
        })
        .await?;
    Ok(value)
}
