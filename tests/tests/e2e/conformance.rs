//! The distribution specification's own conformance program: all four workflows, referrers and sha512 among them.

use dhow_tests::engine::peer;
use dhow_tests::{Engine, TestHost};

/// How many tests the program has at the version that is built. Fewer would mean that some were left out.
const TESTS: u32 = 852;

#[test]
fn every_test_passes() {
    let host = TestHost::empty();
    if host.engine != Engine::Dhow {
        return;
    }
    let finished = host.sh(&format!(
        "OCI_REGISTRY=127.0.0.1:5000 OCI_TLS=disabled OCI_REPO1=conformance/one OCI_REPO2=conformance/two OCI_RESULTS_DIR=results OCI_VERSION=1.1 {}",
        peer("conformance").display()
    ));
    let report = std::fs::read_to_string(host.path("results/junit.xml")).unwrap_or_default();
    let count = |name: &str| -> u32 {
        let (_, rest) = report
            .split_once(&format!(" {name}=\""))
            .unwrap_or_default();
        let number = rest.split('"').next().unwrap_or_default();
        // What there is none of isn't counted.
        number.parse().unwrap_or(0)
    };
    println!(
        "conformance: {} tests, {} failures, {} skipped",
        count("tests"),
        count("failures"),
        count("skipped")
    );
    assert_eq!(
        count("failures"),
        0,
        "{}\n{}",
        finished.stdout,
        finished.stderr
    );
    assert!(count("tests") >= TESTS, "{}", finished.stdout);
}
