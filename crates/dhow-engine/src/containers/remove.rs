//! Removing a container: its process, its record, its directory, its anonymous volumes.

use std::sync::Arc;
use std::time::Duration;

use super::container::Container;
use super::signal::SIGKILL;
use super::state::{Event, Refusal, State};
use super::{Containers, Notice, records};
use crate::error::{EngineError, Result};

#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveOptions {
    /// Kill it if it runs.
    pub force: bool,
    /// Remove its anonymous volumes, too.
    pub volumes: bool,
    /// Remove a link, `container/alias`, and no container.
    pub link: bool,
}

impl Containers {
    pub async fn remove(&self, name: &str, options: RemoveOptions) -> Result<()> {
        if options.link {
            return self.remove_link(name).await;
        }
        let container = self.inner.table.find(name)?;
        if let State::Removing(_) = container.state() {
            return Err(container.refused(&Event::Remove, Refusal::Removing));
        }
        let _ops = container.ops.lock().await;
        self.remove_locked(&container, &options).await
    }

    /// The caller holds the operation lock. One that is gone already is no error.
    pub async fn remove_locked(
        &self,
        container: &Arc<Container>,
        options: &RemoveOptions,
    ) -> Result<()> {
        if container.watch().borrow().removed {
            return Ok(());
        }
        if options.force && container.state().is_live() {
            self.stop_locked(container, Some(0), SIGKILL).await?;
        }
        container.turn().await.apply(Event::Remove)?;
        match self.take_apart(container, options).await {
            Ok(()) => Ok(()),
            Err(e) => {
                let turn = container.turn().await;
                if let Err(refusal) = turn.transition(Event::RemoveFailed) {
                    tracing::error!(container = %container.id, ?refusal, "a failed removal found an unexpected state");
                }
                drop(turn);
                self.save(container).await;
                Err(e)
            }
        }
    }

    async fn take_apart(&self, container: &Arc<Container>, options: &RemoveOptions) -> Result<()> {
        let definition = container.definition();
        container.views.end(Duration::ZERO).await;
        // The record goes first: a directory without one is removed by the next start.
        records::delete_container(
            &self.inner.store,
            &container.id,
            records::durability(&definition),
        )
        .await?;
        self.inner
            .trash
            .discard(&container.dir)
            .map_err(EngineError::io(format!(
                "container {}: unable to remove filesystem",
                container.id
            )))?;
        self.remove_group(container).await;
        self.keep_no_address(container);
        self.inner.table.remove(container);
        let execs = {
            let mut view = container.view();
            view.pin = None;
            view.mounted_images.clear();
            view.pending.clear();
            std::mem::take(&mut view.execs)
        };
        self.inner.notices.send(Notice::Removed { execs });
        // Whoever waits for its end finds its volumes gone as well.
        self.let_go_of_volumes(container, options.volumes).await;
        self.tell(container, "destroy", &[]);
        container.set_removed();
        Ok(())
    }
}
