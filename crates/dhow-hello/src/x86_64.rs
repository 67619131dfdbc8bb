//! The program in x86-64 machine code (Intel SDM, volume 2; Linux system call numbers of arch/x86).

/// ELF: EM_X86_64.
pub(crate) const MACHINE: u16 = 62;

/// Writes the `length` bytes behind this code to the standard output, in as many calls as it takes, then ends
/// with 0, or with 1 if a write failed.
pub(crate) fn code(length: u16) -> Vec<u8> {
    #[rustfmt::skip]
    let mut code = vec![
        0xbf, 1, 0, 0, 0,             //  0        mov edi, 1           standard output
        0x48, 0x8d, 0x35, 0, 0, 0, 0, //  5        lea rsi, [rip+data]  patched below
        0xba, 0, 0, 0, 0,             // 12        mov edx, length      patched below
        0xb8, 1, 0, 0, 0,             // 17 again: mov eax, 1           write
        0x0f, 0x05,                   // 22        syscall
        0x48, 0x85, 0xc0,             // 24        test rax, rax
        0x7e, 10,                     // 27        jle failed
        0x48, 0x01, 0xc6,             // 29        add rsi, rax
        0x48, 0x29, 0xc2,             // 32        sub rdx, rax
        0x75, 0xec,                   // 35        jne again
        0x31, 0xff,                   // 37        xor edi, edi         edi is 1 otherwise: failed
        0xb8, 231, 0, 0, 0,           // 39 failed: mov eax, 231        exit_group
        0x0f, 0x05,                   // 44        syscall
    ];
    let data = code.len() as u32;
    code[8..12].copy_from_slice(&(data - 12).to_le_bytes());
    code[13..17].copy_from_slice(&u32::from(length).to_le_bytes());
    code
}
