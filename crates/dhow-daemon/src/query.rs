//! Query parameters, read by the rules of Docker's daemon.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use dhow_api::Filters;
use http::request::Parts;

use crate::error::{ApiError, Result};

/// A request's query parameters.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params> {
        let Query(pairs) = Query::try_from_uri(&parts.uri)
            .map_err(|e| ApiError::bad(format!("invalid query: {e}")))?;
        Ok(Params(pairs))
    }
}

impl Params {
    /// The first value of a name, which may be empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// Every value of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// A value that is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|v| !v.is_empty())
    }

    /// Whether a flag is set: to anything but nothing, `0`, `no`, `false` and `none`.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(is_true)
    }

    /// As [`Params::flag`], with a default for a flag that is not there.
    pub fn flag_or(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, is_true)
    }

    /// A number, where there is one.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        match self.text(name) {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(ApiError::bad(format!(
                    "invalid value {text:?} for {name}: expected a number"
                ))),
            },
        }
    }

    /// A time in nanoseconds since the epoch, where there is one; zero counts as none.
    pub fn time(&self, name: &str) -> Result<Option<i64>> {
        match self.text(name) {
            None | Some("0") => Ok(None),
            Some(text) => dhow_api::time::parse(text)
                .map(Some)
                .map_err(|e| ApiError::bad(format!("invalid value for \"{name}\": {e}"))),
        }
    }

    pub fn filters(&self) -> Result<Filters> {
        Filters::parse(self.get("filters").unwrap_or_default())
            .map_err(|e| ApiError::bad(e.to_string()))
    }
}

fn is_true(value: &str) -> bool {
    !matches!(
        value.trim().to_ascii_lowercase().as_str(),
        "" | "0" | "no" | "false" | "none"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        let uri = format!("/x?{query}").parse().unwrap();
        Params(Query::try_from_uri(&uri).unwrap().0)
    }

    #[test]
    fn flags_are_read_as_docker_reads_them() {
        let p = params("a=1&b=0&c&d=False&e=yes&f=none&type=x&type=y%2Fz");
        assert!(p.flag("a") && p.flag("e"));
        for unset in ["b", "c", "d", "f", "absent"] {
            assert!(!p.flag(unset), "{unset}");
        }
        assert!(p.flag_or("absent", true) && !p.flag_or("c", true));
        assert_eq!(p.all("type").collect::<Vec<_>>(), ["x", "y/z"]);
    }

    #[test]
    fn what_is_no_number_or_time_is_refused() {
        assert!(params("t=x").number::<i64>("t").is_err());
        assert_eq!(params("t=-5").number::<i64>("t").unwrap(), Some(-5));
        assert_eq!(params("t=").number::<i64>("t").unwrap(), None);
        assert_eq!(
            params("since=1.5").time("since").unwrap(),
            Some(1_500_000_000)
        );
        assert!(params("since=yesterday").time("since").is_err());
        assert!(params("filters=[").filters().is_err());
    }
}
