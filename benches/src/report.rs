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
pub enum Unit {
    Microseconds,
    Milliseconds,
    Seconds,
    Mebibytes,
    GigabitsPerSecond,
    PerSecond,
    Count,
}

impl Unit {
    fn shown(self, value: f64) -> String {
        match self {
            Unit::Microseconds => format!("{value:.1} µs"),
            Unit::Milliseconds => ms(value),
            Unit::Seconds => format!("{value:.2} s"),
            Unit::Mebibytes => format!("{value:.1} MiB"),
            Unit::GigabitsPerSecond => format!("{value:.1} Gbit/s"),
            Unit::PerSecond => format!("{value:.0}/s"),
            Unit::Count => format!("{value:.0}"),
        }
    }
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
            let shown =
                |value: Option<f64>| value.map_or(String::new(), |value| line.unit.shown(value));
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

    /// What it takes without an engine.
    pub fn floor(&mut self, what: &str, unit: Unit, value: f64) {
        eprintln!("floor: {what}: {value:.2}");
        self.line(what, unit).floor = Some(value);
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

    pub fn floor(&mut self, what: &str, ms: f64) {
        self.report.floor(what, Unit::Milliseconds, ms);
    }

    pub fn add(&mut self, what: &str, unit: Unit, value: f64) {
        eprintln!("{:?}: {what}: {value:.2}", self.engine);
        let line = self.report.line(what, unit);
        match self.engine {
            Engine::Dockerd => line.peer = Some(value),
            Engine::Dhow => line.ours = Some(value),
        }
    }
}
