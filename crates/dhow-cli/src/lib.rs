//! The command line: commands, tables, templates, progress, terminal.
