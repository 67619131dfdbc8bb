//! Runs a filter in a test as the kernel would (net/core/filter.c, the instructions that seccomp allows).

use libc::sock_filter;

pub(super) struct Call {
    pub arch: u32,
    pub number: u32,
    pub args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            16.. => {
                let arg = self.args[((offset - 16) / 8) as usize];
                if offset % 8 == 4 {
                    (arg >> 32) as u32
                } else {
                    arg as u32
                }
            }
            _ => panic!("offset {offset} is not used by these filters"),
        }
    }
}

/// The filter's answer and how many instructions it took.
pub(super) fn run(program: &[sock_filter], call: &Call) -> (u32, usize) {
    let (mut a, mut pc, mut steps) = (0u32, 0usize, 0usize);
    loop {
        let f = program[pc];
        pc += 1;
        steps += 1;
        let taken = match f.code {
            0x20 => {
                a = call.word(f.k);
                continue;
            }
            0x54 => {
                a &= f.k;
                continue;
            }
            0x05 => {
                pc += f.k as usize;
                continue;
            }
            0x06 => return (f.k, steps),
            0x15 => a == f.k,
            0x25 => a > f.k,
            0x35 => a >= f.k,
            other => panic!("instruction {other:#x} is not used by these filters"),
        };
        pc += usize::from(if taken { f.jt } else { f.jf });
    }
}
