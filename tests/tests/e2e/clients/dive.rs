//! dive, which looks into an image's layers: it has the engine save it.

use dhow_tests::TestHost;

#[test]
fn sees_what_each_layer_holds() {
    let host = TestHost::start();
    host.sh("docker run --name makes busybox sh -c 'echo x > /made; rm /bin/vi' && docker commit makes two:1")
        .ok();
    host.sh("dive two:1 --json seen.json").ok();
    let seen = std::fs::read(host.path("seen.json")).expect("it was written");
    let seen: serde_json::Value = serde_json::from_slice(&seen).expect("it is JSON");
    let layers = seen["layer"].as_array().expect("there are layers");
    let paths = |layer: usize| -> Vec<&str> {
        let files = layers[layer]["fileList"].as_array().expect("it has files");
        files
            .iter()
            .filter_map(|file| file["path"].as_str())
            .collect()
    };
    assert_eq!(layers.len(), 2);
    assert!(paths(0).contains(&"bin/busybox"));
    let mut second = paths(1);
    second.sort_unstable();
    assert_eq!(second, ["bin", "bin/.wh.vi", "made"]);
    let judged = host.sh("CI=true dive --ci two:1").ok();
    assert!(judged.contains("PASS [pass:2 skip:1]"), "{judged}");
    host.sh("dive --ci nosuch:1").fails(1);
    host.sh("docker rm makes && docker rmi two:1").ok();
}
