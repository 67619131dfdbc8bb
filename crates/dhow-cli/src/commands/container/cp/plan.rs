//! Which way a copy goes, and what is made of its two paths: which directory the archive is put into, and what
//! name its first entry has there. The rules and the sentences are Docker's.

use dhow_archive::words::{self, Rename};

use crate::error::{Result, message};

#[derive(Debug, PartialEq, Eq)]
pub enum Way<'a> {
    /// Out of a container.
    Out { container: &'a str, path: &'a str },
    /// Into one.
    In { container: &'a str, path: &'a str },
}

pub fn way<'a>(from: &'a str, to: &'a str) -> Result<Way<'a>> {
    match (in_container(from), in_container(to)) {
        (Some((container, path)), None) => Ok(Way::Out { container, path }),
        (None, Some((container, path))) => Ok(Way::In { container, path }),
        (Some(_), Some(_)) => Err(message("copying between containers is not supported")),
        (None, None) => Err(message("must specify at least one container source")),
    }
}

/// `CONTAINER:PATH`; a path of this machine with a colon begins with `/` or `.`.
fn in_container(argument: &str) -> Option<(&str, &str)> {
    if argument.starts_with('/') {
        return None;
    }
    argument
        .split_once(':')
        .filter(|(container, _)| !container.starts_with('.') && !container.is_empty())
}

/// What there is at a path, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    Directory,
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub path: String,
    pub is_directory: bool,
    /// The name that it was asked for by, where a link led to another.
    pub rename: Option<String>,
}

impl Source {
    /// The name of its archive's first entry.
    pub fn name(&self) -> String {
        match &self.rename {
            Some(name) => name.clone(),
            None => words::split(&self.path).1,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub path: String,
    /// What is there, if something is.
    pub is: Option<Copied>,
}

/// The directory to put the archive into, and the name to give its first entry.
pub fn prepare(source: &Source, destination: &Destination) -> Result<(String, Option<Rename>)> {
    let (directory, name) = words::split(&destination.path);
    match destination.is {
        Some(Copied::Directory) => return Ok((destination.path.clone(), None)),
        Some(Copied::Other) if source.is_directory => return Err(message("cannot copy directory")),
        None if !source.is_directory && words::is_directory(&destination.path) => {
            return Err(message("no such directory"));
        }
        Some(Copied::Other) | None => {}
    }
    Ok((directory, Some(Rename::new(&source.name(), &name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_is_told_by_its_colon() {
        let out = |from| way(from, "here");
        assert_eq!(
            out("web:/opt/x").unwrap(),
            Way::Out {
                container: "web",
                path: "/opt/x"
            }
        );
        assert_eq!(
            way("-", "web:x").unwrap(),
            Way::In {
                container: "web",
                path: "x"
            }
        );
        for local in ["/a:b", "./a:b", "../a:b", "plain", ":x"] {
            let error = out(local).unwrap_err().to_string();
            assert_eq!(
                error, "must specify at least one container source",
                "{local}"
            );
        }
        assert_eq!(
            way("a:/x", "b:/y").unwrap_err().to_string(),
            "copying between containers is not supported"
        );
    }

    #[test]
    fn the_table_of_dockers_manual() {
        let put = |path: &str, is_directory, to: &str, is| {
            let source = Source {
                path: path.into(),
                is_directory,
                rename: None,
            };
            let to = Destination {
                path: to.into(),
                is,
            };
            prepare(&source, &to)
                .map(|(directory, rename)| {
                    let name = source.name().into_bytes();
                    let name = rename.map_or(name.clone(), |rename| rename.apply(name));
                    format!("{directory} {}", String::from_utf8(name).unwrap())
                })
                .unwrap_or_else(|e| e.to_string())
        };
        let (dir, other) = (Some(Copied::Directory), Some(Copied::Other));
        // A file.
        assert_eq!(put("/f", false, "/to/new", None), "/to new");
        assert_eq!(put("/f", false, "/to/new/", None), "no such directory");
        assert_eq!(put("/f", false, "/to/file", other), "/to file");
        assert_eq!(put("/f", false, "/to", dir), "/to f");
        // A directory.
        assert_eq!(put("/d", true, "/to/new", None), "/to new");
        assert_eq!(put("/d", true, "/to/file", other), "cannot copy directory");
        assert_eq!(put("/d", true, "/to", dir), "/to d");
        // Its contents.
        assert_eq!(put("/d/.", true, "/to/new", None), "/to new");
        assert_eq!(put("/d/.", true, "/to", dir), "/to .");
        assert_eq!(
            put("/d/.", true, "/to/file", other),
            "cannot copy directory"
        );
    }
}
