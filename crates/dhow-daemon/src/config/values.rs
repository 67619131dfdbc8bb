//! Values of flags that have a form of their own.

use dhow_api::Ulimit;

use super::{AddressPool, ConfigError};

/// `NAME=SOFT[:HARD]`.
pub(super) fn ulimit(text: &str) -> Result<Ulimit, ConfigError> {
    let parse = || {
        let (name, limits) = text.split_once('=')?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        Some(Ulimit {
            name: name.to_owned(),
            soft: soft.parse().ok()?,
            hard: hard.parse().ok()?,
        })
    };
    parse().ok_or_else(|| {
        ConfigError::Invalid(format!(
            "invalid ulimit {text:?}: expected NAME=SOFT[:HARD]"
        ))
    })
}

/// `base=CIDR,size=PREFIX`.
pub(super) fn address_pool(text: &str) -> Result<AddressPool, ConfigError> {
    let value = |name: &str| {
        text.split(',')
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
    };
    match (value("base"), value("size").map(str::parse)) {
        (Some(base), Some(Ok(size))) => Ok(AddressPool {
            base: base.to_owned(),
            size,
        }),
        _ => Err(ConfigError::Invalid(format!(
            "invalid address pool {text:?}: expected base=CIDR,size=PREFIX"
        ))),
    }
}
