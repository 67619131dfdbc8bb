//! `-v [source:]target[:options]`: a path of the host if the source looks like one, else a volume.

use std::collections::BTreeMap;
use std::path::Path;

use dhow_api::Empty;

use crate::error::Refusal;

/// Binds, and the targets of anonymous volumes.
pub fn read(specs: &[&str]) -> Result<(Vec<String>, BTreeMap<String, Empty>), Refusal> {
    let mut binds = Vec::new();
    let mut anonymous = BTreeMap::new();
    for spec in specs {
        match bind(spec)? {
            Some(bind) => binds.push(bind),
            None => {
                anonymous.insert((*spec).to_owned(), Empty {});
            }
        }
    }
    Ok((binds, anonymous))
}

/// The bind in the API's form; nothing for an anonymous volume.
fn bind(spec: &str) -> Result<Option<String>, Refusal> {
    if spec.is_empty() {
        return Err("invalid empty volume spec".to_owned());
    }
    let parts: Vec<&str> = spec.split(':').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(format!(
            "invalid spec: {spec}: empty section between colons"
        ));
    }
    let (source, rest) = match parts[..] {
        [_] => return Ok(None),
        [source, ..] => (source, &spec[source.len() + 1..]),
        [] => return Ok(None),
    };
    if parts.len() > 3 {
        return Err(format!("invalid spec: {spec}: too many colons"));
    }
    if !source.starts_with('.') {
        return Ok(Some(spec.to_owned()));
    }
    // The daemon has another working directory.
    let absolute =
        std::path::absolute(source).map_err(|error| format!("invalid spec: {spec}: {error}"))?;
    Ok(Some(format!("{}:{rest}", tidy(&absolute))))
}

/// Without `.` and `..`, as Go's `filepath.Abs` writes it.
fn tidy(path: &Path) -> String {
    let mut clean = std::path::PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            std::path::Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart() {
        let (binds, anonymous) =
            read(&["/data", "/host:/in:ro", "named:/n", "./x/../y:/y", "..:/up"]).unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!(
            binds,
            [
                "/host:/in:ro".to_owned(),
                "named:/n".to_owned(),
                format!("{}/y:/y", here.display()),
                format!("{}:/up", here.parent().unwrap().display()),
            ]
        );
        assert_eq!(anonymous.keys().collect::<Vec<_>>(), ["/data"]);
        for (bad, why) in [
            ("", "invalid empty volume spec"),
            ("::", "invalid spec: ::: empty section between colons"),
            ("/a:", "invalid spec: /a:: empty section between colons"),
            ("a:b:c:d", "invalid spec: a:b:c:d: too many colons"),
        ] {
            assert_eq!(read(&[bad]).unwrap_err(), why);
        }
    }
}
