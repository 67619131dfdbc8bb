//! The program in AArch64 machine code (Arm ARM, part C; Linux's generic system call numbers).

/// ELF: EM_AARCH64.
pub(crate) const MACHINE: u16 = 183;

/// Writes the `length` bytes behind this code to the standard output, in as many calls as it takes, then ends
/// with 0, or with 1 if a write failed.
pub(crate) fn code(length: u16) -> Vec<u8> {
    const INSTRUCTIONS: u32 = 15;
    #[rustfmt::skip]
    let code: [u32; INSTRUCTIONS as usize] = [
        adr(1, INSTRUCTIONS * 4), //  0         adr  x1, data
        mov(2, length),           //  1         mov  x2, length
        mov(0, 1),                //  2 again:  mov  x0, 1      standard output
        mov(8, 64),               //  3         mov  x8, 64     write
        0xd400_0001,              //  4         svc  0
        0xf100_001f,              //  5         cmp  x0, 0
        branch(0xd, 12 - 6),      //  6         b.le failed
        0x8b00_0021,              //  7         add  x1, x1, x0
        0xeb00_0042,              //  8         subs x2, x2, x0
        branch(0x1, 2 - 9),       //  9         b.ne again
        mov(0, 0),                // 10         mov  x0, 0
        0x1400_0002,              // 11         b    exit
        mov(0, 1),                // 12 failed: mov  x0, 1
        mov(8, 94),               // 13 exit:   mov  x8, 94     exit_group
        0xd400_0001,              // 14         svc  0
    ];
    code.iter()
        .flat_map(|instruction| instruction.to_le_bytes())
        .collect()
}

/// `adr`: the address `offset` bytes behind this instruction.
fn adr(register: u32, offset: u32) -> u32 {
    0x1000_0000 | (offset & 3) << 29 | (offset >> 2) << 5 | register
}

/// `movz`, of 64 bits.
fn mov(register: u32, value: u16) -> u32 {
    0xd280_0000 | u32::from(value) << 5 | register
}

/// `b.cond` by a number of instructions.
fn branch(condition: u32, instructions: i32) -> u32 {
    0x5400_0000 | (instructions as u32 & 0x7_ffff) << 5 | condition
}
