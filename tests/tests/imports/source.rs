//! A crate's modules and what they name of each other, read from its files.
//!
//! The files are read as tokens, which comments and words in quotes aren't; what is in a macro's arguments counts
//! like the rest. Items of `#[cfg(test)]` are left out. Paths are resolved as the Rust Reference has it under
//! "Paths", as far as they begin with `crate`, `self` or `super`, or stand in the crate's root.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// What the crate's root is called among the modules.
pub const ROOT: &str = "lib";

/// A path that a module names, both from the crate's root.
#[derive(Clone, Debug)]
pub struct Import {
    pub from: Vec<String>,
    pub to: Vec<String>,
    pub file: PathBuf,
    pub line: usize,
}

#[derive(Debug, Default)]
pub struct Source {
    /// The crate's top-level modules.
    pub modules: BTreeSet<String>,
    pub imports: Vec<Import>,
    /// What the root gives out under a name of its own, and where that is.
    given_out: BTreeMap<String, Vec<String>>,
}

impl Source {
    /// Reads the crate whose root is `lib.rs` in this directory.
    pub fn read(dir: &Path) -> Result<Source, String> {
        let mut source = Source::default();
        let root = dir.join("lib.rs");
        let tokens = parse(&root)?;
        source.modules = declared(&tokens);
        let mut reader = Reader {
            source: &mut source,
            dir,
        };
        reader.file(&root, tokens, &[], dir)?;
        Ok(source)
    }

    /// The top-level module that a path leads into.
    pub fn module_of(&self, path: &[String]) -> String {
        let Some(first) = path.first() else {
            return ROOT.to_owned();
        };
        if self.modules.contains(first) {
            return first.clone();
        }
        // One that the root itself makes, or gives out with a star, stays the root's.
        let given = self.given_out.get(first).and_then(|path| path.first());
        given
            .filter(|module| self.modules.contains(*module))
            .cloned()
            .unwrap_or_else(|| ROOT.to_owned())
    }
}

fn parse(file: &Path) -> Result<Vec<TokenTree>, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let tokens: TokenStream = text
        .parse()
        .map_err(|e| format!("{} is no Rust: {e}", file.display()))?;
    Ok(tokens.into_iter().collect())
}

/// The names of `mod` items, those of tests too.
fn declared(tokens: &[TokenTree]) -> BTreeSet<String> {
    tokens
        .windows(2)
        .filter(|pair| is_word(&pair[0], "mod"))
        .filter_map(|pair| word(&pair[1]))
        .collect()
}

struct Reader<'a> {
    source: &'a mut Source,
    dir: &'a Path,
}

/// Where the tokens stand.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a Path,
    module: &'a [String],
    /// Where the files of the module's own modules are.
    below: &'a Path,
}

