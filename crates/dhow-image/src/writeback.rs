//! Writing begins while the rest arrives. A pull ends with a flush of its blobs, and the kernel by itself
//! leaves what is written in memory until much more has gathered: the disk would be idle until then.

use std::fs::File;
use std::os::fd::AsRawFd;

/// Bytes after which a file that grows is sent on its way.
pub(crate) const STRIDE: u64 = 8 << 20;

/// Asks the kernel to begin writing `length` bytes at `offset`. It is a hint: where it is refused, the flush
/// at the end does all the work, and finds the errors that there are.
pub(crate) fn begin(file: &File, offset: u64, length: u64) {
    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else {
        return;
    };
    // SAFETY: the descriptor is open for the call's duration, and the call touches no memory of ours.
    unsafe {
        libc::sync_file_range(
            file.as_raw_fd(),
            offset,
            length,
            libc::SYNC_FILE_RANGE_WRITE,
        );
    }
}
