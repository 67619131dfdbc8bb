//! The figures, a line for each thing that is measured, with the engines side by side.

use dhow_tests::Engine;

use crate::measure::{Table, ms, ratio};

#[derive(Debug, Default)]
pub struct Report(Vec<Line>);

#[derive(Debug)]
struct Line {
    what: String,
    peer: Option<f64>,
    ours: Option<f64>,
    floor: Option<f64>,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Milliseconds,
    Mebibytes,
}

/// One engine's part of the report.
pub struct Column<'a> {
    report: &'a mut Report,
    engine: Engine,
}

impl Report {
    pub fn column(&mut self, engine: Engine) -> Column<'_> {
        Column {
            report: self,
            engine,
        }
    }

    pub fn print(&self) {
        let head = [
            "",
            "dockerd",
            "dhow",
            "of dockerd's",
            "floor",
            "of the floor",
        ];
        let floored = self.0.iter().any(|line| line.floor.is_some());
        let columns = if floored { head.len() } else { head.len() - 2 };
        let mut table = Table::new(&head[..columns]);
        for line in &self.0 {
            let shown = |value: Option<f64>| match (value, line.unit) {
                (None, _) => String::new(),
                (Some(value), Unit::Milliseconds) => ms(value),
                (Some(value), Unit::Mebibytes) => format!("{value:.1} MiB"),
            };
            let share = |of: Option<f64>| match (line.ours, of) {
                (Some(ours), Some(of)) => ratio(ours, of),
                _ => String::new(),
            };
            let cells = [
                line.what.clone(),
                shown(line.peer),
                shown(line.ours),
                share(line.peer),
                shown(line.floor),
                share(line.floor),
            ];
            table.row(cells.into_iter().take(columns));
        }
        table.print();
    }

    fn line(&mut self, what: &str, unit: Unit) -> &mut Line {
        let at = self.0.iter().position(|line| line.what == what);
        let at = at.unwrap_or_else(|| {
            self.0.push(Line {
                what: what.to_owned(),
                peer: None,
                ours: None,
                floor: None,
                unit,
            });
            self.0.len() - 1
        });
        &mut self.0[at]
    }
}

impl Column<'_> {
    pub fn ms(&mut self, what: &str, value: f64) {
        self.add(what, Unit::Milliseconds, value);
    }

    pub fn mib(&mut self, what: &str, value: f64) {
        self.add(what, Unit::Mebibytes, value);
    }

    /// What it takes without an engine.
    pub fn floor(&mut self, what: &str, ms: f64) {
        self.report.line(what, Unit::Milliseconds).floor = Some(ms);
    }

    fn add(&mut self, what: &str, unit: Unit, value: f64) {
        eprintln!("{:?}: {what}: {value:.2}", self.engine);
        let line = self.report.line(what, unit);
        match self.engine {
            Engine::Dockerd => line.peer = Some(value),
            Engine::Dhow => line.ours = Some(value),
        }
    }
}
