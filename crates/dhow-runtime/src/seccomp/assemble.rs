//! Classic BPF, put together from its end: a block knows its own length, so that a jump over it can be
//! written before it.

use libc::sock_filter;

// include/uapi/linux/bpf_common.h
const LD_W_ABS: u16 = 0x20;
const ALU_AND_K: u16 = 0x54;
const JMP_JA: u16 = 0x05;
const JMP_JEQ_K: u16 = 0x15;
const JMP_JGT_K: u16 = 0x25;
const JMP_JGE_K: u16 = 0x35;
const RET_K: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
pub(super) const NR: u32 = 0;
pub(super) const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// The offset of argument `index`'s lower half; both architectures are little-endian.
pub(super) fn arg_low(index: u32) -> u32 {
    ARGS + 8 * index
}

pub(super) fn arg_high(index: u32) -> u32 {
    arg_low(index) + 4
}

pub(super) fn load(offset: u32) -> sock_filter {
    statement(LD_W_ABS, offset)
}

pub(super) fn ret(value: u32) -> sock_filter {
    statement(RET_K, value)
}

pub(super) fn and(mask: u32) -> sock_filter {
    statement(ALU_AND_K, mask)
}

fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Appends "if the accumulator is at least `k` run `then`, else run `otherwise`"; both blocks end in a
/// return, so nothing follows them.
pub(super) fn branch_at_least(
    out: &mut Vec<sock_filter>,
    k: u32,
    otherwise: &[sock_filter],
    then: &[sock_filter],
) {
    branch(out, JMP_JGE_K, k, otherwise, then);
}

/// As [`branch_at_least`], for equality.
pub(super) fn branch_equal(
    out: &mut Vec<sock_filter>,
    k: u32,
    otherwise: &[sock_filter],
    then: &[sock_filter],
) {
    branch(out, JMP_JEQ_K, k, otherwise, then);
}

fn branch(
    out: &mut Vec<sock_filter>,
    code: u16,
    k: u32,
    otherwise: &[sock_filter],
    then: &[sock_filter],
) {
    match u8::try_from(otherwise.len()) {
        Ok(jt) => out.push(sock_filter { code, jt, jf: 0, k }),
        Err(_) => {
            // Conditional jumps reach 255 instructions, the unconditional one any distance.
            out.push(sock_filter {
                code,
                jt: 0,
                jf: 1,
                k,
            });
            out.push(statement(JMP_JA, otherwise.len() as u32));
        }
    }
    out.extend_from_slice(otherwise);
    out.extend_from_slice(then);
}

/// Where a step of a condition goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Go {
    /// To the next step; the last step must not.
    Next,
    /// The condition holds.
    Hold,
    /// It does not.
    Fail,
}

/// One step of a condition.
pub(super) enum Step {
    Do(sock_filter),
    Equal(u32, Go, Go),
    Greater(u32, Go, Go),
    AtLeast(u32, Go, Go),
}

/// Appends a condition's steps followed by `hold`; a failing condition goes to the end of both. A condition
/// that holds falls through to the next in `conditions`, and after the last to `hold`.
pub(super) fn when_all(out: &mut Vec<sock_filter>, conditions: &[Vec<Step>], hold: sock_filter) {
    let total: usize = conditions.iter().map(Vec::len).sum();
    let end = total + 1;
    let mut at = 0;
    for condition in conditions {
        let held = at + condition.len();
        for step in condition {
            let to = |go| {
                let target = match go {
                    Go::Next => at + 1,
                    Go::Hold => held,
                    Go::Fail => end,
                };
                // At most six conditions of five steps each: it fits.
                (target - at - 1) as u8
            };
            let jump = |code, k, t, f| sock_filter {
                code,
                jt: to(t),
                jf: to(f),
                k,
            };
            out.push(match *step {
                Step::Do(statement) => statement,
                Step::Equal(k, t, f) => jump(JMP_JEQ_K, k, t, f),
                Step::Greater(k, t, f) => jump(JMP_JGT_K, k, t, f),
                Step::AtLeast(k, t, f) => jump(JMP_JGE_K, k, t, f),
            });
            at += 1;
        }
    }
    out.push(hold);
}
