//! What process lists show as the command line of processes that were forked and never exec'ed: without this
//! every shim would look like the daemon, and be taken for it.
//!
//! The kernel shows the memory that the arguments came in; when its last byte is not NUL it reads on into
//! the environment's (fs/proc/base.c, get_mm_cmdline, which keeps to what setproctitle(3) does elsewhere).

use std::sync::OnceLock;

/// Where the arguments and the environment lie; a fork inherits the answer.
static AREA: OnceLock<Option<Area>> = OnceLock::new();

#[derive(Clone, Copy)]
struct Area {
    start: usize,
    length: usize,
}

/// Fields 48 to 51 of /proc/self/stat, see proc_pid_stat(5).
fn find() -> Option<Area> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, field 2, may contain anything; field 3 follows its closing parenthesis.
    let after = &stat[stat.rfind(')')? + 2..];
    let field = |number: usize| after.split(' ').nth(number - 3)?.parse::<usize>().ok();
    let (start, end, env_start, env_end) = (field(48)?, field(49)?, field(50)?, field(51)?);
    (start != 0 && end > start).then(|| Area {
        start,
        length: if env_start == end && env_end > env_start {
            env_end - start
        } else {
            end - start
        },
    })
}

/// Sets the command line of this process, as far as there is room.
///
/// # Safety
/// The arguments and the environment that the process was started with are overwritten: nothing may read
/// them, nor have another thread do so, from now on.
pub(crate) unsafe fn set(title: &str) {
    let Some(area) = *AREA.get_or_init(find) else {
        return;
    };
    let length = title.len().min(area.length - 1);
    // SAFETY: the kernel named the area, which lies on this process's stack and stays mapped; the caller
    // vouches for nobody reading it.
    unsafe {
        let memory = std::slice::from_raw_parts_mut(area.start as *mut u8, area.length);
        memory.fill(0);
        memory[..length].copy_from_slice(&title.as_bytes()[..length]);
    }
}
