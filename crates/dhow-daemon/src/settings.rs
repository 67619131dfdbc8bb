//! The settings that hold now. Requests take them once and go on with what they took; a reload puts others in their
//! place, all at once.

use std::sync::{Arc, RwLock};

use dhow_distribution::Client;

use crate::config::Config;

/// A handle; clones are the same.
#[derive(Clone, Debug)]
pub struct Settings(Arc<RwLock<Arc<Current>>>);

/// What holds now; who has it keeps it, also over a reload.
#[derive(Debug)]
pub struct Current {
    pub config: Config,
    /// The registries' client, as the configuration says.
    pub distribution: Client,
}

impl Settings {
    pub fn new(config: Config, distribution: Client) -> Settings {
        let current = Current {
            config,
            distribution,
        };
        Settings(Arc::new(RwLock::new(Arc::new(current))))
    }

    /// What holds now.
    pub fn current(&self) -> Arc<Current> {
        self.0.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Puts both in place of what held, at once.
    pub fn replace(&self, config: Config, distribution: Client) {
        let current = Arc::new(Current {
            config,
            distribution,
        });
        *self.0.write().unwrap_or_else(|e| e.into_inner()) = current;
    }
}
