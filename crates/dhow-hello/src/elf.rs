//! The smallest file that Linux runs: an ELF header, two program headers, the code, the message (System V ABI,
//! "Object Files"). One segment, readable and executable, holds all of it.

/// `Elf64_Ehdr` and `Elf64_Phdr`.
const HEADER_SIZE: u64 = 64;
const PROGRAM_HEADER_SIZE: u64 = 56;
const PROGRAM_HEADERS: u64 = 2;
const CODE_OFFSET: u64 = HEADER_SIZE + PROGRAM_HEADERS * PROGRAM_HEADER_SIZE;

/// Anywhere above the lowest addresses, which the kernel keeps unmapped (vm.mmap_min_addr).
const LOAD_ADDRESS: u64 = 0x40_0000;
/// The largest page of any architecture here, so that every kernel can map the segment.
const ALIGNMENT: u64 = 0x1_0000;

const ET_EXEC: u16 = 2;
const PT_LOAD: u32 = 1;
const PT_GNU_STACK: u32 = 0x6474_e551;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;

/// An executable for `machine` (an `EM_` constant): `code`, which runs from its first byte, and behind it
/// `data`.
pub(crate) fn executable(machine: u16, code: &[u8], data: &[u8]) -> Vec<u8> {
    let size = CODE_OFFSET + code.len() as u64 + data.len() as u64;
    let mut file = Vec::with_capacity(size as usize);
    // e_ident: magic, 64 bits, little-endian, ELF version 1, System V, padding.
    file.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
    file.extend([0; 8]);
    half(&mut file, ET_EXEC);
    half(&mut file, machine);
    word(&mut file, 1); // e_version
    long(&mut file, LOAD_ADDRESS + CODE_OFFSET); // e_entry
    long(&mut file, HEADER_SIZE); // e_phoff
    long(&mut file, 0); // e_shoff: there are no sections
    word(&mut file, 0); // e_flags
    half(&mut file, HEADER_SIZE as u16);
    half(&mut file, PROGRAM_HEADER_SIZE as u16);
    half(&mut file, PROGRAM_HEADERS as u16);
    half(&mut file, 0); // e_shentsize
    half(&mut file, 0); // e_shnum
    half(&mut file, 0); // e_shstrndx

    program_header(
        &mut file,
        PT_LOAD,
        PF_R | PF_X,
        LOAD_ADDRESS,
        size,
        ALIGNMENT,
    );
    // Without this header, some kernels make the stack executable.
    program_header(&mut file, PT_GNU_STACK, PF_R | PF_W, 0, 0, 16);
    file.extend(code);
    file.extend(data);
    file
}

fn program_header(
    file: &mut Vec<u8>,
    kind: u32,
    flags: u32,
    address: u64,
    size: u64,
    alignment: u64,
) {
    word(file, kind);
    word(file, flags);
    long(file, 0); // p_offset
    long(file, address); // p_vaddr
    long(file, address); // p_paddr
    long(file, size); // p_filesz
    long(file, size); // p_memsz
    long(file, alignment);
}

fn half(file: &mut Vec<u8>, value: u16) {
    file.extend(value.to_le_bytes());
}

fn word(file: &mut Vec<u8>, value: u32) {
    file.extend(value.to_le_bytes());
}

fn long(file: &mut Vec<u8>, value: u64) {
    file.extend(value.to_le_bytes());
}
