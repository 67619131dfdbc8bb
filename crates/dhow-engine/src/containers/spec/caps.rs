//! Which capabilities a container's process has: Docker's default fourteen, `CapAdd`, `CapDrop`, and
//! privileged (moby `daemon/pkg/oci/caps`, capabilities(7)).

use std::collections::HashSet;

use dhow_runtime::capabilities;
use oci_spec::runtime::Capability;

use crate::error::{EngineError, Result};

/// What every container may do unless told otherwise.
pub const DEFAULT: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

/// A capability by Docker's name: `CAP_` in front or not, in any case.
pub fn parse(name: &str) -> Result<Capability> {
    capabilities::of_name(name).ok_or_else(|| {
        EngineError::invalid(format!("invalid CapAdd: unknown capability: \"{name}\""))
    })
}

/// The capabilities of a process.
pub fn effective(
    host: &[Capability],
    privileged: bool,
    add: &[String],
    drop: &[String],
) -> Result<Vec<Capability>> {
    let is_all = |n: &String| n.eq_ignore_ascii_case("ALL") || n.eq_ignore_ascii_case("CAP_ALL");
    if privileged {
        return Ok(host.to_vec());
    }
    let named = |list: &[String]| -> Result<Vec<Capability>> {
        list.iter()
            .filter(|n| !is_all(n))
            .map(|n| parse(n))
            .collect()
    };
    let added = named(add)?;
    let dropped: HashSet<Capability> = named(drop)?.into_iter().collect();
    let mut base: Vec<Capability> = if add.iter().any(is_all) {
        host.to_vec()
    } else if drop.iter().any(is_all) {
        Vec::new()
    } else {
        DEFAULT.to_vec()
    };
    // Dropping takes from the base; with everything dropped or added, named ones are the exception.
    base.retain(|c| !dropped.contains(c));
    for c in added {
        if !base.contains(&c) {
            base.push(c);
        }
    }
    Ok(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(add: &[&str], drop: &[&str]) -> Result<Vec<Capability>> {
        let own = |l: &[&str]| l.iter().map(|s| s.to_string()).collect::<Vec<_>>();
        effective(
            &capabilities::of_mask((1 << 41) - 1),
            false,
            &own(add),
            &own(drop),
        )
    }

    #[test]
    fn adding_and_dropping() {
        assert_eq!(caps(&[], &[]).unwrap(), DEFAULT);
        assert_eq!(caps(&["all"], &[]).unwrap().len(), 41);
        assert_eq!(caps(&[], &["ALL"]).unwrap(), []);
        assert_eq!(caps(&["chown"], &["ALL"]).unwrap(), [Capability::Chown]);
        assert_eq!(caps(&["ALL"], &["CAP_SYS_ADMIN"]).unwrap().len(), 40);
        let net = caps(&["NET_ADMIN", "cap_net_admin"], &["mknod"]).unwrap();
        assert_eq!(net.len(), 14);
        assert!(net.contains(&Capability::NetAdmin) && !net.contains(&Capability::Mknod));
    }

    #[test]
    fn an_unknown_name_is_refused() {
        let e = caps(&["FLY"], &[]).unwrap_err().to_string();
        assert_eq!(e, "invalid CapAdd: unknown capability: \"FLY\"");
    }

    #[test]
    fn privileged_has_what_the_host_has() {
        let host = capabilities::of_mask(0b101);
        assert_eq!(
            effective(&host, true, &[], &[]).unwrap(),
            [Capability::Chown, Capability::DacReadSearch]
        );
    }
}
