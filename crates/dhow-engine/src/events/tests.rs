use super::*;
use dhow_api::Filters;

fn actor(id: &str, attributes: &[(&str, &str)]) -> Actor {
    Actor {
        id: id.into(),
        attributes: attributes
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect(),
    }
}

fn filter(values: &[(&str, &[&str])]) -> EventFilter {
    let mut filters = Filters::default();
    for (key, values) in values {
        for value in *values {
            filters.add(*key, *value);
        }
    }
    EventFilter::new(filters).unwrap()
}

async fn all_ready(subscription: &mut EventSubscription) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(event) = subscription.ready().await {
        found.push(match event.actor.attributes.get("count") {
            Some(count) => format!("{} {count}", event.action),
            None => event.action.clone(),
        });
    }
    found
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn history_then_live() {
    let bus = EventBus::default();
    bus.publish("container", "create", actor("a", &[]));
    let mut all = bus.subscribe(Some(0), None, EventFilter::default());
    let mut live = bus.subscribe(None, None, EventFilter::default());
    let mut until = bus.subscribe(None, Some(i64::MAX), EventFilter::default());
    bus.publish("container", "start", actor("a", &[]));
    assert_eq!(all.next().await.unwrap().action, "create");
    assert_eq!(all.next().await.unwrap().action, "start");
    assert_eq!(live.next().await.unwrap().action, "start");
    assert!(live.ready().await.is_none());
    assert_eq!(until.next().await.unwrap().action, "create");
}

#[tokio::test]
async fn without_a_journal_a_slow_listener_is_told_what_it_missed() {
    let bus = EventBus::default();
    bus.set_daemon("id", "host");
    let mut slow = bus.subscribe(None, None, filter(&[("event", &["10", "11"])]));
    for n in 0..WAITING + 10 {
        bus.publish("container", n.to_string(), actor("a", &[]));
    }
    let lost = slow.next().await.unwrap();
    assert_eq!(
        (lost.kind.as_str(), lost.action.as_str()),
        ("daemon", "lost")
    );
    assert_eq!(
        lost.actor,
        actor("id", &[("count", "10"), ("name", "host")])
    );
    assert_eq!(slow.next().await.unwrap().action, "10");
}

#[tokio::test]
async fn the_disk_has_what_memory_no_longer_has() {
    let dir = tempfile::tempdir().unwrap();
    let bus = EventBus::open(dir.path().to_owned());
    let count = 3 * IN_MEMORY;
    let mut slow = bus.subscribe(None, None, EventFilter::default());
    for n in 0..count {
        bus.publish("container", n.to_string(), actor("a", &[]));
    }
    bus.flush();
    assert_eq!(bus.shared.ring().events.len(), IN_MEMORY);
    assert_eq!(bus.published(), count as u64);
    assert_eq!(all_ready(&mut slow).await, numbers(0..count));
    drop(bus);

    let bus = EventBus::open(dir.path().to_owned());
    let mut all = bus.subscribe(Some(0), None, EventFilter::default());
    let mut some = bus.subscribe(Some(0), None, filter(&[("event", &["7", "700"])]));
    let mut live = bus.subscribe(None, Some(i64::MAX), EventFilter::default());
    for n in count..count + 5 {
        bus.publish("container", n.to_string(), actor("a", &[]));
    }
    assert_eq!(all_ready(&mut all).await, numbers(0..count + 5));
    assert_eq!(all_ready(&mut some).await, ["7", "700"]);
    assert_eq!(all_ready(&mut live).await, numbers(count..count + 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_listener_misses_any_or_has_any_twice() {
    let dir = tempfile::tempdir().unwrap();
    let bus = EventBus::open(dir.path().to_owned());
    let count = 10 * IN_MEMORY;
    let publisher = tokio::spawn({
        let bus = bus.clone();
        async move {
            for n in 0..count {
                bus.publish("container", n.to_string(), actor("a", &[]));
                if n % 64 == 0 {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
            }
        }
    });
    let listeners: Vec<_> = (0..8)
        .map(|_| {
            let mut subscription = bus.subscribe(Some(0), None, EventFilter::default());
            tokio::spawn(async move {
                for n in 0..count {
                    let event = subscription.next().await.unwrap();
                    assert_eq!(event.action, n.to_string());
                }
            })
        })
        .collect();
    publisher.await.unwrap();
    for listener in listeners {
        listener.await.unwrap();
    }
}

#[tokio::test]
async fn filters_are_any_of_a_key_all_keys_and_all_labels() {
    let bus = EventBus::default();
    bus.publish(
        "container",
        "exec_start: sh",
        actor(
            "abcdef",
            &[
                ("name", "web"),
                ("image", "docker.io/library/busybox:1"),
                ("tier", "x"),
            ],
        ),
    );
    let event = bus
        .subscribe(Some(0), None, EventFilter::default())
        .ready()
        .await
        .unwrap();
    let yes: &[&[(&str, &[&str])]] = &[
        &[("event", &["exec_start"])],
        &[("event", &["exec_start: sh"])],
        &[("event", &["die", "exec_start"]), ("type", &["container"])],
        &[("container", &["web"])],
        &[("container", &["we"])],
        &[("container", &["abc"])],
        // As in Docker, a name is a name, whatever has it.
        &[("network", &["web"])],
        &[("image", &["busybox"])],
        &[("image", &["docker.io/library/busybox:1"])],
        &[("label", &["tier"])],
        &[("label", &["tier=x", "name=web"])],
        &[("scope", &["local"])],
    ];
    for values in yes {
        assert!(filter(values).matches(&event), "{values:?}");
    }
    let no: &[&[(&str, &[&str])]] = &[
        &[("event", &["exec"])],
        &[("container", &["eb"])],
        &[("type", &["contain"])],
        &[("type", &["container"]), ("label", &["tier=y"])],
        &[("label", &["tier", "other"])],
        &[("scope", &["swarm"])],
        &[("image", &["busybox:1"])],
    ];
    for values in no {
        assert!(!filter(values).matches(&event), "{values:?}");
    }
    assert!(EventFilter::new(Filters::parse(r#"{"colour":["red"]}"#).unwrap()).is_err());
}
