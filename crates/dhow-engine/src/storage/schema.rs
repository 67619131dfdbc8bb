//! The engine's tables in the metadata store, and the facts in one of them.

use dhow_store::rusqlite::{Connection, params};
use dhow_store::{Durability, Schema, Step, Store};

use crate::error::Result;

/// Who the engine is in the store.
pub const OWNER: &str = "engine";

/// The engine's tables.
pub const SCHEMA: Schema = Schema {
    owner: OWNER,
    steps: &[
        Step {
            brings: "containers, volumes and facts",
            formerly: Some(2),
            sql: "
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
",
        },
        Step {
            brings: "networks",
            formerly: None,
            sql: "
CREATE TABLE engine_networks (
    id TEXT PRIMARY KEY,
    record TEXT NOT NULL
) STRICT, WITHOUT ROWID;
",
        },
    ],
};

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Stores once had one version for all owners, and their steps in this order.
    #[test]
    fn stores_of_every_earlier_version_are_taken_over() {
        let images = dhow_image::Images::schema();
        let former = [
            images.steps[0].sql,
            SCHEMA.steps[0].sql,
            images.steps[1].sql,
        ];
        for version in 1..=former.len() {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("metadata.db");
            let old = Connection::open(&path).unwrap();
            for step in &former[..version] {
                old.execute_batch(step).unwrap();
            }
            old.pragma_update(None, "user_version", version as u32)
                .unwrap();
            let blob = format!("sha256:{}", "0".repeat(64));
            old.execute("INSERT INTO image_blobs VALUES (?1, 1)", [&blob])
                .unwrap();
            if version > 1 {
                old.execute("INSERT INTO engine_facts VALUES ('id', 'x')", [])
                    .unwrap();
            }
            drop(old);
            let store = Store::open(&path, &[images, SCHEMA]).unwrap();
            let found: (i64, i64, i64) = store
                .write_blocking(Durability::Process, |c| {
                    let count = |table: &str| {
                        c.query_row(&format!("SELECT count(*) FROM {table}"), [], |r| r.get(0))
                    };
                    let facts = count("engine_facts")?;
                    Ok((count("image_blobs")?, facts, count("image_unsettled")?))
                })
                .unwrap();
            assert_eq!(found, (1, i64::from(version > 1), 0), "{version}");
        }
    }
}
