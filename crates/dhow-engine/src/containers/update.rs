//! Changing a container's limits, restart policy and published ports while it exists.

use std::io::ErrorKind;
use std::sync::Arc;

use dhow_api::{ContainerUpdateRequest, ContainerUpdateResponse, Resources};

use super::Containers;
use super::container::Container;
use super::definition::{Definition, parse_restart_policy};
use super::publish::{Asked, DISCARDED};
use super::spec::resources;
use super::state::State;
use super::validate;
use crate::background::blocking;
use crate::error::{EngineError, Result};
use crate::networks::NetworkMode;

impl Containers {
    pub async fn update(
        &self,
        name: &str,
        request: ContainerUpdateRequest,
    ) -> Result<ContainerUpdateResponse> {
        let container = self.inner.table.find(name)?;
        let _ops = container.ops.lock().await;
        if let State::Removing(_) | State::Dead(_) = container.state() {
            return Err(EngineError::Refused(format!(
                "cannot update container {}: Container is marked for removal and cannot be \"update\".",
                container.id
            )));
        }
        let mut definition = Definition::clone(&*container.definition());
        merge(&mut definition.host_config.resources, &request.resources);
        validate::check_resources(&definition.host_config.resources, &self.inner.host)?;
        if !request.restart_policy.name.is_empty() {
            let auto_remove = definition.host_config.auto_remove;
            parse_restart_policy(&request.restart_policy, false)?;
            if auto_remove && request.restart_policy.name != "no" {
                return Err(EngineError::invalid(
                    "Restart policy cannot be updated because AutoRemove is enabled for the container",
                ));
            }
            definition.host_config.restart_policy = request.restart_policy;
        }
        let asked = Asked {
            add: request.publish_add.unwrap_or_default(),
            remove: request.publish_remove.unwrap_or_default(),
        };
        let mut discards = false;
        let mut applied = None;
        if !asked.is_empty() {
            discards = !asked.add.is_empty() && definition.network_mode() == NetworkMode::Host;
            let change = self.plan_ports(&container, &mut definition, asked).await?;
            applied = self.apply_ports(&container, &definition, change).await?;
        }
        let limited = self.limit(&container, &definition).await;
        let mut warnings = match (limited, applied) {
            (Ok(warnings), applied) => {
                self.settle_ports(&container, definition, applied).await?;
                warnings
            }
            (Err(e), applied) => {
                if let Some(applied) = applied {
                    let definition = container.definition();
                    self.undo_ports(&container, &definition, applied).await;
                }
                return Err(e);
            }
        };
        if discards {
            warnings.push(DISCARDED.to_owned());
        }
        self.tell(&container, "update", &[]);
        Ok(ContainerUpdateResponse {
            warnings: Some(warnings).filter(|w| !w.is_empty()),
        })
    }

    /// Gives a running container its limits, and says what of them the kernel can't.
    async fn limit(
        &self,
        container: &Arc<Container>,
        definition: &Definition,
    ) -> Result<Vec<String>> {
        if container.state().run().is_none() {
            return Ok(Vec::new());
        }
        let limits = resources::limits(
            &definition.host_config.resources,
            self.inner.host.cgroup_version,
        )?;
        let cgroup = self.cgroup(container)?;
        blocking(move || cgroup.update(&limits))
            .await?
            .map_err(|e| {
                let what = format!("cannot update container {}", container.id);
                match e.kind() {
                    // The value is none to the kernel, or less than what is in use.
                    ErrorKind::InvalidInput => EngineError::Invalid(format!("{what}: {e}")),
                    ErrorKind::ResourceBusy => EngineError::Refused(format!("{what}: {e}")),
                    _ => EngineError::io(what)(e),
                }
            })
    }
}

/// What the request says takes the place of what was; zero and null say nothing.
fn merge(to: &mut Resources, from: &Resources) {
    fn number<T: Default + PartialEq + Copy>(to: &mut T, from: T) {
        if from != T::default() {
            *to = from;
        }
    }
    fn list<T: Clone>(to: &mut Option<T>, from: &Option<T>) {
        if from.is_some() {
            to.clone_from(from);
        }
    }
    number(&mut to.cpu_shares, from.cpu_shares);
    if from.nano_cpus != 0 {
        to.nano_cpus = from.nano_cpus;
        to.cpu_period = 0;
        to.cpu_quota = 0;
    }
    if from.cpu_period != 0 || from.cpu_quota != 0 {
        to.nano_cpus = 0;
        number(&mut to.cpu_period, from.cpu_period);
        number(&mut to.cpu_quota, from.cpu_quota);
    }
    number(&mut to.cpu_realtime_period, from.cpu_realtime_period);
    number(&mut to.cpu_realtime_runtime, from.cpu_realtime_runtime);
    if !from.cpuset_cpus.is_empty() {
        to.cpuset_cpus.clone_from(&from.cpuset_cpus);
    }
    if !from.cpuset_mems.is_empty() {
        to.cpuset_mems.clone_from(&from.cpuset_mems);
    }
    number(&mut to.memory, from.memory);
    number(&mut to.memory_reservation, from.memory_reservation);
    number(&mut to.memory_swap, from.memory_swap);
    number(&mut to.blkio_weight, from.blkio_weight);
    list(&mut to.blkio_weight_device, &from.blkio_weight_device);
    list(&mut to.blkio_device_read_bps, &from.blkio_device_read_bps);
    list(&mut to.blkio_device_write_bps, &from.blkio_device_write_bps);
    list(&mut to.blkio_device_read_iops, &from.blkio_device_read_iops);
    list(
        &mut to.blkio_device_write_iops,
        &from.blkio_device_write_iops,
    );
    list(&mut to.pids_limit, &from.pids_limit);
}
