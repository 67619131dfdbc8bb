//! The registry in this process, which has the `hello-world` image that is part of the program. It is
//! made when it is first asked for: most daemons never do.

use std::sync::{Arc, OnceLock};

use dhow_distribution::Embedded;
use dhow_registry::{MemoryStorage, Registry};

/// What of a connection's bytes may be on the way.
const PIPE: usize = 64 << 10;

pub fn embedded() -> Embedded {
    let registry: OnceLock<Option<Registry<MemoryStorage>>> = OnceLock::new();
    Embedded(Arc::new(move || {
        let (client, server) = tokio::io::duplex(PIPE);
        let registry = registry.get_or_init(|| {
            dhow_hello::registry()
                .inspect_err(|e| tracing::error!("no hello-world: {e}"))
                .ok()
        });
        if let Some(registry) = registry.clone() {
            tokio::spawn(async move {
                if let Err(e) = dhow_registry::serve_connection(server, registry).await {
                    tracing::debug!("the registry in this process: {e}");
                }
            });
        }
        client
    }))
}
