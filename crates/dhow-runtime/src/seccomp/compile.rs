//! From a policy to a program: for every architecture the numbers fall into ranges with the same answer, and
//! a binary search over the ranges finds the call's.
//!
//! What a policy means follows libseccomp, which other runtimes use: rules for one call are alternatives, in
//! order; a rule without conditions outweighs those with; several conditions on the same argument are
//! alternatives too. As other runtimes do, numbers beyond the newest call that the policy names answer ENOSYS
//! instead of the default error, so that programs can fall back to older calls.

use std::collections::{BTreeMap, BTreeSet};

use libc::sock_filter;
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};

use super::assemble::{
    ARCH, Go, NR, Step, and, arg_high, arg_low, branch_at_least, branch_equal, load, ret, when_all,
};
use super::{Architecture, SeccompError};

/// BPF_MAXINSNS.
const MAX_INSTRUCTIONS: usize = 4096;
/// The answer to a call of an architecture that the policy does not list (libseccomp's default for it).
const BAD_ARCHITECTURE: u32 = libc::SECCOMP_RET_KILL_THREAD;

/// Compiles `policy` for the kernel. An empty list of architectures means the host's own.
pub fn compile(policy: &LinuxSeccomp) -> Result<Vec<sock_filter>, SeccompError> {
    let mut architectures = Vec::new();
    for arch in policy.architectures().iter().flatten() {
        let arch = Architecture::try_from(*arch)?;
        if !architectures.contains(&arch) {
            architectures.push(arch);
        }
    }
    if architectures.is_empty() {
        architectures.push(Architecture::HOST);
    }

    let mut by_token: BTreeMap<u32, Vec<Architecture>> = BTreeMap::new();
    for arch in architectures {
        by_token.entry(arch.audit_token()).or_default().push(arch);
    }
    let mut program = vec![ret(BAD_ARCHITECTURE)];
    // The host's own calls are the usual ones: they are tested for first, and so put in front last.
    let host = Architecture::HOST.audit_token();
    let mut tokens: Vec<_> = by_token.into_iter().collect();
    tokens.sort_by_key(|(token, _)| *token == host);
    for (token, sharing) in tokens {
        let mut section = vec![load(NR)];
        section.extend(search(&ranges(policy, &sharing)?));
        let mut dispatch = Vec::new();
        branch_equal(&mut dispatch, token, &program, &section);
        program = dispatch;
    }
    program.insert(0, load(ARCH));
    if program.len() > MAX_INSTRUCTIONS {
        return Err(SeccompError::TooLong(program.len()));
    }
    Ok(program)
}

/// Consecutive numbers with the same answer, from `start` to the next range's start.
#[derive(Debug)]
struct Range {
    start: u32,
    answer: Vec<sock_filter>,
}

fn ranges(policy: &LinuxSeccomp, sharing: &[Architecture]) -> Result<Vec<Range>, SeccompError> {
    let default = action(policy.default_action(), policy.default_errno_ret())?;
    let mut sharing = sharing.to_vec();
    sharing.sort_by_key(|a| a.first_number());
    let mut all = Vec::new();
    if sharing[0].first_number() > 0 {
        all.push(Range {
            start: 0,
            answer: vec![ret(BAD_ARCHITECTURE)],
        });
    }
    for (index, arch) in sharing.iter().enumerate() {
        let calls = answers(policy, *arch, default)?;
        let mut next = arch.first_number();
        let mut past = next;
        for (number, answer) in calls {
            if number > next {
                all.push(Range {
                    start: next,
                    answer: vec![ret(default)],
                });
            }
            all.push(Range {
                start: number,
                answer,
            });
            next = number + 1;
            past = next;
        }
        all.push(Range {
            start: past,
            answer: vec![ret(beyond(default))],
        });
        if let (Some(end), None) = (arch.end_number(), sharing.get(index + 1)) {
            all.push(Range {
                start: end,
                answer: vec![ret(BAD_ARCHITECTURE)],
            });
        }
    }
    all.dedup_by(|b, a| same(&a.answer, &b.answer));
    Ok(all)
}

/// The answer to calls that are newer than the policy.
fn beyond(default: u32) -> u32 {
    let errno = libc::SECCOMP_RET_ERRNO;
    if default & libc::SECCOMP_RET_ACTION_FULL == errno {
        errno | libc::ENOSYS as u32
    } else {
        default
    }
}

/// What each call that the policy names is answered, by number.
fn answers(
    policy: &LinuxSeccomp,
    arch: Architecture,
    default: u32,
) -> Result<BTreeMap<u32, Vec<sock_filter>>, SeccompError> {
    let mut rules: BTreeMap<u32, Vec<(&str, &LinuxSyscall)>> = BTreeMap::new();
    for rule in policy.syscalls().iter().flatten() {
        for name in rule.names() {
            // A name that this architecture lacks can't be called on it.
            if let Some(number) = arch.number(name) {
                rules.entry(number).or_default().push((name, rule));
            }
        }
    }
    rules
        .into_iter()
        .map(|(number, rules)| Ok((number, answer(&rules, default)?)))
        .collect()
}

