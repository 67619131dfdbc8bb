//! Lists of things: as a table, as JSON, or by a template. A list is a set of columns, each the name
//! that templates use and the heading that tables show.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use gotmpl::{MissingKey, Value};
use tabwriter::TabWriter;

use crate::format::json::escape_html;
use crate::format::template::{Format, FormatError, LABEL, unescaped};

/// Cells are at least ten wide and three apart, as Docker's are; the writer counts the gap apart.
const GAP: usize = 3;
const NARROWEST: usize = 10 - GAP;

/// What can be shown of a kind of thing.
pub struct Listing {
    pub columns: &'static [(&'static str, &'static str)],
    /// The columns of the table that is shown when no format is asked for.
    pub default: &'static str,
    /// The format of `-q`.
    pub quiet: &'static str,
}

/// What is shown of one thing, by column.
pub type Row = BTreeMap<&'static str, String>;

/// A thing that makes its cells when a format asks for them. Long lists are of these: most formats show
/// half of the columns.
pub trait Cells {
    /// `None` where there is no such column.
    fn cell(&self, column: &str) -> Option<String>;

    /// What is true or false, where a column is that and no text.
    fn truth(&self, _column: &str) -> Option<bool> {
        None
    }

    /// The labels, for lists whose templates may say `{{.Label "name"}}`.
    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        None
    }
}

impl Cells for Row {
    fn cell(&self, column: &str) -> Option<String> {
        self.get(column).cloned()
    }
}

