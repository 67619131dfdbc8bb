//! A filter of the default policy's size, as a line of comparisons: what an engine loads that compiles its policy
//! in the usual way.

use anyhow::{Result, bail};

/// The number of instructions of Docker's default policy in a line.
const INSTRUCTIONS: usize = 355;

pub fn filter() -> Vec<libc::sock_filter> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // seccomp_data.nr is first.
    let mut filter = vec![op(LOAD, 0, 0, 0)];
    let mut number = 0;
    while filter.len() + 2 < INSTRUCTIONS {
        filter.push(op(EQUAL, 0, 1, number));
        filter.push(op(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
        number += 1;
    }
    filter.push(op(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    filter
}

/// Allocates nothing: it is called between fork and exec.
pub fn load(filter: &[libc::sock_filter]) -> Result<()> {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the program points to a filter that outlives the call; the kernel copies it.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    if result != 0 {
        bail!("seccomp: {}", std::io::Error::last_os_error());
    }
    Ok(())
}
