//! Images: pull, push, tag, import, remove.

use dhow_tests::image::{self, Image, Layer};
use dhow_tests::{Engine, TestHost};
use serde_json::json;

#[test]
fn pull_says_what_it_did() {
    let host = TestHost::empty();
    let first = host.sh("docker pull busybox").ok();
    assert!(
        first.starts_with("Using default tag: latest\nlatest: Pulling from library/busybox\n"),
        "{first}"
    );
    let manifest = &image::busybox().manifest;
    assert!(first.ends_with(&format!(
        "Digest: {manifest}\nStatus: Downloaded newer image for busybox:latest\ndocker.io/library/busybox:latest"
    )), "{first}");
    let second = host.sh("docker pull busybox").ok();
    assert!(
        second.contains("Status: Image is up to date for busybox:latest"),
        "{second}"
    );
    // By digest, and from the registry by its own name.
    host.sh(&format!("docker pull busybox@{manifest}")).ok();
    host.sh("docker pull 127.0.0.1:5000/library/busybox").ok();
    let images = host
        .sh("docker images --format '{{.Repository}}:{{.Tag}}'")
        .ok();
    assert!(
        images.contains("127.0.0.1:5000/library/busybox:latest")
            && images.contains("busybox:latest"),
        "{images}"
    );
}

#[test]
fn an_image_can_be_looked_at() {
    let host = TestHost::start();
    let image = host.sh("docker image inspect busybox").json()[0].take();
    assert_eq!(image["RepoTags"], json!(["busybox:latest"]));
    assert_eq!(
        image["RepoDigests"],
        json!([format!("busybox@{}", image::busybox().manifest)])
    );
    assert_eq!(image["Config"]["Cmd"], json!(["sh"]));
    assert_eq!(image["Os"], "linux");
    assert_eq!(image["Architecture"], image::architecture());
    assert_eq!(image["RootFS"]["Layers"].as_array().map(Vec::len), Some(1));
    if host.engine == Engine::Dhow {
        assert_eq!(image["Id"], image::busybox().id());
    }
    let history = host.sh("docker history --no-trunc busybox").ok();
    assert!(history.contains("made for a test"), "{history}");
    assert!(
        host.sh("docker images")
            .ok()
            .starts_with("REPOSITORY   TAG       IMAGE ID")
    );
}

#[test]
fn push_gives_back_what_was_pulled() {
    let host = TestHost::start();
    host.sh("docker tag busybox 127.0.0.1:5000/fleet/busybox:2")
        .ok();
    let pushed = host.sh("docker push 127.0.0.1:5000/fleet/busybox:2").ok();
    assert!(
        pushed.starts_with("The push refers to repository [127.0.0.1:5000/fleet/busybox]"),
        "{pushed}"
    );
    assert!(
        pushed.contains(&format!("2: digest: {} size: ", image::busybox().manifest)),
        "{pushed}"
    );
    let tags = host
        .registry_api("GET", "/v2/fleet/busybox/tags/list", "", None)
        .json();
    assert_eq!(tags, json!({"name": "fleet/busybox", "tags": ["2"]}));
    // Once more: it is there already.
    let again = host.sh("docker push 127.0.0.1:5000/fleet/busybox:2").ok();
    assert!(again.contains("Layer already exists"), "{again}");
    host.sh("docker rmi busybox 127.0.0.1:5000/fleet/busybox:2")
        .ok();
    assert_eq!(
        host.sh("docker run --rm 127.0.0.1:5000/fleet/busybox:2 echo hi")
            .ok(),
        "hi"
    );
    let message = host.sh("docker push 127.0.0.1:5000/nosuch/image").fails(1);
    assert!(
        message.contains("does not exist locally with the tag")
            || message.contains("tag does not exist"),
        "{message}"
    );
}

#[test]
fn import_makes_an_image_of_an_archive() {
    let host = TestHost::empty();
    let mut layer = Layer::default();
    layer.directory("bin", 0o755).unwrap();
    layer
        .file(
            "bin/busybox",
            0o755,
            &std::fs::read("/bin/busybox").unwrap(),
        )
        .unwrap();
    std::fs::write(host.path("root.tar"), layer.finish().unwrap()).unwrap();
    let id = host.sh("docker import -c 'CMD [\"/bin/busybox\", \"echo\", \"imported\"]' -m 'by hand' root.tar made:1").ok();
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(host.sh("docker run --rm made:1").ok(), "imported");
    assert_eq!(
        host.sh("cat root.tar | docker import - | head -c 7").ok(),
        "sha256:"
    );
    let message = host
        .sh("echo this is no archive | docker import - broken")
        .fails(1);
    assert!(!message.is_empty());
    if host.engine == Engine::Dhow {
        assert!(
            !host
                .sh("docker images -a --format '{{.Repository}}'")
                .ok()
                .contains("broken")
        );
    }
}

