use std::collections::HashSet;

use oci_spec::runtime::{Capability, LinuxSeccompArgBuilder};
use proptest::prelude::*;

use super::super::interpret::{Call, run};
use super::super::{default_profile_for, load as install};
use super::*;

fn errno(e: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | e as u32
}

/// The policy read rule by rule, as its definition says.
fn naive(policy: &LinuxSeccomp, arch: Architecture, number: u32, args: &[u64; 6]) -> u32 {
    let default = action(policy.default_action(), policy.default_errno_ret()).unwrap();
    let rules: Vec<_> = policy.syscalls().iter().flatten().collect();
    let names: HashSet<u32> = rules
        .iter()
        .flat_map(|r| r.names().iter().filter_map(|n| arch.number(n)))
        .collect();
    if names.iter().max().is_none_or(|newest| number > *newest) {
        return beyond(default);
    }
    let matching: Vec<_> = rules
        .iter()
        .filter(|r| r.names().iter().any(|n| arch.number(n) == Some(number)))
        .collect();
    let verdict = |r: &LinuxSyscall| action(r.action(), r.errno_ret()).unwrap();
    if let Some(r) = matching
        .iter()
        .find(|r| r.args().as_ref().is_none_or(Vec::is_empty))
    {
        return verdict(r);
    }
    let holds = |a: &LinuxSeccompArg| {
        let v = args[a.index()];
        match a.op() {
            LinuxSeccompOperator::ScmpCmpEq => v == a.value(),
            LinuxSeccompOperator::ScmpCmpNe => v != a.value(),
            LinuxSeccompOperator::ScmpCmpGt => v > a.value(),
            LinuxSeccompOperator::ScmpCmpGe => v >= a.value(),
            LinuxSeccompOperator::ScmpCmpLt => v < a.value(),
            LinuxSeccompOperator::ScmpCmpLe => v <= a.value(),
            LinuxSeccompOperator::ScmpCmpMaskedEq => v & a.value() == a.value_two().unwrap_or(0),
        }
    };
    for r in matching {
        let args = r.args().as_deref().unwrap_or_default();
        let distinct: HashSet<_> = args.iter().map(LinuxSeccompArg::index).collect();
        let held = if distinct.len() == args.len() {
            args.iter().all(holds)
        } else {
            args.iter().any(holds)
        };
        if held {
            return verdict(r);
        }
    }
    default
}

#[test]
fn the_default_policy_means_the_same_as_a_tree_for_every_number_of_every_architecture() {
    for host in [Architecture::X86_64, Architecture::Aarch64] {
        for caps in [HashSet::new(), HashSet::from([Capability::SysAdmin])] {
            let policy = default_profile_for(host, &caps);
            let program = compile(&policy).unwrap();
            for arch in [&[host], host.compatible()].concat() {
                for offset in 0..600 {
                    let number = arch.first_number() + offset;
                    for first in [0, 8, 38, 39, 40, 41, 0x1000_0000, 0x7e02_0000, u64::MAX] {
                        let args = [first, 0, 0, 0, 0, 0];
                        let call = Call {
                            arch: arch.audit_token(),
                            number,
                            args,
                        };
                        let (answer, steps) = run(&program, &call);
                        assert_eq!(
                            answer,
                            naive(&policy, arch, number, &args),
                            "{arch:?} {number} {first:#x}"
                        );
                        assert!(steps < 40, "{arch:?} {number}: {steps} instructions");
                    }
                }
            }
        }
    }
}

#[test]
fn an_architecture_that_is_not_listed_is_killed() {
    let policy = default_profile_for(Architecture::X86_64, &HashSet::new());
    let program = compile(&policy).unwrap();
    let call = Call {
        arch: 0xc000_00b7,
        number: 0,
        args: [0; 6],
    };
    assert_eq!(run(&program, &call).0, BAD_ARCHITECTURE);

    let mut only = policy.clone();
    only.set_architectures(Some(vec![Architecture::X86_64.oci()]));
    let program = compile(&only).unwrap();
    let x32 = Architecture::X32.number("getpid").unwrap();
    let call = Call {
        arch: Architecture::X32.audit_token(),
        number: x32,
        args: [0; 6],
    };
    assert_eq!(run(&program, &call).0, BAD_ARCHITECTURE);
}