impl Listing {
    /// The format to use: what was asked for, or the configured one, or the default.
    pub fn pick<'a>(
        &'a self,
        asked: Option<&'a str>,
        configured: Option<&'a str>,
        quiet: bool,
    ) -> &'a str {
        match asked.filter(|text| !text.is_empty()) {
            // Only a table has a quiet form.
            Some("table") | None if quiet => self.quiet,
            Some(text) => text,
            None => configured
                .filter(|text| !text.is_empty())
                .unwrap_or("table"),
        }
    }

    /// Renders the rows. `table`, `table TEMPLATE`, `json` or `TEMPLATE`.
    pub fn render(&self, format: &str, rows: &[impl Cells]) -> Result<String, FormatError> {
        self.render_as(format, rows).map_err(FormatError::of_list)
    }

    fn render_as(&self, format: &str, rows: &[impl Cells]) -> Result<String, FormatError> {
        if format == "json" {
            return Ok(rows.iter().map(|row| self.json(row) + "\n").collect());
        }
        let (heading, template) = match format {
            "table" => (true, self.default),
            text => match text.strip_prefix("table ") {
                Some(template) => (true, template),
                None => (false, text),
            },
        };
        let out = match self.render_plain(heading, template, rows) {
            Some(out) => out,
            None => self.render_template(heading, template, rows)?,
        };
        Ok(if heading { align(&out) } else { out })
    }

    /// All cells of a row.
    fn whole(&self, row: &impl Cells) -> Row {
        let cell = |name: &'static str| Some((name, row.cell(name)?));
        self.columns
            .iter()
            .filter_map(|(name, _)| cell(name))
            .collect()
    }

    /// A row as Go's encoder writes it.
    fn json(&self, row: &impl Cells) -> String {
        let cells = self.whole(row).into_iter().map(|(name, text)| {
            let value = match row.truth(name) {
                Some(truth) => truth.into(),
                None => serde_json::Value::String(text),
            };
            (name.to_owned(), value)
        });
        let object: serde_json::Map<_, _> = cells.collect();
        escape_html(&serde_json::Value::Object(object).to_string())
    }

    /// Renders with a template that is nothing but columns and the text between them, as the default ones
    /// are: it needs no interpreter, and only those cells. `None` for any other template.
    fn render_plain(&self, heading: bool, template: &str, rows: &[impl Cells]) -> Option<String> {
        let template = unescaped(template);
        let mut pieces = template.split("{{");
        let first = pieces.next().filter(|text| !text.contains("}}"))?;
        let mut columns = Vec::new();
        for piece in pieces {
            let (name, after) = piece.split_once("}}")?;
            let name = name.trim_matches(' ').strip_prefix('.')?;
            let column = self.columns.iter().find(|(known, _)| *known == name)?;
            if after.contains("}}") {
                return None;
            }
            columns.push((column, after));
        }
        let mut out = String::new();
        if heading {
            out.push_str(first);
            for ((_, heading), after) in &columns {
                out.push_str(heading);
                out.push_str(after);
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        for row in rows {
            out.push_str(first);
            for ((name, _), after) in &columns {
                out.push_str(&row.cell(name)?);
                out.push_str(after);
            }
            out.push('\n');
        }
        Some(out)
    }

    fn render_template(
        &self,
        heading: bool,
        template: &str,
        rows: &[impl Cells],
    ) -> Result<String, FormatError> {
        let format = Format::parse(template, MissingKey::Error)?;
        let string = |text: &str| Value::String(text.into());
        let mut out = String::new();
        // Carried out even if it is not shown, so that a wrong name is found without a row, too.
        let headings = {
            let mut headings: BTreeMap<Arc<str>, Value> = self
                .columns
                .iter()
                .map(|(name, heading)| (Arc::from(*name), string(heading)))
                .collect();
            if format.asks_labels() && self.columns.iter().any(|(name, _)| *name == "Labels") {
                // No labels: the name stands for itself.
                headings.insert(Arc::from(LABEL), Value::Nil);
            }
            format.execute(&Value::Map(Arc::new(headings)))?
        };
        if heading {
            out.push_str(headings.trim_end());
            out.push('\n');
        }
        for row in rows {
            let mut values: BTreeMap<Arc<str>, Value> = self
                .whole(row)
                .into_iter()
                .map(|(name, value)| match row.truth(name) {
                    Some(truth) => (Arc::from(name), Value::Bool(truth)),
                    None => (Arc::from(name), string(&value)),
                })
                .collect();
            if let (true, Some(labels)) = (format.asks_labels(), row.labels()) {
                let labels = labels
                    .iter()
                    .map(|(name, value)| (Arc::from(name.as_str()), string(value)))
                    .collect();
                values.insert(Arc::from(LABEL), Value::Map(Arc::new(labels)));
            }
            out.push_str(&format.execute(&Value::Map(Arc::new(values)))?);
            out.push('\n');
        }
        Ok(out)
    }
}

/// Aligns the cells, which tabs divide.
pub fn align(text: &str) -> String {
    align_to(text, NARROWEST)
}

/// The same with cells of at least `narrowest`, the gap not counted.
pub fn align_to(text: &str, narrowest: usize) -> String {
    let write = || -> io::Result<String> {
        let mut writer = TabWriter::new(Vec::new()).minwidth(narrowest).padding(GAP);
        writer.write_all(text.as_bytes())?;
        let bytes = writer
            .into_inner()
            .map_err(|error| io::Error::other(error.to_string()))?;
        String::from_utf8(bytes).map_err(io::Error::other)
    };
    // Memory takes every write, and what was text stays text.
    write().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const THINGS: Listing = Listing {
        columns: &[("ID", "THING ID"), ("Name", "NAME"), ("Size", "SIZE")],
        default: "{{.ID}}\t{{.Name}}\t{{.Size}}",
        quiet: "{{.ID}}",
    };

    fn rows() -> Vec<Row> {
        vec![
            Row::from([
                ("ID", "1".into()),
                ("Name", "a rather long name".into()),
                ("Size", "1kB".into()),
            ]),
            Row::from([
                ("ID", "2".into()),
                ("Name", String::new()),
                ("Size", "".into()),
            ]),
        ]
    }

    #[test]
    fn tables_are_aligned_as_dockers() {
        assert_eq!(
            THINGS.render("table", &rows()).unwrap(),
            "THING ID   NAME                 SIZE\n1          a rather long name   1kB\n2                               \n"
        );
        assert_eq!(
            THINGS.render("table {{.Name}}\\t{{.ID}}", &rows()).unwrap(),
            "NAME                 THING ID\na rather long name   1\n                     2\n"
        );
    }

    #[test]
    fn other_formats_have_no_heading() {
        assert_eq!(
            THINGS.render("{{.ID}}-{{.Size}}", &rows()).unwrap(),
            "1-1kB\n2-\n"
        );
        assert_eq!(
            THINGS.render("json", &rows()[..1]).unwrap(),
            "{\"ID\":\"1\",\"Name\":\"a rather long name\",\"Size\":\"1kB\"}\n"
        );
        assert!(THINGS.render("{{.Nope}}", &rows()).is_err());
    }

    #[test]
    fn plain_templates_render_as_the_interpreter_does() {
        for template in [
            "",
            "plain",
            "{{.ID}}",
            " {{ .ID }} {{.Name}}: ",
            r"{{.ID}}\t{{.Size}}\n",
            THINGS.default,
        ] {
            for heading in [true, false] {
                assert_eq!(
                    THINGS.render_plain(heading, template, &rows()).unwrap(),
                    THINGS.render_template(heading, template, &rows()).unwrap(),
                    "{template}"
                );
            }
        }
        for template in [
            "{{.Nope}}",
            "{{- .ID -}}",
            "{{.ID",
            "}}{{.ID}}",
            "{{json .}}",
            "{{upper .ID}}",
            "{{.}}",
            "{{.ID.Name}}",
        ] {
            let plain = THINGS.render_plain(false, template, &rows());
            assert_eq!(plain, None, "{template}");
        }
    }

    #[test]
    fn the_flag_comes_before_the_configuration() {
        assert_eq!(THINGS.pick(Some("x"), Some("y"), true), "x");
        assert_eq!(THINGS.pick(None, Some("y"), true), "{{.ID}}");
        assert_eq!(THINGS.pick(Some("table"), Some("y"), true), "{{.ID}}");
        assert_eq!(THINGS.pick(Some(""), Some("y"), false), "y");
        assert_eq!(THINGS.pick(None, None, false), "table");
    }
}
