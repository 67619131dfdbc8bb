//! All containers, by id and by name. Names are reserved here before anything else is made for a container,
//! so that of two creations with one name just one begins.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, RwLock};

use super::container::Container;
use super::links;
use crate::error::{EngineError, Result};
use crate::id::ContainerId;

#[derive(Default)]
pub struct Table {
    inner: RwLock<Entries>,
}

#[derive(Default)]
struct Entries {
    /// Ordered, so that a prefix is a range.
    by_id: BTreeMap<ContainerId, Arc<Container>>,
    by_name: HashMap<String, ContainerId>,
    /// Those that link to others.
    linking: BTreeSet<ContainerId>,
}

impl Table {
    /// Takes the name for the id, or says who has it.
    pub fn reserve(&self, name: &str, id: &ContainerId) -> Result<()> {
        let mut inner = self.write();
        if let Some(holder) = inner.by_name.get(name) {
            return Err(EngineError::NameTaken {
                name: name.to_owned(),
                holder: holder.clone(),
            });
        }
        inner.by_name.insert(name.to_owned(), id.clone());
        Ok(())
    }

    /// Gives a name back, if it is the id's.
    pub fn release(&self, name: &str, id: &ContainerId) {
        let mut inner = self.write();
        if inner.by_name.get(name) == Some(id) {
            inner.by_name.remove(name);
        }
    }

    /// Its name must have been reserved.
    pub fn insert(&self, container: Arc<Container>) {
        self.relink(&container);
        self.write().by_id.insert(container.id.clone(), container);
    }

    /// Its links have changed.
    pub fn relink(&self, container: &Container) {
        let links = links::of(&container.definition()).next().is_some();
        let mut inner = self.write();
        match links {
            true => inner.linking.insert(container.id.clone()),
            false => inner.linking.remove(&container.id),
        };
    }

    /// The containers that link to others.
    pub fn linking(&self) -> Vec<Arc<Container>> {
        let inner = self.read();
        let linking = inner.linking.iter();
        linking
            .filter_map(|id| inner.by_id.get(id).cloned())
            .collect()
    }

    pub fn remove(&self, container: &Container) {
        let name = container.name();
        let mut inner = self.write();
        inner.by_id.remove(&container.id);
        inner.linking.remove(&container.id);
        if inner.by_name.get(&*name) == Some(&container.id) {
            inner.by_name.remove(&*name);
        }
    }

    /// By full id.
    pub fn get(&self, id: &ContainerId) -> Option<Arc<Container>> {
        self.read().by_id.get(id).cloned()
    }

    /// By full id, by name with or without its slash, by what another calls it by a link (`other/alias`), or by the beginning of an id that is no other's.
    pub fn find(&self, reference: &str) -> Result<Arc<Container>> {
        let inner = self.read();
        let missing = || EngineError::NoSuchContainer(reference.to_owned());
        if reference.is_empty() {
            return Err(EngineError::invalid("container name or ID cannot be empty"));
        }
        if let Some(found) = ContainerId::parse(reference).and_then(|id| inner.by_id.get(&id)) {
            return Ok(found.clone());
        }
        let name = reference.strip_prefix('/').unwrap_or(reference);
        if let Some(found) = inner.by_name.get(name).and_then(|id| inner.by_id.get(id)) {
            return Ok(found.clone());
        }
        if let Some((parent, alias)) = name.split_once('/')
            && let Some(parent) = inner.by_name.get(parent).and_then(|id| inner.by_id.get(id))
            && let Some((id, _)) = links::of(&parent.definition()).find(|(_, a)| *a == alias)
            && let Some(found) = inner.by_id.get(&id)
        {
            return Ok(found.clone());
        }
        let mut matching = inner
            .by_id
            .iter()
            .skip_while(|(id, _)| id.as_str() < reference)
            .take_while(|(id, _)| id.as_str().starts_with(reference));
        match (matching.next(), matching.next()) {
            (Some((_, found)), None) => Ok(found.clone()),
            (Some(_), Some(_)) => Err(EngineError::invalid(format!(
                "multiple IDs found with provided prefix: {reference}"
            ))),
            _ => Err(missing()),
        }
    }

    pub fn all(&self) -> Vec<Arc<Container>> {
        self.read().by_id.values().cloned().collect()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Entries> {
        self.inner.read().unwrap_or_else(|e| e.into_inner())
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Entries> {
        self.inner.write().unwrap_or_else(|e| e.into_inner())
    }
}