#[test]
fn removing_images_follows_dockers_rules() {
    let host = TestHost::start();
    host.sh("docker tag busybox second:tag").ok();
    assert_eq!(
        host.sh("docker rmi second:tag").ok(),
        "Untagged: second:tag"
    );
    // By id while it has several names.
    host.sh("docker tag busybox second:tag").ok();
    let id = host.sh("docker images -q busybox").ok();
    let message = host.sh(&format!("docker rmi {id}")).fails(1);
    assert!(
        message.contains("image is referenced in multiple repositories"),
        "{message}"
    );
    host.sh("docker rmi second:tag").ok();
    // While a container uses it.
    host.sh("docker create --name user busybox").ok();
    let message = host.sh("docker rmi busybox").fails(1);
    assert!(
        message.contains("container") && message.contains("is using its referenced image"),
        "{message}"
    );
    host.sh("docker rm user").ok();
    let removed = host.sh("docker rmi busybox").ok();
    assert!(
        removed.contains("Untagged: busybox:latest") && removed.contains("Deleted: sha256:"),
        "{removed}"
    );
    assert_eq!(host.sh("docker images -q").ok(), "");
    let message = host.sh("docker rmi busybox").fails(1);
    assert!(
        message.contains("No such image: busybox:latest"),
        "{message}"
    );
}

#[test]
fn layers_hide_and_replace_what_is_below() {
    let host = TestHost::start();
    let base = host.sh("true").code;
    assert_eq!(base, 0);
    let mut first = Layer::default();
    first.directory("d", 0o755).unwrap();
    first.file("d/removed", 0o644, b"x").unwrap();
    first.file("d/replaced", 0o644, b"old").unwrap();
    first.directory("opaque", 0o755).unwrap();
    first.file("opaque/hidden", 0o644, b"x").unwrap();
    first.directory("bin", 0o755).unwrap();
    first
        .file(
            "bin/busybox",
            0o755,
            &std::fs::read("/bin/busybox").unwrap(),
        )
        .unwrap();
    let mut second = Layer::default();
    second.file("d/.wh.removed", 0o644, b"").unwrap();
    second.file("d/replaced", 0o600, b"new").unwrap();
    second.directory("opaque", 0o755).unwrap();
    second.file("opaque/.wh..wh..opq", 0o644, b"").unwrap();
    second.file("opaque/shown", 0o644, b"x").unwrap();
    second.symlink("link", "d/replaced").unwrap();
    let image = Image::new(
        &[first.finish().unwrap(), second.finish().unwrap()],
        json!({"Entrypoint": ["/bin/busybox"]}),
    );
    host.push_image(&image, "library/layered:latest");
    assert_eq!(
        host.sh("docker run --rm layered ls /d /opaque").ok(),
        "/d:\nreplaced\n\n/opaque:\nshown"
    );
    assert_eq!(host.sh("docker run --rm layered cat /link").ok(), "new");
    assert_eq!(
        host.sh("docker run --rm layered stat -c %a /d/replaced")
            .ok(),
        "600"
    );
}

#[test]
fn many_layers() {
    let host = TestHost::empty();
    let mut layers = Vec::new();
    let mut base = Layer::default();
    base.directory("bin", 0o755).unwrap();
    base.file(
        "bin/busybox",
        0o755,
        &std::fs::read("/bin/busybox").unwrap(),
    )
    .unwrap();
    layers.push(base.finish().unwrap());
    for i in 1..60 {
        let mut layer = Layer::default();
        layer.file(&format!("file{i}"), 0o644, b"x").unwrap();
        layers.push(layer.finish().unwrap());
    }
    let image = Image::new(&layers, json!({"Entrypoint": ["/bin/busybox"]}));
    host.push_image(&image, "library/deep:latest");
    let listed = host.sh("docker run --rm deep ls /").ok();
    assert_eq!(
        listed
            .lines()
            .filter(|line| line.starts_with("file"))
            .count(),
        59
    );
}

#[test]
fn the_platform_is_chosen_from_an_index() {
    let host = TestHost::empty();
    host.sh("curl -s -o m.json -H 'Accept: application/vnd.oci.image.manifest.v1+json' http://127.0.0.1:5000/v2/library/busybox/manifests/latest").ok();
    let size = std::fs::metadata(host.path("m.json")).unwrap().len();
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": image::busybox().manifest, "size": size,
             "platform": {"os": "linux", "architecture": image::architecture()}},
        ],
    });
    let put = host.registry_api(
        "PUT",
        "/v2/library/indexed/manifests/latest",
        "application/vnd.oci.image.index.v1+json",
        Some(&index.to_string()),
    );
    // The manifest that it names isn't in that repository yet.
    assert!(matches!(put.status, 400 | 404), "{put:#?}");
    host.push_image(image::busybox(), "library/indexed:one");
    let put = host.registry_api(
        "PUT",
        "/v2/library/indexed/manifests/latest",
        "application/vnd.oci.image.index.v1+json",
        Some(&index.to_string()),
    );
    assert_eq!(put.status, 201, "{put:#?}");
    assert_eq!(host.sh("docker run --rm indexed echo hi").ok(), "hi");
    let message = host
        .sh("docker pull --platform linux/s390x indexed")
        .fails(1);
    assert!(
        message.contains("no matching manifest for linux/s390x"),
        "{message}"
    );
}

#[test]
fn zstd_layers() {
    let host = TestHost::start();
    let mut layer = Layer::default();
    layer.directory("bin", 0o755).unwrap();
    layer
        .file("bin/echo", 0o755, &std::fs::read("/bin/busybox").unwrap())
        .unwrap();
    let layer = layer.finish().unwrap();
    let pressed = zstd::encode_all(&layer[..], 3).unwrap();
    let image = Image::assemble(
        &[layer],
        vec![pressed],
        "application/vnd.oci.image.layer.v1.tar+zstd",
        json!({}),
    );
    host.push_image(&image, "library/pressed:latest");
    assert_eq!(host.sh("docker run --rm pressed /bin/echo hi").ok(), "hi");
}
