//! The reference in docs/daemon.md is what the code says. `UPDATE_DOCS=1` writes it.

use std::fmt::Write;
use std::path::Path;

use clap::CommandFactory;
use dhow_daemon::config::KEYS;
use dhow_daemon::config::not_here::NOT_HERE;
use dhow_daemon::flags::Flags;

const MARK: &str =
    "<!-- From here on generated: UPDATE_DOCS=1 cargo test -p dhow-daemon --test docs -->\n";

fn reference() -> String {
    let mut text = String::from("\n| flag | key | what |\n|---|---|---|\n");
    let command = Flags::command();
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        let Some(long) = argument.get_long() else {
            continue;
        };
        let short = argument
            .get_short()
            .map_or(String::new(), |short| format!("`-{short}`, "));
        let key = KEYS
            .iter()
            .find(|(_, flag)| *flag == id)
            .map_or(String::new(), |(key, _)| format!("`{key}`"));
        let help = argument
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let help = help.replace('\n', " ").replace('|', "\\|");
        writeln!(text, "| {short}`--{long}` | {key} | {help} |").unwrap();
    }
    text.push_str(
        "\nThese are taken without effect, each with a line in the log, but for values that say what is so anyway:\n\n\
         | flag | key | what is so instead |\n|---|---|---|\n",
    );
    for setting in &NOT_HERE {
        let code = |prefix: &str, name: &str| match name {
            "" => String::new(),
            name => format!("`{prefix}{name}`"),
        };
        writeln!(
            text,
            "| {} | {} | {}{} |",
            code("--", setting.flag),
            code("", setting.key),
            setting.instead,
            if setting.refused { "; refused" } else { "" }
        )
        .unwrap();
    }
    text
}

#[test]
fn the_reference_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/daemon.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (guide, written) = page.split_once(MARK).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{guide}{MARK}{}", reference())).unwrap();
    } else {
        assert_eq!(
            written,
            reference(),
            "run UPDATE_DOCS=1 cargo test -p dhow-daemon --test docs"
        );
    }
}
