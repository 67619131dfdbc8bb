//! Images as archives: save, load, and import of every compression.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use dhow_tests::image::{self, Image, Layer, digest, gzip};
use dhow_tests::{TestHost, eventually};
use serde_json::{Value, json};

/// The files of an archive by their paths, and the paths in their order.
pub fn contents(path: &Path) -> (BTreeMap<String, Vec<u8>>, Vec<String>) {
    let mut archive = tar::Archive::new(fs::File::open(path).unwrap());
    let (mut files, mut order) = (BTreeMap::new(), Vec::new());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        order.push(name.clone());
        files.insert(name, bytes);
    }
    (files, order)
}

pub fn json_of(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Value {
    serde_json::from_slice(&files[name]).unwrap()
}

/// A layer with a program that can be run, and one with a text.
pub fn two_layers(text: &str) -> Vec<Vec<u8>> {
    let mut program = Layer::default();
    program.directory("bin", 0o755).unwrap();
    let busybox = fs::read("/bin/busybox").unwrap();
    program.file("bin/busybox", 0o755, &busybox).unwrap();
    let mut note = Layer::default();
    note.file("note", 0o644, text.as_bytes()).unwrap();
    vec![program.finish().unwrap(), note.finish().unwrap()]
}

pub fn config() -> Value {
    json!({"Cmd": ["/bin/busybox", "cat", "/note"]})
}

/// What a load that failed, or a daemon that was killed in its midst, must leave: nothing.
#[track_caller]
pub fn nothing_is_left(host: &TestHost) {
    assert_eq!(host.sh("docker images -aq").ok(), "");
    for directory in ["ingest", "blobs/sha256", "layers"] {
        eventually("what was received is removed", || {
            let left = fs::read_dir(host.data_root().join(directory)).unwrap();
            (left.count() == 0).then_some(())
        });
    }
}

#[test]
fn an_image_comes_back_as_it_was() {
    let host = TestHost::start();
    let busybox = image::busybox();
    let id = host.sh("docker image inspect -f '{{.Id}}' busybox").ok();
    host.sh("docker tag busybox fleet/box:1 && docker tag busybox fleet/box:2")
        .ok();
    let since = host.sh("date +%s.%N").ok();
    host.sh("docker save -o named.tar busybox && dhow image save busybox > again.tar && cmp named.tar again.tar")
        .ok();
    let (files, order) = contents(&host.path("named.tar"));
    let mut sorted = order.clone();
    sorted.sort();
    assert_eq!(order, sorted);
    // What was pulled goes out byte for byte.
    for (digest, bytes) in &busybox.blobs {
        let path = format!("blobs/{}", digest.replace(':', "/"));
        assert!(files[&path] == *bytes, "{path}");
    }
    let layout = json!({"imageLayoutVersion": "1.0.0"});
    assert_eq!(json_of(&files, "oci-layout"), layout);
    let index = json_of(&files, "index.json");
    assert_eq!(
        index["manifests"],
        json!([{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": busybox.manifest,
            "size": busybox.blobs[&busybox.manifest].len(),
            "annotations": {
                "io.containerd.image.name": "docker.io/library/busybox:latest",
                "org.opencontainers.image.ref.name": "latest",
            },
        }])
    );
    let list = json_of(&files, "manifest.json");
    assert_eq!(list[0]["RepoTags"], json!(["busybox:latest"]));
    assert_eq!(
        list[0]["Config"],
        json!(format!("blobs/{}", id.replace(':', "/")))
    );
    // A repository with all its tags, and an image by its id without any; what they share is there once.
    host.sh("docker save -o repository.tar fleet/box").ok();
    let (files, order) = contents(&host.path("repository.tar"));
    assert_eq!(files.len(), order.len());
    let list = json_of(&files, "manifest.json");
    assert_eq!(list[0]["RepoTags"], json!(["fleet/box:1", "fleet/box:2"]));
    let index = json_of(&files, "index.json");
    assert_eq!(index["manifests"].as_array().map(Vec::len), Some(2));
    host.sh(&format!("docker save -o id.tar {}", &id[7..19]))
        .ok();
    let (files, _) = contents(&host.path("id.tar"));
    assert_eq!(json_of(&files, "manifest.json")[0]["RepoTags"], Value::Null);

    host.sh("docker rmi busybox fleet/box:1 fleet/box:2").ok();
    nothing_is_left(&host);
    let loaded = host.sh("docker load -i id.tar").ok();
    assert_eq!(loaded, format!("Loaded image ID: {id}"));
    let loaded = host.sh("docker load < repository.tar").ok();
    assert_eq!(
        loaded,
        "Loaded image: fleet/box:1\nLoaded image: fleet/box:2"
    );
    assert_eq!(
        host.sh("dhow load --quiet --input named.tar").ok(),
        "Loaded image: busybox:latest"
    );
    let found = host.sh("docker image inspect busybox").json();
    assert_eq!(found[0]["Id"], id);
    assert_eq!(found[0]["RepoTags"].as_array().map(Vec::len), Some(3));
    assert_eq!(host.sh("docker run --rm busybox echo hi").ok(), "hi");
    host.sh("docker save -o after.tar busybox && cmp named.tar after.tar")
        .ok();
    // Air-gapped machines know an image by the digest that it has in its registry.
    host.sh(&format!(
        "docker run --rm busybox@{} true",
        busybox.manifest
    ))
    .ok();
    let events = host
        .sh(&format!(
            "docker events --since {since} --until $(date +%s.%N) --filter type=image --format '{{{{.Action}}}} {{{{.Actor.ID}}}}' | grep -v untag"
        ))
        .ok();
    let expected = ["save"; 4]
        .iter()
        .chain(["delete"].iter())
        .chain(["load"; 3].iter())
        .chain(["save"].iter())
        .map(|action| format!("{action} {id}"));
    assert_eq!(
        events.lines().collect::<Vec<_>>(),
        expected.collect::<Vec<_>>()
    );
    let gone = host.sh("docker save nosuch").fails(1);
    assert!(gone.contains("No such image: nosuch:latest"), "{gone}");
}

#[test]
fn archives_of_every_compression() {
    let host = TestHost::start();
    host.sh("docker save -o a.tar busybox && docker rmi busybox")
        .ok();
    host.sh("gzip -k a.tar && cat a.tar | bzip2 > a.tar.bz2 && xz -k -0 -T1 a.tar")
        .ok();
    // Several members, and something after the last one.
    host.sh("split -n 2 a.tar part. && (gzip < part.aa; gzip < part.ab; echo garbage) > a.parts")
        .ok();
    let plain = fs::read(host.path("a.tar")).unwrap();
    fs::write(host.path("a.zst"), zstd::encode_all(&plain[..], 1).unwrap()).unwrap();
    for name in [
        "a.tar",
        "a.tar.gz",
        "a.tar.bz2",
        "a.tar.xz",
        "a.zst",
        "a.parts",
    ] {
        let loaded = host.sh(&format!("docker load -q -i {name}")).ok();
        assert_eq!(loaded, "Loaded image: busybox:latest", "{name}");
        host.sh("docker rmi busybox").ok();
    }
    // Imported, a layer is kept in a form that every registry and engine takes.
    let layer = two_layers("imported").remove(1);
    fs::write(host.path("layer.tar"), &layer).unwrap();
    host.sh("xz -k layer.tar && bzip2 -k layer.tar").ok();
    for name in ["layer.tar.xz", "layer.tar.bz2"] {
        host.sh(&format!("docker import {name} imported:1")).ok();
        let found = host.sh("docker image inspect imported:1").json();
        assert_eq!(found[0]["RootFS"]["Layers"], json!([digest(&layer)]));
        host.sh("docker save -o i.tar imported:1").ok();
        let (files, _) = contents(&host.path("i.tar"));
        let path = format!("blobs/{}", digest(&layer).replace(':', "/"));
        assert!(files[&path] == layer);
        host.sh("docker tag imported:1 127.0.0.1:5000/i:1 && docker push -q 127.0.0.1:5000/i:1 && docker rmi 127.0.0.1:5000/i:1 imported:1")
            .ok();
    }
}

#[test]
fn dockers_older_layout() {
    let host = TestHost::empty();
    let mut layers = two_layers("an older one");
    // The same layer twice: older engines wrote a link instead.
    layers.push(layers[1].clone());
    let image = Image::new(&layers, config());
    let id = image.id();
    let config = &image.blobs[&id];
    let name = format!("{}.json", &id[7..]);
    let list = json!([{
        "Config": name,
        "RepoTags": ["older:1", "127.0.0.1:5000/older:2"],
        "Layers": ["one/layer.tar", "two/layer.tar", "three/layer.tar"],
    }])
    .to_string();
    let packed = bzip2(&host, &layers[1]);
    for (round, (first, second)) in [
        (layers[0].clone(), layers[1].clone()),
        (
            gzip(&layers[0]),
            zstd::encode_all(&layers[1][..], 1).unwrap(),
        ),
        (layers[0].clone(), packed),
    ]
    .into_iter()
    .enumerate()
    {
        let mut archive = Layer::default();
        let mut file = |name: &str, content: &[u8]| archive.file(name, 0o644, content).unwrap();
        // The list comes first or last.
        if round == 0 {
            file("manifest.json", list.as_bytes());
        }
        file("one/VERSION", b"1.0");
        file("two/layer.tar", &second);
        file(&name, config);
        file("one/layer.tar", &first);
        if round > 0 {
            file("manifest.json", list.as_bytes());
        }
        archive
            .symlink("three/layer.tar", "../two/layer.tar")
            .unwrap();
        fs::write(host.path("older.tar"), archive.finish().unwrap()).unwrap();
        let loaded = host.sh("docker load -i older.tar").ok();
        assert_eq!(
            loaded,
            "Loaded image: older:1\nLoaded image: 127.0.0.1:5000/older:2"
        );
        assert_eq!(host.sh("docker run --rm older:1").ok(), "an older one");
        // All that there is of it can go on from here.
        host.sh("docker save -o again.tar older:1 && docker push -q 127.0.0.1:5000/older:2")
            .ok();
        host.sh("docker rmi -f older:1 127.0.0.1:5000/older:2").ok();
        host.sh("docker load -qi again.tar").ok();
        assert_eq!(
            host.sh("docker image inspect -f '{{.Id}}' older:1").ok(),
            id
        );
        host.sh("docker rmi older:1").ok();
        nothing_is_left(&host);
    }
}

fn bzip2(host: &TestHost, bytes: &[u8]) -> Vec<u8> {
    fs::write(host.path("packed"), bytes).unwrap();
    host.sh("bzip2 -f packed").ok();
    fs::read(host.path("packed.bz2")).unwrap()
}

#[test]
fn skopeo_reads_ours_and_we_read_skopeos() {
    let host = TestHost::start();
    let skopeo = "skopeo --insecure-policy copy -q --dest-tls-verify=false";
    let id = image::busybox().id();
    host.sh("docker save -o ours.tar busybox").ok();
    for kind in ["docker-archive", "oci-archive"] {
        host.sh(&format!(
            "{skopeo} {kind}:ours.tar docker://127.0.0.1:5000/from/{kind}:1"
        ))
        .ok();
        let pulled = format!("127.0.0.1:5000/from/{kind}:1");
        host.sh(&format!("docker pull -q {pulled}")).ok();
        assert_eq!(
            host.sh(&format!("docker image inspect -f '{{{{.Id}}}}' {pulled}"))
                .ok(),
            id,
        );
    }
    host.sh("docker rmi -f $(docker images -q)").ok();
    nothing_is_left(&host);
    let source = "--src-tls-verify=false docker://127.0.0.1:5000/library/busybox:latest";
    host.sh(&format!("{skopeo} {source} docker-archive:d.tar:boxed:1"))
        .ok();
    let loaded = host.sh("docker load -i d.tar").ok();
    assert_eq!(loaded, "Loaded image: boxed:1");
    // A tag alone names no repository; a whole name does.
    host.sh(&format!("{skopeo} {source} oci-archive:o.tar:latest"))
        .ok();
    let loaded = host.sh("docker load -i o.tar").ok();
    assert_eq!(loaded, format!("Loaded image ID: {id}"));
    host.sh(&format!("{skopeo} {source} oci-archive:n.tar:named:2"))
        .ok();
    let loaded = host.sh("docker load -i n.tar").ok();
    assert_eq!(loaded, "Loaded image: named:2");
    // Its layer was here before, and compressed otherwise than its manifest says.
    host.sh("docker tag named:2 127.0.0.1:5000/n:2 && docker push -q 127.0.0.1:5000/n:2")
        .ok();
    assert_eq!(host.sh("docker run --rm named:2 echo hi").ok(), "hi");
}

#[test]
fn a_name_that_moves_leaves_its_image() {
    let host = TestHost::empty();
    for (name, text) in [("first", "one"), ("second", "two")] {
        let image = Image::new(&two_layers(text), config());
        image.write_layout(&host.path(name), "moves:1").unwrap();
        host.sh(&format!("tar -C {name} -cf {name}.tar .")).ok();
    }
    host.sh("docker load -i first.tar").ok();
    let old = host.sh("docker image inspect -f '{{.Id}}' moves:1").ok();
    host.sh("docker run --name uses moves:1").ok();
    let loaded = host.sh("docker load -i second.tar").ok();
    assert_eq!(
        loaded,
        format!(
            "The image moves:1 already exists, renaming the old one with ID {old} to empty string\nLoaded image: moves:1"
        )
    );
    assert_eq!(host.sh("docker run --rm moves:1").ok(), "two");
    let found = host.sh(&format!("docker image inspect {old}")).json();
    assert_eq!(found[0]["RepoTags"], json!([]));
    let dangling = host.sh("docker images -q --no-trunc -f dangling=true").ok();
    assert_eq!(dangling, old);
    // Once more, it is as it was.
    assert_eq!(
        host.sh("docker load -i second.tar").ok(),
        "Loaded image: moves:1"
    );
    // Progress is told where it is asked for, of what is new.
    host.sh("docker rm uses && docker rmi moves:1").ok();
    let answer = host
        .sh(&format!(
            "curl -s --unix-socket {} -H Expect: --data-binary @second.tar 'http://d/images/load?quiet=0'",
            host.socket().display()
        ))
        .ok();
    let first: Value = serde_json::from_str(answer.lines().next().unwrap()).unwrap();
    assert_eq!(first["status"], "Loading layer", "{answer}");
    assert!(
        first["progressDetail"]["total"].as_i64() > Some(0),
        "{answer}"
    );
}

#[test]
fn the_client_asks_for_a_file_or_a_pipe() {
    let host = TestHost::start();
    let terminal = host.terminal("sh");
    terminal.enter("dhow save busybox; dhow load; echo done");
    let screen = terminal.shows_line("done");
    assert!(
        screen.contains("cowardly refusing to save to a terminal. Use the -o flag or redirect"),
        "{screen}"
    );
    assert!(
        screen.contains("requested load from stdin, but stdin is empty"),
        "{screen}"
    );
    terminal.enter("clear; dhow save -o a.tar busybox && dhow rmi busybox && dhow load -i a.tar");
    let screen = terminal.shows_text("Loaded image: busybox:latest");
    assert!(screen.contains("Loading layer"), "{screen}");
    for (command, sentence) in [
        (
            "dhow load -i nosuch",
            "open nosuch: no such file or directory",
        ),
        ("dhow save -o no/such/file busybox", "does not exist"),
        ("dhow save -o home busybox", "cannot write to a directory"),
        ("dhow save --platform a/b/c/d busybox", "invalid platform"),
        ("dhow save", "requires at least 1 argument"),
        ("dhow load x", "accepts no arguments"),
    ] {
        let said = host.sh(command).fails(1);
        assert!(said.contains(sentence), "{command}: {said}");
    }
    // An archive that was there stays if the new one does not come to its end.
    let before = fs::read(host.path("a.tar")).unwrap();
    host.sh("dhow save -o a.tar nosuch").fails(1);
    assert!(fs::read(host.path("a.tar")).unwrap() == before);
    assert_eq!(host.sh("ls -A | grep save- || true").ok(), "");
}
