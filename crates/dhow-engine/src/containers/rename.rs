//! Giving a container another name.

use super::Containers;
use super::records;
use crate::error::{EngineError, Result};
use crate::names;

impl Containers {
    pub async fn rename(&self, name: &str, new: &str) -> Result<()> {
        let container = self.inner.table.find(name)?;
        let new = new.strip_prefix('/').unwrap_or(new);
        if new.is_empty() {
            return Err(EngineError::invalid(
                "Neither old nor new names may be empty",
            ));
        }
        if !names::is_valid(new) {
            return Err(EngineError::invalid(format!(
                "Error when allocating new name: Invalid container name ({new}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            )));
        }
        let _ops = container.ops.lock().await;
        let old = container.name();
        if *old == *new {
            return Err(EngineError::invalid(
                "Renaming a container with the same name as its current name",
            ));
        }
        self.inner
            .table
            .reserve(new, &container.id)
            .map_err(|e| EngineError::NewName(Box::new(e)))?;
        if let Err(e) = records::save_definition(
            &self.inner.store,
            &container.id,
            new,
            &container.definition(),
            None,
        )
        .await
        {
            self.inner.table.release(new, &container.id);
            return Err(e);
        }
        container.view().name = new.into();
        let (definition, endpoints) = {
            let view = container.view();
            (view.definition.clone(), view.life.endpoints.clone())
        };
        let wishes = definition.wishes(&container.id, new);
        self.inner.networks.renamed(&wishes, &endpoints);
        self.inner.table.release(&old, &container.id);
        self.tell(&container, "rename", &[("oldName", &format!("/{old}"))]);
        Ok(())
    }
}
