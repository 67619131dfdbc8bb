//! Modules and the arrows between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use crate::source::{ROOT, Source};

pub struct Graph {
    modules: BTreeSet<String>,
    /// From, to, and a place where it is said.
    arrows: BTreeMap<String, BTreeMap<String, (PathBuf, usize)>>,
}

impl Graph {
    pub fn of(source: &Source) -> Graph {
        let mut arrows: BTreeMap<String, BTreeMap<String, (PathBuf, usize)>> = BTreeMap::new();
        for import in &source.imports {
            let from = source.module_of(&import.from);
            let to = source.module_of(&import.to);
            if from != to {
                arrows
                    .entry(from)
                    .or_default()
                    .entry(to)
                    .or_insert_with(|| (import.file.clone(), import.line));
            }
        }
        Graph {
            modules: source.modules.clone(),
            arrows,
        }
    }

    pub fn has(&self, module: &str) -> bool {
        self.modules.contains(module)
    }

    pub fn arrow(&self, from: &str, to: &str) -> bool {
        self.arrows
            .get(from)
            .is_some_and(|to_| to_.contains_key(to))
    }

    /// Who imports a module, the root of the crate excepted.
    pub fn importers(&self, module: &str) -> Vec<String> {
        self.arrows
            .iter()
            .filter(|(from, _)| *from != ROOT)
            .filter_map(|(from, to)| {
                let (file, line) = to.get(module)?;
                Some(format!("  {from} at {}:{line}", file.display()))
            })
            .collect()
    }

    /// One text for each set of modules that all need each other, with a shortest way round in it.
    pub fn circles(&self) -> Vec<String> {
        let mut told = BTreeSet::new();
        let mut circles = Vec::new();
        for module in self.arrows.keys() {
            if told.contains(module) {
                continue;
            }
            let below = self.reach(module);
            let circle: BTreeSet<&String> = below
                .iter()
                .filter(|other| self.reach(other).contains(module))
                .collect();
            if circle.is_empty() {
                continue;
            }
            let names: Vec<&str> = circle.iter().map(|name| name.as_str()).collect();
            let mut text = format!("  {} stand in one circle:", names.join(", "));
            let way = self.way_round(module);
            for (from, to) in &way {
                let (file, line) = &self.arrows[from][to];
                text.push_str(&format!(
                    "\n    {from} -> {to} at {}:{line}",
                    file.display()
                ));
            }
            if way.len() < circle.len() {
                text.push_str("\n  their arrows among each other:");
                for from in &circle {
                    let to: Vec<&str> = self
                        .below(from)
                        .filter(|to| circle.contains(to))
                        .map(String::as_str)
                        .collect();
                    text.push_str(&format!("\n    {from} -> {}", to.join(", ")));
                }
            }
            circles.push(text);
            told.extend(circle.into_iter().cloned());
        }
        circles
    }

    fn below(&self, module: &str) -> impl Iterator<Item = &String> {
        self.arrows.get(module).into_iter().flat_map(BTreeMap::keys)
    }

    /// All that can be come to from a module, which is among it if there is a way round.
    fn reach(&self, module: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut ahead: Vec<&String> = self.below(module).collect();
        while let Some(next) = ahead.pop() {
            if reached.insert(next.clone()) {
                ahead.extend(self.below(next));
            }
        }
        reached
    }

    /// The arrows of a shortest way from a module that stands in a circle back to it.
    fn way_round(&self, start: &str) -> Vec<(String, String)> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut ahead = VecDeque::from([start]);
        while let Some(module) = ahead.pop_front() {
            for next in self.below(module) {
                if next == start {
                    let mut way = vec![(module.to_owned(), start.to_owned())];
                    let mut at = module;
                    while let Some(before) = came_from.get(at) {
                        way.push(((*before).to_owned(), at.to_owned()));
                        at = before;
                    }
                    way.reverse();
                    return way;
                }
                if !came_from.contains_key(next.as_str()) {
                    came_from.insert(next, module);
                    ahead.push_back(next);
                }
            }
        }
        Vec::new()
    }
}
