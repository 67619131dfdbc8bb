//! One line of comma-separated values (RFC 4180), of which mounts and devices are made.

/// Its fields; the error says at which column what is wrong.
pub(super) fn fields(line: &str) -> Result<Vec<String>, String> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let mut rest = line.strip_suffix('\r').unwrap_or(line);
    let whole = rest;
    if rest.is_empty() {
        return Err("EOF".to_owned());
    }
    // The column is that of what `rest` begins with.
    let error = |rest: &str, what: &str| {
        let column = whole.len() - rest.len() + 1;
        Err(format!("parse error on line 1, column {column}: {what}"))
    };
    let mut fields = Vec::new();
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let end = rest.find(',').unwrap_or(rest.len());
            if let Some(quote) = rest[..end].find('"') {
                return error(&rest[quote..], "bare \" in non-quoted-field");
            }
            fields.push(rest[..end].to_owned());
            match rest[end..].strip_prefix(',') {
                Some(next) => rest = next,
                None => return Ok(fields),
            }
            continue;
        };
        let mut field = String::new();
        let mut inside = quoted;
        rest = loop {
            let Some((text, after)) = inside.split_once('"') else {
                return error(inside, "extraneous or missing \" in quoted-field");
            };
            field.push_str(text);
            match after.strip_prefix('"') {
                Some(after) => {
                    field.push('"');
                    inside = after;
                }
                None => break after,
            }
        };
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None if rest.is_empty() => return Ok(fields),
            None => {
                return error(
                    &whole[whole.len() - rest.len() - 1..],
                    "extraneous or missing \" in quoted-field",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_may_be_quoted() {
        assert_eq!(fields("a=b,c,").unwrap(), ["a=b", "c", ""]);
        assert_eq!(fields("\"a,b\",\"\"\"c\"\n").unwrap(), ["a,b", "\"c"]);
        for (line, message) in [
            ("", "EOF"),
            (
                "a,b\"c",
                "parse error on line 1, column 4: bare \" in non-quoted-field",
            ),
            (
                "\"a",
                "parse error on line 1, column 2: extraneous or missing \" in quoted-field",
            ),
            (
                "\"a\"b",
                "parse error on line 1, column 3: extraneous or missing \" in quoted-field",
            ),
        ] {
            assert_eq!(fields(line).unwrap_err(), message);
        }
    }
}
