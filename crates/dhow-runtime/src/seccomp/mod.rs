//! System call filters.
use std::io;
use std::sync::Arc;

pub(crate) fn program(_filter: &oci_spec::runtime::LinuxSeccomp) -> io::Result<Arc<[u8]>> {
    Ok(Arc::from([]))
}