fn answer(rules: &[(&str, &LinuxSyscall)], default: u32) -> Result<Vec<sock_filter>, SeccompError> {
    let unconditional = rules
        .iter()
        .find(|(_, rule)| rule.args().as_ref().is_none_or(Vec::is_empty));
    if let Some((_, rule)) = unconditional {
        return Ok(vec![ret(action(rule.action(), rule.errno_ret())?)]);
    }
    let mut out = Vec::new();
    for (name, rule) in rules {
        let held = ret(action(rule.action(), rule.errno_ret())?);
        let args = rule.args().as_deref().unwrap_or_default();
        if let Some(bad) = args.iter().find(|a| a.index() > 5) {
            return Err(SeccompError::BadArgument {
                name: (*name).to_owned(),
                index: bad.index(),
            });
        }
        let distinct: BTreeSet<_> = args.iter().map(LinuxSeccompArg::index).collect();
        if distinct.len() == args.len() {
            let all: Vec<_> = args.iter().map(condition).collect();
            when_all(&mut out, &all, held);
        } else {
            for arg in args {
                when_all(&mut out, &[condition(arg)], held);
            }
        }
    }
    out.push(ret(default));
    Ok(out)
}

fn condition(arg: &LinuxSeccompArg) -> Vec<Step> {
    let halves = |v: u64| ((v >> 32) as u32, v as u32);
    let index = arg.index() as u32;
    let (high, low) = halves(arg.value());
    let first = Step::Do(load(arg_high(index)));
    let second = || Step::Do(load(arg_low(index)));
    match arg.op() {
        LinuxSeccompOperator::ScmpCmpEq => vec![
            first,
            Step::Equal(high, Go::Next, Go::Fail),
            second(),
            Step::Equal(low, Go::Hold, Go::Fail),
        ],
        LinuxSeccompOperator::ScmpCmpNe => vec![
            first,
            Step::Equal(high, Go::Next, Go::Hold),
            second(),
            Step::Equal(low, Go::Fail, Go::Hold),
        ],
        LinuxSeccompOperator::ScmpCmpGt => vec![
            first,
            Step::Greater(high, Go::Hold, Go::Next),
            Step::Equal(high, Go::Next, Go::Fail),
            second(),
            Step::Greater(low, Go::Hold, Go::Fail),
        ],
        LinuxSeccompOperator::ScmpCmpGe => vec![
            first,
            Step::Greater(high, Go::Hold, Go::Next),
            Step::Equal(high, Go::Next, Go::Fail),
            second(),
            Step::AtLeast(low, Go::Hold, Go::Fail),
        ],
        LinuxSeccompOperator::ScmpCmpLt => vec![
            first,
            Step::Greater(high, Go::Fail, Go::Next),
            Step::Equal(high, Go::Next, Go::Hold),
            second(),
            Step::AtLeast(low, Go::Fail, Go::Hold),
        ],
        LinuxSeccompOperator::ScmpCmpLe => vec![
            first,
            Step::Greater(high, Go::Fail, Go::Next),
            Step::Equal(high, Go::Next, Go::Hold),
            second(),
            Step::Greater(low, Go::Fail, Go::Hold),
        ],
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            // The specification's `value` is the mask, `valueTwo` what is left under it.
            let (datum_high, datum_low) = halves(arg.value_two().unwrap_or(0));
            vec![
                first,
                Step::Do(and(high)),
                Step::Equal(datum_high, Go::Next, Go::Fail),
                second(),
                Step::Do(and(low)),
                Step::Equal(datum_low, Go::Hold, Go::Fail),
            ]
        }
    }
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, SeccompError> {
    let data = errno.unwrap_or(libc::EPERM as u32) & libc::SECCOMP_RET_DATA;
    Ok(match action {
        LinuxSeccompAction::ScmpActAllow => libc::SECCOMP_RET_ALLOW,
        LinuxSeccompAction::ScmpActErrno => libc::SECCOMP_RET_ERRNO | data,
        LinuxSeccompAction::ScmpActTrace => libc::SECCOMP_RET_TRACE | data,
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => {
            libc::SECCOMP_RET_KILL_THREAD
        }
        LinuxSeccompAction::ScmpActKillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        LinuxSeccompAction::ScmpActTrap => libc::SECCOMP_RET_TRAP,
        LinuxSeccompAction::ScmpActLog => libc::SECCOMP_RET_LOG,
        LinuxSeccompAction::ScmpActNotify => {
            return Err(SeccompError::UnsupportedAction(action.to_string()));
        }
    })
}

/// A binary search over `ranges`, the number being in the accumulator.
fn search(ranges: &[Range]) -> Vec<sock_filter> {
    match ranges {
        [] => vec![ret(BAD_ARCHITECTURE)],
        [one] => one.answer.clone(),
        many => {
            let (low, high) = many.split_at(many.len() / 2);
            let mut out = Vec::new();
            branch_at_least(&mut out, high[0].start, &search(low), &search(high));
            out
        }
    }
}

fn same(a: &[sock_filter], b: &[sock_filter]) -> bool {
    let key = |f: &sock_filter| (f.code, f.jt, f.jf, f.k);
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| key(a) == key(b))
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
