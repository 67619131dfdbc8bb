//! The reference of the command line is made from the program's tables: this fails when it is stale.

use std::fs;
use std::path::Path;

#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == dhow_cli::reference(),
        "docs/reference/cli.md is not what the program says: write it anew with \
         `dhow __docs > docs/reference/cli.md`"
    );
}
