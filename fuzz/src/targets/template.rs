//! Go templates of `--format`.

pub fn template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    dhow_cli::untrusted::template(text, VALUE);
}

const VALUE: &str = r#"{
    "ID": "0123456789ab", "Names": ["/one", "/two"], "Size": 12345, "Running": true, "Nothing": null,
    "Labels": {"a": "b"}, "State": {"Status": "running", "Health": {"Log": [{"ExitCode": 1}]}},
    "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}}
}"#;
