//! The versions of the tables, by owner.
//!
//! Each owner's tables have a version of their own, in the table `store_versions`: the number of its steps that
//! the store has been taken through. The store's own tables have one, too, under the owner `store`. What is
//! missing is done when the store is opened, in one transaction for all owners, so that an upgrade that fails
//! leaves the store to the daemon that it came from.
//!
//! SQLite's `user_version` says how the versions are kept: [`BY_OWNER`] as above. Below it lie the stores of
//! before, where it counted the steps of all owners in one row; each step knows its place there. Daemons of that
//! time refuse a `user_version` that they don't know.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use crate::error::{Result, StoreError};

/// The tables of one owner, by the steps that lead to them from nothing, in order; step *n* makes version *n*.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// A word that users see, too, as in "the store has image records of version 3".
    pub owner: &'static str,
    pub steps: &'static [Step],
}

/// One step. Once released it is never edited.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What it brings, for the log and for errors.
    pub brings: &'static str,
    pub sql: &'static str,
    /// The `user_version` that it made, if it is from before owners had versions of their own.
    pub formerly: Option<u32>,
}

/// The `user_version` of stores that keep a version for each owner.
const BY_OWNER: u32 = 4;

const STORE: Schema = Schema {
    owner: "store",
    steps: &[Step {
        brings: "versions by owner, and a place for records that can't be read",
        sql: "
CREATE TABLE store_versions (
    owner TEXT PRIMARY KEY,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE set_aside (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    record TEXT NOT NULL,
    why TEXT NOT NULL
) STRICT;
",
        formerly: None,
    }],
};

/// Takes the store to the newest version of every owner.
pub(crate) fn upgrade(connection: &mut Connection, schemas: &[Schema], path: &Path) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let former: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let newer = |owner: &str, found, known| StoreError::Newer {
        path: path.to_owned(),
        owner: owner.to_owned(),
        found,
        known,
    };
    if former < BY_OWNER {
        let known = schemas.iter().flat_map(|s| s.steps);
        let known = known.filter_map(|s| s.formerly).max().unwrap_or(0);
        if former > known {
            return Err(newer("all", former, known));
        }
        climb(&transaction, &STORE, 0, path)?;
        for schema in schemas {
            let made = |step: &&Step| step.formerly.is_some_and(|version| version <= former);
            let version = schema.steps.iter().take_while(made).count();
            set_version(&transaction, schema.owner, version as u32)?;
        }
        transaction.pragma_update(None, "user_version", BY_OWNER)?;
    } else if former > BY_OWNER {
        return Err(newer(STORE.owner, former, BY_OWNER));
    }
    for (owner, found) in versions(&transaction)? {
        let mut all = schemas.iter().chain([&STORE]);
        let known = all.find(|s| s.owner == owner);
        let known = known.map_or(0, |s| s.steps.len() as u32);
        if found > known {
            return Err(newer(&owner, found, known));
        }
    }
    for schema in [&STORE].into_iter().chain(schemas) {
        let found = version(&transaction, schema.owner)?;
        climb(&transaction, schema, found, path)?;
    }
    Ok(transaction.commit()?)
}

/// Does the steps above version `from`.
fn climb(transaction: &Transaction<'_>, schema: &Schema, from: u32, path: &Path) -> Result<()> {
    for (version, step) in (1..).zip(schema.steps).skip(from as usize) {
        transaction
            .execute_batch(step.sql)
            .and_then(|()| set_version(transaction, schema.owner, version))
            .map_err(|source| StoreError::Upgrade {
                path: path.to_owned(),
                owner: schema.owner,
                version,
                brings: step.brings,
                source: Box::new(source),
            })?;
        tracing::info!(
            owner = schema.owner,
            version,
            brings = step.brings,
            "the metadata store is upgraded"
        );
    }
    Ok(())
}

