//! The last compiled policies: nearly every start asks for the same one.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use libc::sock_filter;
use oci_spec::runtime::LinuxSeccomp;

use super::compile;

/// How many policies are kept.
const CAPACITY: usize = 8;

type Entry = (LinuxSeccomp, Arc<[u8]>);

/// Newest last.
static CACHE: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// The bytes of `policy`'s program: an array of `struct sock_filter`.
///
/// # Errors
/// InvalidInput, with the sentence of the [`super::SeccompError`].
pub(crate) fn program(policy: &LinuxSeccomp) -> io::Result<Arc<[u8]>> {
    let kept = || CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, program)) = kept().iter().find(|(p, _)| p == policy) {
        return Ok(program.clone());
    }
    let filters = compile(policy).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    let program: Arc<[u8]> = filters.iter().flat_map(bytes).collect();
    let mut cache = kept();
    if cache.len() == CAPACITY {
        cache.remove(0);
    }
    cache.push((policy.clone(), program.clone()));
    Ok(program)
}

/// `struct sock_filter` as the kernel lays it out (include/uapi/linux/filter.h).
fn bytes(filter: &sock_filter) -> [u8; 8] {
    let [c0, c1] = filter.code.to_ne_bytes();
    let [k0, k1, k2, k3] = filter.k.to_ne_bytes();
    [c0, c1, filter.jt, filter.jf, k0, k1, k2, k3]
}
