//! The networks that were made, by their ids and by their names.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use super::made::Made;

#[derive(Default)]
pub struct Table {
    by_id: BTreeMap<String, Arc<Made>>,
    /// Ids, by the names.
    ids: HashMap<String, String>,
}

impl Table {
    pub fn insert(&mut self, made: Arc<Made>) {
        let record = &made.record;
        self.ids.insert(record.name.clone(), record.id.clone());
        self.by_id.insert(record.id.clone(), made);
    }

    pub fn remove(&mut self, id: &str) {
        if let Some(made) = self.by_id.remove(id) {
            self.ids.remove(&made.record.name);
        }
    }

    pub fn get(&self, id: &str) -> Option<&Arc<Made>> {
        self.by_id.get(id)
    }

    pub fn named(&self, name: &str) -> Option<&Arc<Made>> {
        self.by_id.get(self.ids.get(name)?)
    }

    /// Those whose ids begin so.
    pub fn beginning<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Arc<Made>> {
        self.by_id
            .range::<str, _>((Bound::Included(id), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(id))
            .map(|(_, made)| made)
    }

    pub fn values(&self) -> impl Iterator<Item = &Arc<Made>> {
        self.by_id.values()
    }
}

impl FromIterator<Arc<Made>> for Table {
    fn from_iter<T: IntoIterator<Item = Arc<Made>>>(all: T) -> Table {
        let mut table = Table::default();
        for made in all {
            table.insert(made);
        }
        table
    }
}
