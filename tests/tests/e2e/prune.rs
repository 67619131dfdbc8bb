//! Throwing away what is not used, with Docker's client and ours.

use dhow_tests::TestHost;
use dhow_tests::image::{Layer, busybox_with};

/// Something of each kind that is not used, and something that is.
fn fill(host: &TestHost) -> (String, String) {
    host.sh("docker pull -q busybox && docker pull -q other && docker pull -q third")
        .ok();
    host.sh("docker run -d --name runs -v kept:/v third sleep 1000")
        .ok();
    host.sh("docker create --name stopped -v /anonymous busybox true")
        .ok();
    let container = host.id("stopped");
    let volume = host
        .sh("docker inspect -f '{{(index .Mounts 0).Name}}' stopped")
        .ok();
    (container, volume)
}

fn layer(name: &str) -> Layer {
    let mut layer = Layer::default();
    layer.file(name, 0o644, &[b'x'; 4096]).unwrap();
    layer
}

#[test]
fn a_system_is_pruned() {
    let host = TestHost::start();
    for name in ["other", "third"] {
        let image = busybox_with(layer(name));
        host.push_image(&image, &format!("library/{name}:latest"));
    }
    for client in ["docker", "dhow"] {
        let (container, volume) = fill(&host);
        let id = |name: &str| {
            host.sh(&format!("docker image inspect -f '{{{{.Id}}}}' {name}"))
                .ok()
        };
        let (busybox, other) = (id("busybox"), id("other"));
        let digest = |name: &str| {
            host.sh(&format!(
                "docker image inspect -f '{{{{index .RepoDigests 0}}}}' {name}"
            ))
            .ok()
        };
        let (busybox_digest, other_digest) = (digest("busybox"), digest("other"));
        // Only untagged images go without -a.
        let said = host.sh(&format!("{client} image prune -f")).ok();
        assert_eq!(said, "Total reclaimed space: 0B");
        let said = host
            .sh(&format!("{client} system prune -af --volumes"))
            .ok();
        let (containers, rest) = said.split_once("\n\n").unwrap();
        let (volumes, rest) = rest.split_once("\n\n").unwrap();
        let (images, total) = rest.split_once("\n\n").unwrap();
        assert_eq!(containers, format!("Deleted Containers:\n{container}"));
        assert_eq!(volumes, format!("Deleted Volumes:\n{volume}"));
        let mut images: Vec<&str> = images.lines().collect();
        assert_eq!(images.remove(0), "Deleted Images:");
        for expected in [
            "untagged: busybox:latest".to_owned(),
            format!("untagged: {busybox_digest}"),
            format!("deleted: {busybox}"),
            "untagged: other:latest".to_owned(),
            format!("untagged: {other_digest}"),
            format!("deleted: {other}"),
        ] {
            let at = images.iter().position(|line| *line == expected);
            images.remove(at.unwrap_or_else(|| panic!("{expected}: {said}")));
        }
        // Busybox's own layer stays, for it is the third image's, too.
        assert_eq!(images.len(), 1, "{said}");
        assert!(images[0].starts_with("deleted: sha256:"), "{said}");
        assert!(total.starts_with("Total reclaimed space: "), "{said}");
        assert!(!total.ends_with(" 0B"), "{said}");
        host.sh("docker image inspect third && docker volume inspect kept")
            .ok();
        let again = host
            .sh(&format!("{client} system prune -af --volumes"))
            .ok();
        assert_eq!(again, "Total reclaimed space: 0B");
        host.sh("docker rm -f runs && docker volume rm kept").ok();
    }
}

#[test]
fn all_tags_are_pulled() {
    let host = TestHost::start();
    for tag in ["1", "2", "3"] {
        host.push_image(&busybox_with(layer(tag)), &format!("library/many:{tag}"));
    }
    for client in ["docker", "dhow"] {
        let said = host.sh(&format!("{client} pull -a many")).ok();
        for tag in ["1", "2", "3"] {
            assert!(
                said.contains(&format!("{tag}: Pulling from library/many")),
                "{said}"
            );
            let status = format!("Status: Downloaded newer image for many:{tag}");
            assert!(said.contains(&status), "{said}");
        }
        assert_eq!(said.lines().last(), Some("docker.io/library/many"));
        let tags = host
            .sh("docker images --format '{{.Tag}}' many | sort")
            .ok();
        assert_eq!(tags, "1\n2\n3");
        host.sh("docker rmi many:1 many:2 many:3").ok();
    }
    let said = host.sh("docker pull -a nosuch").fails(1);
    assert!(said.contains("nosuch not found"), "{said}");
}