#[test]
fn calls_newer_than_the_policy_answer_enosys() {
    let program = compile(&default_profile_for(Architecture::X86_64, &HashSet::new())).unwrap();
    let call = |number| {
        let arch = Architecture::X86_64.audit_token();
        run(
            &program,
            &Call {
                arch,
                number,
                args: [0; 6],
            },
        )
        .0
    };
    assert_eq!(call(599), errno(libc::ENOSYS));
    assert_eq!(
        call(Architecture::X86_64.number("kexec_load").unwrap()),
        errno(libc::EPERM)
    );
    assert_eq!(
        call(Architecture::X86_64.number("clone3").unwrap()),
        errno(libc::ENOSYS)
    );
}

#[test]
fn what_cannot_be_compiled_is_an_error() {
    let mut policy = default_profile_for(Architecture::HOST, &HashSet::new());
    policy.set_default_action(LinuxSeccompAction::ScmpActNotify);
    assert!(matches!(
        compile(&policy),
        Err(SeccompError::UnsupportedAction(_))
    ));
    let mut policy = default_profile_for(Architecture::HOST, &HashSet::new());
    policy.set_architectures(Some(vec![oci_spec::runtime::Arch::ScmpArchS390x]));
    assert!(matches!(
        compile(&policy),
        Err(SeccompError::UnsupportedArchitecture(_))
    ));
}

#[test]
fn the_kernel_takes_the_default_policy_and_enforces_it() {
    let program = compile(&default_profile_for(Architecture::HOST, &HashSet::new())).unwrap();
    // A filter can't be taken off again: it goes onto a thread that ends.
    std::thread::spawn(move || {
        // SAFETY: prctl with these arguments touches no memory.
        let locked = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        assert_eq!(locked, 0);
        install(&program, 0).unwrap();
        // SAFETY: a null target makes mount fail before it could do anything.
        let result = unsafe { libc::syscall(libc::SYS_mount, 0, 0, 0, 0, 0) };
        assert_eq!(result, -1);
        assert_eq!(
            std::io::Error::last_os_error().raw_os_error(),
            Some(libc::EPERM)
        );
    })
    .join()
    .unwrap();
}

fn operator() -> impl Strategy<Value = LinuxSeccompOperator> {
    prop_oneof![
        Just(LinuxSeccompOperator::ScmpCmpEq),
        Just(LinuxSeccompOperator::ScmpCmpNe),
        Just(LinuxSeccompOperator::ScmpCmpGt),
        Just(LinuxSeccompOperator::ScmpCmpGe),
        Just(LinuxSeccompOperator::ScmpCmpLt),
        Just(LinuxSeccompOperator::ScmpCmpLe),
        Just(LinuxSeccompOperator::ScmpCmpMaskedEq),
    ]
}

/// Values that meet each other and lie on both sides of a half's end.
fn value() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![
        0,
        1,
        2,
        0xffff_ffff,
        0x1_0000_0000,
        0x1_0000_0001,
        u64::MAX,
    ])
}

prop_compose! {
    fn argument()(index in 0usize..3, op in operator(), value in value(), two in value()) -> LinuxSeccompArg {
        LinuxSeccompArgBuilder::default()
            .index(index)
            .op(op)
            .value(value)
            .value_two(two)
            .build()
            .unwrap()
    }
}

prop_compose! {
    fn syscall_rule()(
        names in prop::collection::vec(prop::sample::select(vec!["read", "write", "open", "mmap", "nope"]), 1..3),
        args in prop::collection::vec(argument(), 0..4),
        deny in any::<bool>(),
    ) -> LinuxSyscall {
        let mut rule = LinuxSyscall::default();
        rule.set_names(names.into_iter().map(str::to_owned).collect());
        rule.set_action(if deny { LinuxSeccompAction::ScmpActErrno } else { LinuxSeccompAction::ScmpActAllow });
        rule.set_errno_ret(deny.then_some(13));
        rule.set_args(Some(args));
        rule
    }
}

proptest! {
    #[test]
    fn any_policy_means_the_same_as_a_tree(
        rules in prop::collection::vec(syscall_rule(), 0..6),
        allow_by_default in any::<bool>(),
        args in prop::array::uniform6(value()),
    ) {
        let mut policy = LinuxSeccomp::default();
        policy.set_default_action(if allow_by_default {
            LinuxSeccompAction::ScmpActAllow
        } else {
            LinuxSeccompAction::ScmpActErrno
        });
        policy.set_architectures(Some(vec![Architecture::X86_64.oci()]));
        policy.set_syscalls(Some(rules));
        let program = compile(&policy).unwrap();
        for number in 0..12 {
            let call = Call { arch: Architecture::X86_64.audit_token(), number, args };
            prop_assert_eq!(run(&program, &call).0, naive(&policy, Architecture::X86_64, number, &args));
        }
    }
}
