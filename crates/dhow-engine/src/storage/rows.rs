//! Tables of the metadata store whose rows are a key and a record as JSON.

use dhow_store::rusqlite::{self, params};
use dhow_store::{Durability, Store, Unreadable, set_aside};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::schema::OWNER;
use crate::error::{EngineError, Result};

/// One such table of the engine's.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    pub table: &'static str,
    /// The column of the key.
    pub key: &'static str,
}

impl Rows {
    /// Writes a record in the place of the one that the key has, if any.
    pub async fn put<T: Serialize>(
        self,
        store: &Store,
        key: &str,
        record: &T,
        durability: Durability,
    ) -> Result<()> {
        let table = self.table;
        let key = key.to_owned();
        let record = serde_json::to_string(record)
            .map_err(|e| EngineError::Internal(format!("the record of {key} in {table}: {e}")))?;
        store
            .write(durability, move |c| {
                c.execute(
                    &format!("INSERT OR REPLACE INTO {table} VALUES (?1, ?2)"),
                    params![key, record],
                )
            })
            .await?;
        Ok(())
    }

    /// Durably, also where the disk is full. A key that isn't there is passed over.
    pub async fn delete(self, store: &Store, key: &str) -> Result<()> {
        let key = key.to_owned();
        store
            .write(Durability::Synced, move |c| {
                c.execute(
                    &format!("DELETE FROM {} WHERE {} = ?1", self.table, self.key),
                    [key],
                )
            })
            .await?;
        Ok(())
    }

    /// All records. One that can't be read is set aside.
    pub async fn all<T: DeserializeOwned + Send + 'static>(self, store: &Store) -> Result<Vec<T>> {
        let stored = store
            .write(Durability::Synced, move |c| {
                let query = format!("SELECT {}, record FROM {}", self.key, self.table);
                let mut statement = c.prepare(&query)?;
                let rows: Vec<_> = statement
                    .query_map([], |r| {
                        let record = r.get::<_, String>(1).map_err(|e| e.to_string());
                        Ok((r.get_ref(0)?.as_bytes()?.to_vec(), record))
                    })?
                    .collect::<rusqlite::Result<_>>()?;
                let mut stored = Vec::with_capacity(rows.len());
                for (key, record) in rows {
                    let read = record
                        .and_then(|text| serde_json::from_str(&text).map_err(|e| e.to_string()));
                    match read {
                        Ok(record) => stored.push(record),
                        Err(why) => set_aside(
                            c,
                            &Unreadable {
                                owner: OWNER,
                                table: self.table,
                                key: &[(self.key, &key)],
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

    /// Whether this key's record was set aside: what it stands for must be kept.
    pub async fn is_aside(self, store: &Store, key: &str) -> Result<bool> {
        let key = key.to_owned();
        let aside = store
            .write(Durability::Process, move |c| {
                dhow_store::is_aside(c, self.table, &[(self.key, key.as_bytes())])
            })
            .await?;
        Ok(aside)
    }
}
