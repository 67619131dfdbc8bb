//! The names of devices, `vendor.com/class=name` (the Container Device Interface's SPEC.md, "Kind" and "CDI Devices").

/// What a vendor's or a class's name may be: a letter first, a letter or a digit last.
pub fn check_kind_part(what: &str, name: &str) -> Result<(), String> {
    let Some(first) = name.chars().next() else {
        return Err(format!("invalid {what}. empty name"));
    };
    if !first.is_ascii_alphabetic() {
        return Err(format!(
            "invalid {what}. {name:?}, should start with letter"
        ));
    }
    check_rest(name, &['_', '-', '.'], "name").map_err(|why| format!("invalid {what}. {why}"))
}

/// What a device's own name may be: a letter or a digit first and last.
pub fn check_device(name: &str) -> Result<(), String> {
    let Some(first) = name.chars().next() else {
        return Err("invalid (empty) device name".to_owned());
    };
    if !first.is_ascii_alphanumeric() {
        return Err(format!(
            "invalid device name {name:?}, should start with a letter or digit"
        ));
    }
    check_rest(name, &['_', '-', '.', ':'], "device name")
}

fn check_rest(name: &str, others: &[char], what: &str) -> Result<(), String> {
    if let Some(bad) = name
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !others.contains(c))
    {
        return Err(format!("invalid character '{bad}' in {what} {name:?}"));
    }
    match name.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        true => Ok(()),
        false => Err(format!("{name:?}, should end with a letter or digit")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "vendor.com", "A-b_c.d9"] {
            check_kind_part("vendor", good).unwrap();
        }
        for bad in ["", "9a", ".a", "a.", "a b", "a/b", "ä"] {
            assert!(check_kind_part("vendor", bad).is_err(), "{bad}");
        }
        for good in ["0", "all", "gpu0:1", "0000:00:1f.0", "GPU-1a_2"] {
            check_device(good).unwrap();
        }
        for bad in ["", ":a", "a:", "a=b", "a/b"] {
            assert!(check_device(bad).is_err(), "{bad}");
        }
    }
}
