//! Twenty clients at once do all that clients do, while the daemon, shims and the spawner are killed at random:
//! nothing that was acknowledged is lost, nothing is half there, and nothing is left. `DHOW_TEST_SECONDS` says for
//! how long; the full measure is ten minutes.

mod client;
mod kept;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dhow_tests::image::{Image, Layer};
use dhow_tests::{Census, Engine, Random, TestHost, eventually, seconds, within};
use serde_json::json;

use crate::chaos::Victim;
use client::Client;
use kept::Kept;

const CLIENTS: u32 = 20;

/// Images that are pulled, tagged and removed by everyone.
const SMALL: u32 = 4;

#[test]
fn nothing_acknowledged_is_lost_under_a_mixed_load() {
    let mut host = TestHost::start();
    // This is what Dhow promises and a peer doesn't.
    if host.engine != Engine::Dhow {
        return;
    }
    for number in 0..SMALL {
        let mut layer = Layer::default();
        let text = format!("small {number}");
        layer.file("text", 0o644, text.as_bytes()).unwrap();
        let image = Image::new(&[layer.finish().unwrap()], json!({"Cmd": ["/text"]}));
        host.push_image(&image, &format!("library/small{number}:latest"));
    }
    let archives: Vec<Vec<u8>> = (0..CLIENTS).map(|n| archive(&host, n)).collect();
    let mut random = Random::seeded();
    let census = Census::begin(host.data_root());
    let until = Instant::now() + seconds(8);
    let clients: Vec<JoinHandle<Client>> = archives
        .into_iter()
        .enumerate()
        .map(|(number, archive)| {
            let mut client = Client::new(host.socket(), number as u32, random.split(), archive);
            std::thread::spawn(move || {
                while Instant::now() < until {
                    client.life();
                }
                client
            })
        })
        .collect();
    let mut killed: BTreeMap<&str, u32> = BTreeMap::new();
    let victims = [
        Victim::Daemon,
        Victim::Daemon,
        Victim::Shim,
        Victim::Shim,
        Victim::Shim,
        Victim::Spawner,
    ];
    while !clients.iter().all(JoinHandle::is_finished) {
        std::thread::sleep(Duration::from_millis(50 + random.below(1000)));
        let victim = random.pick(&victims).expect("there are some");
        if let Some(what) = victim.kill(&mut host, &mut random) {
            *killed.entry(what).or_default() += 1;
        }
    }
    println!("killed: {killed:?}");
    let mut kept = Vec::new();
    let mut lives: BTreeMap<&str, u32> = BTreeMap::new();
    let mut troubles: BTreeMap<String, u32> = BTreeMap::new();
    for client in clients {
        let mut client = client
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        for one in &client.kept {
            one.check(&client.asks);
        }
        for (name, count) in client.lives {
            *lives.entry(name).or_default() += count;
        }
        for (trouble, count) in client.asks.troubles.take() {
            *troubles.entry(trouble).or_default() += count;
        }
        kept.extend(client.kept.drain(..));
    }
    println!("lives: {lives:?}\ntroubles: {troubles:#?}");
    census.assert_never_two();
    nothing_else_is_there(&host, &kept);
    remove_all(&host);
}

/// What a list's object of this kind is called, if it is of the kind.
type NameOf = fn(&Kept) -> Option<String>;

/// An archive of one of the images, by a name of the client's own.
fn archive(host: &TestHost, number: u32) -> Vec<u8> {
    let name = client::archived(number);
    host.sh(&format!(
        "docker pull -q small0 && docker tag small0 {name} && docker save -o saved {name} && docker rmi {name}"
    ))
    .ok();
    std::fs::read(host.path("saved")).unwrap()
}

fn nothing_else_is_there(host: &TestHost, kept: &[Kept]) {
    let lists: [(&str, NameOf); 3] = [
        ("docker ps -a --format '{{.Names}}'", Kept::container),
        ("docker volume ls -q", Kept::volume),
        (
            "docker images --format '{{.Repository}}:{{.Tag}}' | grep ^c",
            Kept::image,
        ),
    ];
    for (list, name) in lists {
        let wanted: BTreeSet<String> = kept.iter().filter_map(name).collect();
        let mut there = BTreeSet::new();
        // What goes by itself goes after an answer.
        within(Duration::from_secs(30), || {
            let listed = host.sh(list).stdout;
            there = listed.lines().map(str::to_owned).collect();
            (there == wanted).then_some(())
        });
        let lost: Vec<_> = wanted.difference(&there).collect();
        let left: Vec<_> = there.difference(&wanted).collect();
        assert!(
            lost.is_empty() && left.is_empty(),
            "{list}: lost: {lost:?}, left: {left:?}"
        );
    }
}

/// Removes what is there, by the ways that users have, after which the data-root is as empty as at first.
fn remove_all(host: &TestHost) {
    host.sh("docker ps -aq | xargs -r docker rm -f -v >/dev/null; docker volume ls -q | xargs -r docker volume rm >/dev/null; docker images -q | sort -u | xargs -r docker rmi -f >/dev/null; docker image prune -af")
        .ok();
    let data = host.data_root();
    for place in [
        "containers",
        "volumes",
        "layers",
        "ingest",
        "blobs/sha256",
        "blobs/sha512",
        "trash",
    ] {
        let entries = |dir: &Path| -> Vec<_> {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect()
        };
        let left = || entries(&data.join(place));
        eventually(&format!("nothing is left in {place}: {:?}", left()), || {
            left().is_empty().then_some(())
        });
    }
}