fn versions(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<(String, u32)>> {
    let mut query = transaction.prepare("SELECT owner, version FROM store_versions")?;
    let rows = query.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?;
    rows.collect()
}

fn version(transaction: &Transaction<'_>, owner: &str) -> rusqlite::Result<u32> {
    let query = "SELECT version FROM store_versions WHERE owner = ?1";
    let found = transaction.query_row(query, [owner], |r| r.get(0));
    Ok(found.optional()?.unwrap_or(0))
}

fn set_version(transaction: &Transaction<'_>, owner: &str, version: u32) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT OR REPLACE INTO store_versions VALUES (?1, ?2)",
        (owner, version),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn step(sql: &'static str, formerly: Option<u32>) -> Step {
        Step {
            brings: "a test",
            sql,
            formerly,
        }
    }

    const APPLES: &[Step] = &[
        step("CREATE TABLE apples (k TEXT PRIMARY KEY)", Some(1)),
        step("ALTER TABLE apples ADD COLUMN kind TEXT", Some(3)),
        step("ALTER TABLE apples ADD COLUMN worm TEXT", None),
    ];
    const PEARS: &[Step] = &[step("CREATE TABLE pears (k TEXT PRIMARY KEY)", Some(2))];
    /// In the order of the one row that they once had.
    const FORMER: [&Step; 3] = [&APPLES[0], &PEARS[0], &APPLES[1]];

    fn schema(owner: &'static str, steps: &'static [Step]) -> Schema {
        Schema { owner, steps }
    }

    fn opened(path: &Path, schemas: &[Schema]) -> Result<Connection> {
        let mut connection = Connection::open(path)?;
        upgrade(&mut connection, schemas, path)?;
        Ok(connection)
    }

    fn count(connection: &Connection, query: &str) -> u32 {
        connection.query_row(query, [], |r| r.get(0)).unwrap()
    }

    #[test]
    fn every_store_from_before_owners_is_taken_over() {
        for former in 0..=FORMER.len() {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("m.db");
            let old = Connection::open(&path).unwrap();
            for step in &FORMER[..former] {
                old.execute_batch(step.sql).unwrap();
            }
            old.pragma_update(None, "user_version", former as u32)
                .unwrap();
            if former > 0 {
                old.execute("INSERT INTO apples (k) VALUES ('a')", [])
                    .unwrap();
            }
            drop(old);
            let both = [schema("apples", APPLES), schema("pears", PEARS)];
            for _ in 0..2 {
                let new = opened(&path, &both).unwrap();
                assert_eq!(count(&new, "PRAGMA user_version"), BY_OWNER);
                let apples = count(&new, "SELECT count(*) FROM apples WHERE worm IS NULL");
                assert_eq!(apples, u32::from(former > 0));
                assert_eq!(count(&new, "SELECT count(*) FROM pears"), 0);
                let version = "SELECT version FROM store_versions WHERE owner = 'apples'";
                assert_eq!(count(&new, version), 3);
            }
        }
    }

    #[test]
    fn an_owner_that_comes_later_starts_from_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.db");
        opened(&path, &[schema("apples", APPLES)]).unwrap();
        let both = [schema("apples", APPLES), schema("pears", PEARS)];
        let new = opened(&path, &both).unwrap();
        assert_eq!(count(&new, "SELECT count(*) FROM pears"), 0);
    }

    #[test]
    fn a_newer_store_is_refused_by_its_owner_and_versions() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.db");
        let refusal = |schemas: &[Schema]| opened(&path, schemas).unwrap_err().to_string();
        opened(&path, &[schema("apples", APPLES), schema("pears", PEARS)]).unwrap();
        let older = refusal(&[schema("apples", &APPLES[..2]), schema("pears", PEARS)]);
        assert!(older.contains("has apples records of version 3"), "{older}");
        assert!(older.contains("knows up to 2"), "{older}");
        let without = refusal(&[schema("apples", APPLES)]);
        assert!(
            without.contains("has pears records of version 1"),
            "{without}"
        );
        assert!(without.contains("knows up to 0"), "{without}");
        Connection::open(&path)
            .unwrap()
            .pragma_update(None, "user_version", BY_OWNER + 1)
            .unwrap();
        let layout = refusal(&[schema("apples", APPLES), schema("pears", PEARS)]);
        assert!(
            layout.contains("has store records of version 5"),
            "{layout}"
        );
    }

    #[test]
    fn an_upgrade_that_fails_leaves_the_store_as_it_was() {
        const BROKEN: &[Step] = &[PEARS[0], step("CREATE TABLE", None)];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(APPLES[0].sql).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        let error = opened(&path, &[schema("apples", APPLES), schema("pears", BROKEN)]);
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("pears records, version 2 (a test)"),
            "{error}"
        );
        assert_eq!(count(&old, "PRAGMA user_version"), 1);
        assert_eq!(count(&old, "SELECT count(*) FROM sqlite_schema"), 2);
    }
}
