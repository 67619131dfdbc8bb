//! Device rules on version 2: a BPF program that the kernel asks about every access (the kernel's
//! Documentation/admin-guide/cgroup-v2.rst "Device controller"; `struct bpf_cgroup_dev_ctx`).
//!
//! As on version 1 the last rule that says something about an access decides; so the program tries them from
//! the last to the first, and refuses what none of them allows.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

// include/uapi/linux/bpf.h
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
const BPF_DEVCG_DEV_BLOCK: i32 = 1;
const BPF_DEVCG_DEV_CHAR: i32 = 2;
const ACCESS_MKNOD: i32 = 1;
const ACCESS_READ: i32 = 2;
const ACCESS_WRITE: i32 = 4;
const ACCESS_ALL: i32 = ACCESS_MKNOD | ACCESS_READ | ACCESS_WRITE;

const LDX_MEM_W: u8 = 0x61;
const ALU32_AND_K: u8 = 0x54;
const ALU32_RSH_K: u8 = 0x74;
const ALU64_MOV_X: u8 = 0xbf;
const ALU64_MOV_K: u8 = 0xb7;
const JMP_JNE_K: u8 = 0x55;
const JMP_JEQ_K: u8 = 0x15;
const EXIT: u8 = 0x95;

/// Where the program keeps what it was asked: type, access, major, minor.
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 1;
const RESULT: u8 = 0;

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    /// Destination in the lower half, source in the upper.
    registers: u8,
    offset: i16,
    immediate: i32,
}

fn instruction(code: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: dst | src << 4,
        offset,
        immediate,
    }
}

fn program(rules: &[LinuxDeviceCgroup]) -> Vec<Instruction> {
    let mut out = vec![
        // access_type: the type in the lower half, the access in the upper
        instruction(LDX_MEM_W, TYPE, 1, 0, 0),
        instruction(ALU32_AND_K, TYPE, 0, 0, 0xffff),
        instruction(LDX_MEM_W, ACCESS, 1, 0, 0),
        instruction(ALU32_RSH_K, ACCESS, 0, 0, 16),
        instruction(LDX_MEM_W, MAJOR, 1, 4, 0),
        instruction(LDX_MEM_W, MINOR, 1, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let block = block(rule);
        let unconditional = block.len() == ANSWER;
        out.extend(block);
        if unconditional {
            // Nothing behind it could be reached, which the kernel's verifier refuses.
            return out;
        }
    }
    out.extend(answer(false));
    out
}

/// Instructions in an answer.
const ANSWER: usize = 2;

fn answer(allow: bool) -> [Instruction; ANSWER] {
    [
        instruction(ALU64_MOV_K, RESULT, 0, 0, i32::from(allow)),
        instruction(EXIT, 0, 0, 0, 0),
    ]
}

fn block(rule: &LinuxDeviceCgroup) -> Vec<Instruction> {
    /// Jumps to the next rule; the distance is known once the block is.
    const NEXT: i16 = i16::MIN;
    let mut out = Vec::new();
    let mut differs = |register, value| out.push(instruction(JMP_JNE_K, register, 0, NEXT, value));
    let (kind, numbered) = match rule.typ().unwrap_or(LinuxDeviceType::A) {
        LinuxDeviceType::B => (Some(BPF_DEVCG_DEV_BLOCK), true),
        LinuxDeviceType::C | LinuxDeviceType::U => (Some(BPF_DEVCG_DEV_CHAR), true),
        LinuxDeviceType::A | LinuxDeviceType::P => (None, false),
    };
    if let Some(kind) = kind {
        differs(TYPE, kind);
    }
    if numbered {
        let given = |n: Option<i64>| n.and_then(|n| i32::try_from(n).ok()).filter(|n| *n >= 0);
        if let Some(major) = given(rule.major()) {
            differs(MAJOR, major);
        }
        if let Some(minor) = given(rule.minor()) {
            differs(MINOR, minor);
        }
    }
    let access = rule
        .access()
        .as_deref()
        .filter(|a| !a.is_empty())
        .unwrap_or("rwm");
    let access = access.chars().fold(0, |bits, c| {
        bits | match c {
            'r' => ACCESS_READ,
            'w' => ACCESS_WRITE,
            'm' => ACCESS_MKNOD,
            _ => 0,
        }
    });
    if numbered && access != ACCESS_ALL {
        out.push(instruction(ALU64_MOV_X, SCRATCH, ACCESS, 0, 0));
        if rule.allow() {
            // It allows what it has all of,
            out.push(instruction(
                ALU32_AND_K,
                SCRATCH,
                0,
                0,
                ACCESS_ALL & !access,
            ));
            out.push(instruction(JMP_JNE_K, SCRATCH, 0, NEXT, 0));
        } else {
            // and refuses what it has any of.
            out.push(instruction(ALU32_AND_K, SCRATCH, 0, 0, access));
            out.push(instruction(JMP_JEQ_K, SCRATCH, 0, NEXT, 0));
        }
    }
    out.extend(answer(rule.allow()));
    let end = out.len();
    for (at, i) in out.iter_mut().enumerate() {
        if i.offset == NEXT {
            i.offset = (end - at - 1) as i16;
        }
    }
    out
}

/// `union bpf_attr` as BPF_PROG_LOAD reads it, up to the last field used here.
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

fn bpf<T>(command: libc::c_int, attr: &T) -> io::Result<libc::c_int> {
    // SAFETY: `attr` is a `union bpf_attr` prefix of its own size, and what it points to outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attr),
            size_of::<T>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as libc::c_int)
    }
}

/// Loads the rules' program and attaches it to the group whose directory is `group`.
pub(super) fn attach(group: BorrowedFd<'_>, rules: &[LinuxDeviceCgroup]) -> io::Result<()> {
    let describe = |e: io::Error| io::Error::new(e.kind(), format!("device rules: {e}"));
    let program = program(rules);
    let load = LoadAttr {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: program.len() as u32,
        insns: program.as_ptr() as u64,
        license: c"Apache".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
    };
    let loaded = bpf(BPF_PROG_LOAD, &load).map_err(describe)?;
    // SAFETY: the kernel has just made this descriptor for us.
    let loaded = unsafe { OwnedFd::from_raw_fd(loaded) };
    let attach = AttachAttr {
        target_fd: group.as_raw_fd() as u32,
        attach_bpf_fd: loaded.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    // The group keeps the program as long as it exists.
    bpf(BPF_PROG_ATTACH, &attach).map(drop).map_err(describe)
}

#[cfg(test)]
#[path = "device_filter_tests.rs"]
mod tests;
