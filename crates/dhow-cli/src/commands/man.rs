//! The manual: a page for each command and group, made from the tables that make the parser and the help.
//!
//! Follows man(7): `.TH`, `.SH`, `.TP`, and `\-` where a dash is one that people type.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::{COMMANDS, FACES, GLOBAL, GROUPS, help};
use crate::command::Command;
use crate::error::{Result, message, system_text};
use crate::flags::Flag;

/// Text in which roff finds nothing of its own.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

// Writing to a string does not fail, here and below.

fn head(out: &mut String, name: &str, about: &str, usage: &str) {
    let title = name.replace(' ', "-");
    let _ = write!(
        out,
        ".TH {} 1 \"\" \"Dhow {}\" \"Dhow\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.B {}\n{}\n",
        escaped(&title.to_uppercase()),
        env!("CARGO_PKG_VERSION"),
        escaped(&title),
        escaped(about),
        escaped(name),
        escaped(usage)
    );
}

fn options(out: &mut String, heading: &str, flags: impl Iterator<Item = Flag>) {
    let mut flags: Vec<Flag> = flags.collect();
    if flags.is_empty() {
        return;
    }
    flags.sort_by_key(|flag| flag.long);
    let _ = writeln!(out, ".SH {heading}");
    for flag in flags {
        let short = flag.short.map(|c| format!("\\fB\\-{c}\\fR, "));
        let value = match flag.kind.value_name() {
            "" => String::new(),
            name => format!(" \\fI{name}\\fR"),
        };
        let default = match flag.default {
            "" => String::new(),
            default => format!(" (default {default})"),
        };
        let _ = write!(
            out,
            ".TP\n{}\\fB\\-\\-{}\\fR{value}\n{}\n",
            short.unwrap_or_default(),
            escaped(flag.long),
            escaped(&format!("{}{default}", flag.help))
        );
    }
}

fn list(out: &mut String, heading: &str, entries: &[(&str, &str)]) {
    if entries.is_empty() {
        return;
    }
    let _ = writeln!(out, ".SH {heading}");
    for (name, about) in entries {
        let _ = write!(out, ".TP\n.B {}\n{}\n", escaped(name), escaped(about));
    }
}

fn see_also(out: &mut String, page: &str) {
    let _ = write!(out, ".SH SEE ALSO\n.BR {} (1)\n", escaped(page));
}

/// The page of one of a command's names.
fn command_page(path: &str, command: &Command) -> String {
    let mut out = String::new();
    head(
        &mut out,
        &format!("dhow {path}"),
        command.about,
        command.usage,
    );
    let others: Vec<String> = command
        .names()
        .filter(|name| *name != path)
        .map(|name| format!("dhow {name}"))
        .collect();
    if !others.is_empty() {
        let _ = write!(out, ".SH ALIASES\n{}\n", escaped(&others.join(", ")));
    }
    options(&mut out, "OPTIONS", command.flags());
    let parent = match path.split_once(' ') {
        Some((group, _)) => format!("dhow-{group}"),
        None => "dhow".to_owned(),
    };
    see_also(&mut out, &parent);
    out
}

/// All pages, by the names of their files.
pub fn pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    let mut top = String::new();
    head(
        &mut top,
        "dhow",
        "a container platform in one binary",
        "[OPTIONS] COMMAND [ARG...]",
    );
    list(&mut top, "COMMANDS", &help::beneath(""));
    let groups: Vec<_> = GROUPS.iter().map(|g| (g.name, g.about)).collect();
    list(&mut top, "MANAGEMENT COMMANDS", &groups);
    let faces: Vec<_> = FACES.iter().map(|f| (f.name, f.about)).collect();
    list(&mut top, "SERVERS", &faces);
    options(&mut top, "GLOBAL OPTIONS", GLOBAL.iter().copied());
    pages.push(("dhow.1".to_owned(), top));
    for group in GROUPS {
        let mut page = String::new();
        let name = format!("dhow {}", group.name);
        head(&mut page, &name, group.about, "COMMAND");
        list(&mut page, "COMMANDS", &help::beneath(group.name));
        see_also(&mut page, "dhow");
        pages.push((format!("dhow-{}.1", group.name), page));
    }
    for command in COMMANDS {
        for path in command.paths.iter().filter(|path| !help::is_hidden(path)) {
            let file = format!("dhow-{}.1", path.replace(' ', "-"));
            pages.push((file, command_page(path, command)));
        }
    }
    pages
}

/// Writes all pages into a directory.
pub fn write(directory: &Path) -> Result<()> {
    let failed = |path: &Path, error: std::io::Error| {
        message(format!("{}: {}", path.display(), system_text(&error)))
    };
    fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    for (name, page) in pages() {
        let path = directory.join(name);
        fs::write(&path, page).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let pages = pages();
        let page = |name: &str| &pages.iter().find(|(file, _)| file == name).unwrap().1;
        let run = page("dhow-container-run.1");
        assert!(
            run.contains("\\fB\\-i\\fR, \\fB\\-\\-interactive\\fR\n"),
            "{run}"
        );
        assert!(run.contains(".SH ALIASES\ndhow run\n"), "{run}");
        assert!(page("dhow.1").contains(".B context\n"));
        assert!(page("dhow-context.1").contains(".B use\n"));
        assert!(pages.iter().all(|(file, _)| !file.contains("dial-stdio")));
        for (file, page) in &pages {
            // Lines that roff would take for requests are ours.
            for line in page.lines().filter(|line| line.starts_with('.')) {
                let request = line.split(' ').next().unwrap();
                assert!(
                    [".TH", ".SH", ".TP", ".B", ".BR"].contains(&request),
                    "{file}: {line}"
                );
            }
        }
    }
}
