//! What a process that has come to rest needs not hold: what its allocator keeps for the next allocation, and the
//! pages of its program.

use std::ffi::{c_int, c_void};

/// Gives free memory back to the kernel, malloc_trim(3).
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: releases free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets go of the program's code and constants, madvise(2) with `MADV_DONTNEED`: they are the file's, which stays in
/// the page cache, and what is used again is mapped again where it is used, without the disk.
///
/// What was touched once, by starting up above all, would otherwise count as this process's memory for ever.
pub fn release_program() {
    // SAFETY: the callback is called before this returns, and keeps nothing.
    unsafe {
        libc::dl_iterate_phdr(Some(release_object), std::ptr::null_mut());
    }
}

/// Of the first object, which is the program.
unsafe extern "C" fn release_object(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> c_int {
    // SAFETY: the library hands out a valid description, whose headers are mapped with the program.
    let (base, headers) = unsafe {
        let object = &*object;
        let headers = std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum));
        (object.dlpi_addr, headers)
    };
    let page = rustix::param::page_size() as u64;
    for header in headers {
        // What can be written to may hold what is in no file: relocated pointers among it, though they are read-only by now.
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        // The first page and the last may be another segment's as well.
        let start = (base + header.p_vaddr).next_multiple_of(page);
        let end = (base + header.p_vaddr + header.p_memsz) / page * page;
        let Some(length) = end.checked_sub(start).filter(|length| *length > 0) else {
            continue;
        };
        // SAFETY: the range is a private mapping of the program's file that nothing ever writes to: each page reads
        // the same after it. That it fails is no harm.
        unsafe {
            libc::madvise(start as *mut c_void, length as usize, libc::MADV_DONTNEED);
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    static WORDS: [u8; 1 << 16] = [7; 1 << 16];

    #[test]
    fn the_program_runs_on() {
        let sum = || WORDS.iter().map(|b| u64::from(*b)).sum::<u64>();
        assert_eq!(sum(), 7 << 16);
        release_program();
        trim();
        assert_eq!(std::hint::black_box(sum()), 7 << 16);
        assert_eq!(format!("{}", 1.5f64), "1.5");
    }
}
