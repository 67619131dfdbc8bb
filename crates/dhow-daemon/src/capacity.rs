//! What the host's kernel has for all containers together, and is too little for many.
//!
//! These are settings of the whole host, which Dhow leaves alone: it says when one is near, and what changes it.

use std::fs;

/// One limit of the kernel's, for all network namespaces.
struct Limit {
    /// Below `/proc/sys`. Only the host's own network namespace has it.
    path: &'static str,
    /// So many running containers come near it: a part of it.
    divisor: u64,
    what: &'static str,
    /// What to make of it.
    enough: u64,
}

const LIMITS: [Limit; 2] = [
    Limit {
        // The host's entry of each container and each container's of its gateway don't count; those of containers that talk
        // to each other do, two for each pair.
        path: "net/ipv4/neigh/default/gc_thresh3",
        divisor: 2,
        what: "addresses of neighbours",
        enough: 65_536,
    },
    Limit {
        // Copies of a frame for everybody on a network wait here.
        path: "net/core/netdev_max_backlog",
        divisor: 1,
        what: "waiting frames",
        enough: 20_000,
    },
];

/// Said to whoever asks for information, and at the start.
pub fn warnings(running: u64) -> Vec<String> {
    let limits = LIMITS.iter();
    limits
        .filter_map(|limit| {
            let text = fs::read_to_string(format!("/proc/sys/{}", limit.path)).ok()?;
            warning(limit, running, text.trim().parse().ok()?)
        })
        .collect()
}

fn warning(limit: &Limit, running: u64, has: u64) -> Option<String> {
    if running < has / limit.divisor {
        return None;
    }
    Some(format!(
        "WARNING: {running} containers run, and the kernel has room for {has} {}: some may not reach each other. \
         More: sysctl -w {}={}",
        limit.what,
        limit.path.replace('/', "."),
        limit.enough
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_a_limit_it_says_what_changes_it() {
        assert_eq!(warning(&LIMITS[0], 511, 1024), None);
        assert_eq!(
            warning(&LIMITS[0], 512, 1024).as_deref(),
            Some(
                "WARNING: 512 containers run, and the kernel has room for 1024 addresses of neighbours: some may not reach \
                 each other. More: sysctl -w net.ipv4.neigh.default.gc_thresh3=65536"
            )
        );
        assert_eq!(warning(&LIMITS[1], 999, 1000), None);
    }
}
