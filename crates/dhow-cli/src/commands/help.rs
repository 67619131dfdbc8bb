//! Help, and the reference of the command line that is made of the same tables.

use std::fmt::Write as _;

use super::{COMMANDS, FACES, GLOBAL, GROUPS, TOP};
use crate::command::Command;
use crate::flags::{Flag, HELP};

/// Puts words into lines of at most `width`, indented from the second on.
fn wrap(text: &str, width: usize, indent: usize) -> String {
    let width = width.max(20);
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut current = String::new();
        for word in line.split(' ') {
            if !current.is_empty() && current.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut current));
            }
            if !current.is_empty() {
                current.push(' ');
            }
            current.push_str(word);
        }
        lines.push(current);
    }
    lines.join(&format!("\n{:indent$}", ""))
}

fn flag_left(flag: &Flag) -> String {
    let short = match flag.short {
        Some(short) => format!("-{short}, "),
        None => "    ".to_owned(),
    };
    let value = flag.kind.value_name();
    let space = if value.is_empty() { "" } else { " " };
    format!("  {short}--{}{space}{value}", flag.long)
}

fn flag_right(flag: &Flag) -> String {
    match flag.default {
        "" => flag.help.to_owned(),
        default if flag.kind.value_name() == "string" => {
            format!("{} (default {default:?})", flag.help)
        }
        default => format!("{} (default {default})", flag.help),
    }
}

/// Flags one a line, their explanations beneath each other.
fn flags(flags: impl Iterator<Item = Flag>, columns: usize) -> String {
    let mut flags: Vec<Flag> = flags.collect();
    flags.sort_by_key(|flag| flag.long);
    let widest = flags.iter().map(|f| flag_left(f).len()).max().unwrap_or(0);
    let indent = widest + 3;
    let mut out = String::new();
    for flag in &flags {
        let right = wrap(&flag_right(flag), columns.saturating_sub(indent), indent);
        // Writing to a string does not fail, here and below.
        let _ = writeln!(out, "{:indent$}{right}", flag_left(flag));
    }
    out
}

/// The line that every usage error repeats.
pub fn usage_line(program: &str, path: &str, command: &Command) -> String {
    let arguments = command.usage;
    let space = if arguments.is_empty() { "" } else { " " };
    format!("Usage:  {program} {path}{space}{arguments}")
}

pub fn command(program: &str, path: &str, command: &Command, columns: usize) -> String {
    let mut out = usage_line(program, path, command);
    let _ = write!(out, "\n\n{}\n", command.about);
    let names: Vec<String> = command
        .names()
        .map(|name| format!("{program} {name}"))
        .collect();
    if names.len() > 1 {
        let mut names = names;
        names.sort();
        let _ = write!(out, "\nAliases:\n  {}\n", names.join(", "));
    }
    let own: Vec<Flag> = command.flags().collect();
    if !own.is_empty() {
        // Where -h has another meaning, --help is worth a line.
        let help = own.iter().any(|flag| flag.short == Some('h'));
        let list = own.into_iter().chain(help.then_some(HELP));
        let _ = write!(out, "\nOptions:\n{}", flags(list, columns));
    }
    out
}

fn list(out: &mut String, heading: &str, entries: &[(&str, &str)]) {
    let widest = entries
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(0)
        .max(9)
        + 2;
    let _ = write!(out, "\n{heading}:\n");
    for (name, about) in entries {
        let _ = writeln!(out, "  {name:widest$}{about}");
    }
}

/// Commands that programs call, not people.
pub fn is_hidden(path: &str) -> bool {
    path.starts_with('_') || path == "system dial-stdio"
}

/// The commands beneath a group, by name.
pub fn beneath(group: &str) -> Vec<(&'static str, &'static str)> {
    let mut entries: Vec<_> = COMMANDS
        .iter()
        .flat_map(|command| command.paths.iter().map(move |path| (*path, command.about)))
        .filter_map(|(path, about)| {
            let (parent, name) = path.split_once(' ').unwrap_or(("", path));
            (parent == group && !is_hidden(path)).then_some((name, about))
        })
        .collect();
    entries.sort_unstable();
    entries
}

pub fn group(program: &str, name: &str, about: &str) -> String {
    let mut out = format!("Usage:  {program} {name} COMMAND\n\n{about}\n");
    list(&mut out, "Commands", &beneath(name));
    let _ = write!(
        out,
        "\nRun '{program} {name} COMMAND --help' for more information on a command.\n"
    );
    out
}

pub fn top(program: &str, columns: usize) -> String {
    let mut out = format!(
        "Usage:  {program} [OPTIONS] COMMAND\n\nA container platform in one binary: client, daemon, registry and runtime\n"
    );
    let all = beneath("");
    let (common, rest): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(name, _)| TOP.contains(name));
    let mut common = common;
    common.sort_by_key(|(name, _)| TOP.iter().position(|top| top == name));
    list(&mut out, "Common Commands", &common);
    let faces: Vec<_> = FACES.iter().map(|face| (face.name, face.about)).collect();
    list(&mut out, "Servers", &faces);
    let groups: Vec<_> = GROUPS
        .iter()
        .map(|group| (group.name, group.about))
        .collect();
    list(&mut out, "Management Commands", &groups);
    list(&mut out, "Commands", &rest);
    let _ = write!(
        out,
        "\nGlobal Options:\n{}",
        flags(GLOBAL.iter().copied(), columns)
    );
    let _ = write!(
        out,
        "\nRun '{program} COMMAND --help' for more information on a command.\n"
    );
    out
}

/// The reference of the command line, as Markdown.
pub fn reference() -> String {
    const COLUMNS: usize = 100;
    let mut out = String::from(
        "# Command line\n\nMade from the program's own tables by `dhow __docs`; a test keeps it up to date.\n\n",
    );
    let _ = write!(out, "```text\n{}```\n", top("dhow", COLUMNS));
    let mut commands: Vec<&Command> = COMMANDS
        .iter()
        .filter(|command| !is_hidden(command.paths[0]))
        .collect();
    commands.sort_by_key(|command| command.paths[0]);
    for entry in commands {
        let path = entry.paths[0];
        let _ = write!(
            out,
            "\n## dhow {path}\n\n```text\n{}```\n",
            command("dhow", path, entry, COLUMNS)
        );
    }
    out
}