impl Reader<'_> {
    fn file(
        &mut self,
        file: &Path,
        tokens: Vec<TokenTree>,
        module: &[String],
        below: &Path,
    ) -> Result<(), String> {
        let shown = file.strip_prefix(self.dir).unwrap_or(file);
        self.tokens(
            &tokens,
            Place {
                file: shown,
                module,
                below,
            },
        )
    }

    fn tokens(&mut self, tokens: &[TokenTree], place: Place<'_>) -> Result<(), String> {
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            if is_punct(Some(token), '#') {
                let inner = is_punct(tokens.get(at + 1), '!');
                let attribute = tokens.get(at + 1 + usize::from(inner));
                if let Some(TokenTree::Group(attribute)) = attribute {
                    at += 2 + usize::from(inner);
                    if !is_of_tests(attribute) {
                        self.attribute(attribute, place)?;
                    } else if inner {
                        return Ok(());
                    } else {
                        at = end_of_item(tokens, at);
                    }
                    continue;
                }
            }
            if let TokenTree::Group(group) = token {
                let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                self.tokens(&inside, place)?;
            }
            let follows_path =
                at > 1 && is_punct(tokens.get(at - 1), ':') && is_punct(tokens.get(at - 2), ':');
            match word(token).as_deref() {
                Some("mod") => {
                    if let Some(name) = tokens.get(at + 1).and_then(word) {
                        self.module(&name, tokens.get(at + 2), place)?;
                        at += 3;
                        continue;
                    }
                }
                Some("use") => {
                    let end = (at..tokens.len())
                        .find(|i| is_punct(tokens.get(*i), ';'))
                        .unwrap_or(tokens.len());
                    let mut named = Vec::new();
                    read_tree(&tokens[at + 1..end], &[], &mut named);
                    for (path, name, line) in named {
                        self.name(&path, line, place);
                        if place.module.is_empty()
                            && let Some(full) = self.resolve(&path, place)
                        {
                            self.source.given_out.insert(name, full);
                        }
                    }
                    at = end;
                }
                // Within a longer path it is no beginning; a lone `crate` or `self` names nothing.
                Some(first) if !follows_path && path_goes_on(tokens, at) => {
                    let mut path = vec![first.to_owned()];
                    let line = token.span().start().line;
                    while path_goes_on(tokens, at)
                        && let Some(next) = tokens.get(at + 3).and_then(word)
                    {
                        path.push(next);
                        at += 3;
                    }
                    self.name(&path, line, place);
                }
                _ => {}
            }
            at += 1;
        }
        Ok(())
    }

    fn module(
        &mut self,
        name: &str,
        body: Option<&TokenTree>,
        place: Place<'_>,
    ) -> Result<(), String> {
        let mut module = place.module.to_vec();
        module.push(name.to_owned());
        let below = place.below.join(name);
        if let Some(TokenTree::Group(group)) = body {
            let inside: Vec<TokenTree> = group.stream().into_iter().collect();
            return self.tokens(
                &inside,
                Place {
                    module: &module,
                    below: &below,
                    ..place
                },
            );
        }
        let own = place.below.join(format!("{name}.rs"));
        let file = if own.exists() {
            own
        } else {
            below.join("mod.rs")
        };
        let tokens = parse(&file)?;
        self.file(&file, tokens, &module, &below)
    }

    /// Attributes name functions in quotes, as serde's do.
    fn attribute(&mut self, attribute: &Group, place: Place<'_>) -> Result<(), String> {
        for token in attribute.stream() {
            match token {
                TokenTree::Group(group) => self.attribute(&group, place)?,
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    let text = text.trim_matches('"');
                    if text.starts_with("crate::") || text.starts_with("super::") {
                        let path: Vec<String> = text.split("::").map(str::to_owned).collect();
                        self.name(&path, literal.span().start().line, place);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn name(&mut self, path: &[String], line: usize, place: Place<'_>) {
        if let Some(to) = self.resolve(path, place) {
            self.source.imports.push(Import {
                from: place.module.to_vec(),
                to,
                file: place.file.to_owned(),
                line,
            });
        }
    }

    /// The path from the crate's root, of one that leads to something in this crate.
    fn resolve(&self, path: &[String], place: Place<'_>) -> Option<Vec<String>> {
        let mut full = match path.first()?.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => place.module.to_vec(),
            module if place.module.is_empty() && self.source.modules.contains(module) => {
                return Some(path.to_vec());
            }
            _ => return None,
        };
        for part in path {
            match part.as_str() {
                "crate" | "self" => {}
                "super" => drop(full.pop()),
                part => full.push(part.to_owned()),
            }
        }
        Some(full)
    }
}

/// The paths of a use declaration with their names in the module and their lines.
fn read_tree(
    tokens: &[TokenTree],
    prefix: &[String],
    named: &mut Vec<(Vec<String>, String, usize)>,
) {
    for branch in tokens.split(|token| is_punct(Some(token), ',')) {
        let mut path = prefix.to_vec();
        let mut tokens = branch.iter();
        let mut name = None;
        let mut line = 0;
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                    read_tree(&inside, &path, named);
                    name = None;
                }
                TokenTree::Punct(punct) if punct.as_char() == '*' => {
                    path.push("*".to_owned());
                    name = Some("*".to_owned());
                    line = punct.span().start().line;
                }
                TokenTree::Ident(ident) if *ident == "as" => name = tokens.next().and_then(word),
                TokenTree::Ident(ident) => {
                    path.push(ident.to_string());
                    // `self` at the end of a path is the path.
                    name = path.iter().rev().find(|part| *part != "self").cloned();
                    line = ident.span().start().line;
                }
                _ => {}
            }
        }
        if let Some(name) = name {
            named.push((path, name, line));
        }
    }
}

/// Whether the attribute is `cfg(test)`, or one that wants it among others, or `test`.
fn is_of_tests(attribute: &Group) -> bool {
    let tokens: Vec<TokenTree> = attribute.stream().into_iter().collect();
    match &tokens[..] {
        [only] => is_word(only, "test"),
        [cfg, TokenTree::Group(condition)] if is_word(cfg, "cfg") => {
            has_word(condition, "test") && !has_word(condition, "not")
        }
        _ => false,
    }
}

fn has_word(group: &Group, wanted: &str) -> bool {
    group.stream().into_iter().any(|token| match token {
        TokenTree::Group(group) => has_word(&group, wanted),
        other => is_word(&other, wanted),
    })
}

/// Where the item that begins here, with its further attributes, has ended: at its body or its semicolon, of
/// what is no item at the comma.
fn end_of_item(tokens: &[TokenTree], from: usize) -> usize {
    let mut is_item = false;
    let mut has_body = true;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token {
            TokenTree::Ident(ident) => match ident.to_string().as_str() {
                "use" | "static" | "type" | "const" => (is_item, has_body) = (true, false),
                "fn" | "mod" | "struct" | "enum" | "union" | "impl" | "trait" | "macro_rules" => {
                    (is_item, has_body) = (true, true);
                }
                _ => {}
            },
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace && has_body => {
                return at + 1;
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => return at + 1,
            TokenTree::Punct(punct) if punct.as_char() == ',' && !is_item => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

fn word(token: &TokenTree) -> Option<String> {
    match token {
        TokenTree::Ident(ident) => Some(ident.to_string()),
        _ => None,
    }
}

fn is_word(token: &TokenTree, wanted: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if *ident == wanted)
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

/// Whether `::` and a further word follow the word here.
fn path_goes_on(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens.get(at + 1), ':')
        && is_punct(tokens.get(at + 2), ':')
        && matches!(tokens.get(at + 3), Some(TokenTree::Ident(_)))
}
