//! A request's query parameters, and the `Link` header of a listing that goes on.

use http::Uri;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::RegistryError;

pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub fn of(uri: &Uri) -> Query {
        let query = uri.query().unwrap_or_default();
        Query(
            form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(k, _)| k == name)
            .map(|(_, v)| v.as_str())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(k, _)| k == name)
            .map(|(_, v)| v.as_str())
    }

    /// The page's size: at most `max`, which is also the default. Zero is a size, too.
    pub fn page_size(&self, max: usize) -> Result<usize, RegistryError> {
        match self.get("n") {
            None => Ok(max),
            Some(n) => {
                n.parse()
                    .map(|n: usize| n.min(max))
                    .map_err(|_| RegistryError::ParameterInvalid {
                        name: "n",
                        value: n.to_owned(),
                    })
            }
        }
    }
}

/// `Link` to the next page (RFC 5988), which begins after `last`.
pub(crate) fn next_link(path: &str, n: usize, last: &str, extra: Option<(&str, &str)>) -> String {
    let encode = |s| utf8_percent_encode(s, NON_ALPHANUMERIC);
    let extra = extra
        .map(|(k, v)| format!("&{k}={}", encode(v)))
        .unwrap_or_default();
    format!("<{path}?n={n}&last={}{extra}>; rel=\"next\"", encode(last))
}
