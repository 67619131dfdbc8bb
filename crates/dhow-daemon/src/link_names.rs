//! Containers that are named by what another calls them: `container/alias`, with a slash that clients send as it is.

use http::uri::PathAndQuery;
use http::{Method, Uri};

/// Makes one segment of such a name, which the routes expect.
pub fn in_one_segment(method: &Method, uri: Uri) -> Uri {
    let Some(rest) = uri.path().strip_prefix("/containers/") else {
        return uri;
    };
    let segments: Vec<&str> = rest.split('/').collect();
    // What is done with the container follows its name.
    let verb = match (method, segments.as_slice()) {
        (_, [.., "attach", "ws"]) => 2,
        (&Method::DELETE, _) => 0,
        _ => 1,
    };
    let Some(name) = segments.len().checked_sub(verb).filter(|n| *n > 1) else {
        return uri;
    };
    let (name, verb) = segments.split_at(name);
    let mut path = format!("/containers/{}", name.join("%2F"));
    for segment in verb {
        path.push('/');
        path.push_str(segment);
    }
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    // It is made of what was a path.
    PathAndQuery::try_from(path).map_or(uri, Uri::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_slash_is_one_segment() {
        for (method, path, expected) in [
            (
                Method::GET,
                "/containers/json?all=1",
                "/containers/json?all=1",
            ),
            (Method::GET, "/containers/web/json", "/containers/web/json"),
            (
                Method::GET,
                "/containers/web/db/json?x=1",
                "/containers/web%2Fdb/json?x=1",
            ),
            (
                Method::GET,
                "/containers//web/json",
                "/containers/%2Fweb/json",
            ),
            (
                Method::GET,
                "/containers/web/attach/ws",
                "/containers/web/attach/ws",
            ),
            (
                Method::GET,
                "/containers/web/db/attach/ws",
                "/containers/web%2Fdb/attach/ws",
            ),
            (
                Method::POST,
                "/containers/web/db/start",
                "/containers/web%2Fdb/start",
            ),
            (Method::DELETE, "/containers/web", "/containers/web"),
            (
                Method::DELETE,
                "/containers/web/db?link=1",
                "/containers/web%2Fdb?link=1",
            ),
            (
                Method::DELETE,
                "/containers/web/logs",
                "/containers/web%2Flogs",
            ),
            (Method::DELETE, "/volumes/a/b", "/volumes/a/b"),
        ] {
            let uri = in_one_segment(&method, path.parse().unwrap());
            assert_eq!(uri.to_string(), expected, "{method} {path}");
        }
    }
}
