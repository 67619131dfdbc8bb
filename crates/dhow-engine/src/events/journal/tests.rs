use super::*;
use dhow_api::Actor;

fn event(n: u64) -> (u64, Arc<Event>) {
    let event = Event {
        kind: "container".into(),
        action: format!("a{n}"),
        actor: Actor::default(),
        scope: "local".into(),
        time: 1,
        time_nano: 1_000_000_000 + i64::try_from(n).unwrap(),
    };
    (n, Arc::new(event))
}

fn write(journal: &Journal, numbers: std::ops::Range<u64>) {
    let mut batches = vec![numbers.map(event).collect::<Vec<_>>()];
    journal.write(|| batches.pop().unwrap_or_default());
}

/// Everything from a number on, as text.
fn all(journal: &Journal, from: u64, since: i64) -> Vec<String> {
    let filter = crate::events::EventFilter::default();
    let mut found = Vec::new();
    let mut place = None;
    let mut from = from;
    loop {
        let wanted = Wanted {
            from,
            to: u64::MAX,
            since,
            filter: &filter,
        };
        let chunk = journal.read(place, &wanted).unwrap();
        found.extend(chunk.items.iter().map(|item| match item {
            Item::Event(event) => event.action.clone(),
            Item::Lost(n, _) => format!("lost {n}"),
        }));
        from = chunk.next;
        place = chunk.place;
        if place.is_none() {
            return found;
        }
    }
}

#[test]
fn what_is_written_is_read_by_the_next_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, next) = Journal::open(dir.path().join("e")).unwrap();
    assert_eq!((next, journal.first()), (0, None));
    write(&journal, 0..3);
    drop(journal);
    let (journal, next) = Journal::open(dir.path().join("e")).unwrap();
    assert_eq!((next, journal.first()), (3, Some(0)));
    write(&journal, 3..5);
    assert_eq!(all(&journal, 0, 0), ["a0", "a1", "a2", "a3", "a4"]);
    assert_eq!(all(&journal, 4, 0), ["a4"]);
    assert_eq!(all(&journal, 0, 1_000_000_003), ["a3", "a4"]);
}

#[test]
fn at_whatever_byte_it_is_torn_whole_events_remain() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path().to_owned()).unwrap();
    write(&journal, 0..2);
    let path = segment_path(dir.path(), 0);
    let one = fs::metadata(&path).unwrap().len();
    write(&journal, 2..3);
    let text = fs::read(&path).unwrap();
    drop(journal);
    for cut in one..text.len() as u64 {
        for tail in [&b""[..], &[0; 100], b"\n"] {
            let mut torn = text[..usize::try_from(cut).unwrap()].to_vec();
            torn.extend(tail);
            fs::write(&path, &torn).unwrap();
            let (journal, next) = Journal::open(dir.path().to_owned()).unwrap();
            let whole = next == 3;
            assert!(whole || next == 2, "{cut}");
            write(&journal, next..next + 1);
            let mut expected = vec!["a0", "a1", "a2"];
            if whole {
                expected.push("a3");
            }
            assert_eq!(all(&journal, 0, 0), expected, "{cut}");
        }
    }
    fs::write(&path, "").unwrap();
    assert_eq!(Journal::open(dir.path().to_owned()).unwrap().1, 0);
}

#[test]
fn what_is_damaged_in_the_middle_is_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path().to_owned()).unwrap();
    write(&journal, 0..5);
    let path = segment_path(dir.path(), 0);
    let text = fs::read_to_string(&path).unwrap();
    let damaged: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(n, line)| if n == 2 { "\0".repeat(line.len()) } else { line.to_owned() } + "\n")
        .collect();
    fs::write(&path, damaged.concat()).unwrap();
    assert_eq!(all(&journal, 0, 0), ["a0", "a1", "lost 1", "a3", "a4"]);
}

#[test]
fn the_budget_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path().to_owned()).unwrap();
    let mut big = event(0).1.as_ref().clone();
    big.actor
        .attributes
        .insert("padding".into(), "x".repeat(LINE - 1000));
    let big = Arc::new(big);
    let count = (BUDGET / SEGMENT + 3) * (SEGMENT / LINE as u64 + 2);
    for n in 0..count {
        let mut batches = vec![vec![(n, big.clone())]];
        journal.write(|| batches.pop().unwrap_or_default());
    }
    let size: u64 = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size <= BUDGET + 2 * LINE as u64, "{size}");
    assert!(size >= BUDGET / 2, "{size}");
    let first = journal.first().unwrap();
    assert!(first > 0);
    let found = all(&journal, 0, 0);
    assert_eq!(found[0], format!("lost {first}"));
    assert_eq!(found.len() as u64, count - first + 1);
    // What is larger than any event should be is left out.
    let mut huge = big.as_ref().clone();
    huge.actor
        .attributes
        .insert("more".into(), "x".repeat(2000));
    let mut batches = vec![vec![(count, Arc::new(huge)), event(count + 1)]];
    journal.write(|| batches.pop().unwrap_or_default());
    let end = all(&journal, count, 0);
    assert_eq!(end, ["lost 1".to_owned(), format!("a{}", count + 1)]);
}

#[test]
fn each_day_has_a_segment_that_grows_old() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Journal::open(dir.path().to_owned()).unwrap().0;
    let on_day = |journal: &Journal, n: u64, day: i64| {
        let mut dated = event(n).1.as_ref().clone();
        dated.time_nano += day * DAY;
        let mut batches = vec![vec![(n, Arc::new(dated))]];
        journal.write(|| batches.pop().unwrap_or_default());
    };
    let journal = open();
    for n in 0..20 {
        on_day(&journal, n, i64::try_from(n).unwrap() * 2);
    }
    // More of them than are of full size within the budget.
    assert_eq!(journal.segments().len(), 20);
    drop(journal);
    // The next daemon knows when the last one began.
    let journal = open();
    on_day(&journal, 20, 38);
    assert_eq!(journal.segments().len(), 20);
    on_day(&journal, 21, 40);
    assert_eq!(journal.segments().len(), 21);
    for n in 0..3 {
        let file = File::options()
            .write(true)
            .open(segment_path(dir.path(), n))
            .unwrap();
        file.set_modified(SystemTime::now() - AGE - Duration::from_secs(60))
            .unwrap();
    }
    on_day(&journal, 22, 42);
    assert_eq!(journal.first(), Some(3));
    assert!(!segment_path(dir.path(), 2).exists());
    assert_eq!(all(&journal, 3, 0).len(), 20);
}
