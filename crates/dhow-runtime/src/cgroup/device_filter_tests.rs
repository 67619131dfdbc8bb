use super::*;
use oci_spec::runtime::LinuxDeviceCgroupBuilder;

fn rule(
    allow: bool,
    typ: LinuxDeviceType,
    major: i64,
    minor: i64,
    access: &str,
) -> LinuxDeviceCgroup {
    LinuxDeviceCgroupBuilder::default()
        .allow(allow)
        .typ(typ)
        .major(major)
        .minor(minor)
        .access(access)
        .build()
        .unwrap()
}

/// Runs the program as the kernel would.
fn allowed(program: &[Instruction], kind: i32, access: i32, major: i32, minor: i32) -> bool {
    let context = [access << 16 | kind, major, minor];
    let mut r = [0i64; 6];
    let mut pc = 0;
    loop {
        let i = program[pc];
        pc += 1;
        let (dst, src) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
        match i.code {
            LDX_MEM_W => r[dst] = i64::from(context[i.offset as usize / 4]),
            ALU32_AND_K => r[dst] &= i64::from(i.immediate),
            ALU32_RSH_K => r[dst] = i64::from(r[dst] as u32 >> i.immediate),
            ALU64_MOV_X => r[dst] = r[src],
            ALU64_MOV_K => r[dst] = i64::from(i.immediate),
            JMP_JNE_K if r[dst] != i64::from(i.immediate) => pc += i.offset as usize,
            JMP_JEQ_K if r[dst] == i64::from(i.immediate) => pc += i.offset as usize,
            JMP_JNE_K | JMP_JEQ_K => {}
            EXIT => return r[0] == 1,
            other => panic!("instruction {other:#x}"),
        }
    }
}

#[test]
fn the_last_rule_that_speaks_of_an_access_decides() {
    let rules = [
        rule(false, LinuxDeviceType::A, -1, -1, "rwm"),
        rule(true, LinuxDeviceType::C, -1, -1, "m"),
        rule(true, LinuxDeviceType::C, 1, 3, "rwm"),
        rule(true, LinuxDeviceType::C, 10, -1, "rw"),
        rule(false, LinuxDeviceType::C, 10, 200, "w"),
    ];
    let p = program(&rules);
    let (c, b) = (BPF_DEVCG_DEV_CHAR, BPF_DEVCG_DEV_BLOCK);
    assert!(allowed(&p, c, ACCESS_READ | ACCESS_WRITE, 1, 3));
    assert!(!allowed(&p, c, ACCESS_READ, 1, 1));
    assert!(allowed(&p, c, ACCESS_MKNOD, 8, 0));
    assert!(!allowed(&p, b, ACCESS_MKNOD, 8, 0));
    assert!(allowed(&p, c, ACCESS_READ, 10, 200));
    assert!(!allowed(&p, c, ACCESS_READ | ACCESS_WRITE, 10, 200));
    assert!(allowed(&p, c, ACCESS_WRITE, 10, 229));
}

#[test]
fn a_rule_for_everything_ends_the_program() {
    let p = program(&[
        rule(false, LinuxDeviceType::C, 1, 3, "r"),
        rule(true, LinuxDeviceType::A, -1, -1, "rwm"),
    ]);
    assert!(allowed(&p, BPF_DEVCG_DEV_CHAR, ACCESS_READ, 1, 3));
    assert_eq!(p.last().unwrap().code, EXIT);
    assert_eq!(p.len(), 6 + ANSWER);
}
