//! System call filters (seccomp(2), the OCI runtime specification's config-linux.md "Seccomp").
//!
//! [`default_profile`] is Docker's default policy, [`compile`] turns a policy into a classic BPF program and
//! [`load`] installs it. The program is a binary tree over the call's number: the kernel runs a filter once
//! for every number when it is loaded, so a program in a line costs ten times as much to load as a tree, on
//! every container's start.

mod arch;
mod assemble;
mod cache;
mod compile;
mod profile;
mod table;

#[cfg(test)]
mod interpret;

use std::io;

pub(crate) use cache::program;

pub use arch::Architecture;
pub use compile::compile;
pub use profile::{default_profile, default_profile_for};

/// Why a policy can't be made into a filter.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SeccompError {
    #[error(
        "the seccomp architecture {0} is not supported: use this machine's own, or one it runs"
    )]
    UnsupportedArchitecture(String),
    #[error("the seccomp action {0} needs a notification listener, which is not supported")]
    UnsupportedAction(String),
    #[error(
        "seccomp rule for {name}: argument index {index} is out of range: a call has arguments 0 to 5"
    )]
    BadArgument { name: String, index: usize },
    #[error(
        "the seccomp filter has {0} instructions, and the kernel takes at most 4096: use fewer rules"
    )]
    TooLong(usize),
}

/// Installs a filter as [`program`] has made it; an empty one is none.
pub(crate) fn load_program(bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let instructions = bytes.chunks_exact(size_of::<libc::sock_filter>());
    let program: Vec<libc::sock_filter> = instructions
        .map(|bytes| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    load(&program, 0)
}

/// Installs a compiled filter on the calling thread, for good. `flags` are SECCOMP_FILTER_FLAG_*.
///
/// # Errors
/// EACCES without both `no_new_privs` and CAP_SYS_ADMIN; EINVAL for a program that the kernel refuses.
pub fn load(program: &[libc::sock_filter], flags: u32) -> io::Result<()> {
    let header = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `header` describes `program`, which outlives the call, and the kernel only reads both.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const header,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
