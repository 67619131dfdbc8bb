//! Reading the journal: a bounded piece at a time, each by itself, so that a reader that goes away leaves nothing.

use std::fs::File;
use std::io;
use std::sync::Arc;

use dhow_api::Event;

use super::{Journal, LINE, read_at, segment_path};
use crate::events::EventFilter;

/// How much of a segment is read at once. A line that is longer is read by itself.
const PIECE: usize = 128 << 10;

/// Where a reader is: a segment, by its first event, and a position in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::events) struct Place {
    segment: u64,
    position: u64,
}

/// What a reader is given.
#[derive(Clone, Debug)]
pub(in crate::events) enum Item {
    Event(Arc<Event>),
    /// This many that the reader should have had, and when the next one was.
    Lost(u64, i64),
}

/// What a reader wants.
pub(in crate::events) struct Wanted<'a> {
    /// The number of the first event that it has not had.
    pub from: u64,
    /// The number of the first that it will find elsewhere.
    pub to: u64,
    pub since: i64,
    pub filter: &'a EventFilter,
}

/// A piece of the journal.
#[derive(Debug)]
pub(in crate::events) struct Chunk {
    pub items: Vec<Item>,
    /// The number to go on from.
    pub next: u64,
    /// Where to go on; none at the end of what there is.
    pub place: Option<Place>,
}

/// A line, taken apart as far as is cheap.
struct Line<'a> {
    number: u64,
    time: i64,
    json: &'a [u8],
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Option<Line<'a>> {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let mut number = || std::str::from_utf8(parts.next()?).ok();
        let (count, time) = (number()?, number()?);
        Some(Line {
            number: count.parse().ok()?,
            time: time.parse().ok()?,
            json: parts.next()?,
        })
    }

    fn event(&self) -> Option<Event> {
        serde_json::from_slice(self.json).ok()
    }
}

impl Journal {
    /// Reads on, from a place that an earlier piece gave or else from where the first number wanted must be.
    pub fn read(&self, place: Option<Place>, wanted: &Wanted) -> io::Result<Chunk> {
        let mut chunk = Chunk {
            items: Vec::new(),
            next: wanted.from,
            place: None,
        };
        let Some(place) = self.find(place, wanted.from) else {
            return Ok(chunk);
        };
        let file = match File::open(segment_path(&self.dir, place.segment)) {
            Ok(file) => file,
            // Dropped meanwhile: the next piece begins with what is there.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                chunk.place = self.after(place.segment);
                return Ok(chunk);
            }
            Err(e) => return Err(e),
        };
        let mut text = vec![0; PIECE];
        let mut length = read_at(&file, &mut text, place.position)?;
        let mut whole = end_of_lines(&text[..length]);
        if whole == 0 && length == PIECE {
            text.resize(LINE + 64, 0);
            length = read_at(&file, &mut text, place.position)?;
            whole = end_of_lines(&text[..length]);
        }
        if whole == 0 {
            // The end of the segment. The last one may yet grow.
            chunk.place = self.after(place.segment);
            return Ok(chunk);
        }
        let mut position = place.position;
        for line in text[..whole].split_inclusive(|byte| *byte == b'\n') {
            position += line.len() as u64;
            let Some(line) = Line::parse(line) else {
                continue;
            };
            if line.number >= wanted.to {
                return Ok(chunk);
            }
            if line.number < chunk.next {
                continue;
            }
            let missing = line.number - chunk.next;
            chunk.next = line.number + 1;
            if line.time < wanted.since {
                // What is missing from before that is not missed.
                continue;
            }
            if missing > 0 {
                chunk.items.push(Item::Lost(missing, line.time));
            }
            match line.event() {
                Some(event) if wanted.filter.matches(&event) => {
                    chunk.items.push(Item::Event(Arc::new(event)));
                }
                Some(_) => {}
                None => chunk.items.push(Item::Lost(1, line.time)),
            }
        }
        chunk.place = Some(Place {
            segment: place.segment,
            position,
        });
        Ok(chunk)
    }

    fn find(&self, place: Option<Place>, from: u64) -> Option<Place> {
        let segments = self.segments();
        if let Some(place) = place
            && segments.contains(&place.segment)
        {
            return Some(place);
        }
        let after = segments.partition_point(|first| *first <= from);
        let segment = segments.get(after.saturating_sub(1))?;
        Some(Place {
            segment: *segment,
            position: 0,
        })
    }

    fn after(&self, segment: u64) -> Option<Place> {
        let segments = self.segments();
        let after = segments.partition_point(|first| *first <= segment);
        segments.get(after).map(|next| Place {
            segment: *next,
            position: 0,
        })
    }
}

fn end_of_lines(text: &[u8]) -> usize {
    text.iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1)
}

/// How much of a segment is whole, and the number of its last event. A line is whole if it ends and can be read.
pub(super) fn whole(file: &File) -> io::Result<(u64, Option<u64>)> {
    let mut end = file.metadata()?.len();
    while end > 0 {
        let length = end.min(LINE as u64 + 64);
        let mut text = vec![0; usize::try_from(length).unwrap_or(0)];
        let length = read_at(file, &mut text, end - length)?;
        let text = &text[..length];
        let whole = end_of_lines(text);
        if whole == 0 {
            // Longer than any line may be, or the only one.
            end -= length as u64;
            continue;
        }
        let begin = end_of_lines(&text[..whole - 1]);
        let last = Line::parse(&text[begin..whole - 1]);
        let at = end - (length - whole) as u64;
        match last.filter(|line| line.event().is_some()) {
            Some(line) => return Ok((at, Some(line.number))),
            None => end = at - (whole - begin) as u64,
        }
    }
    Ok((0, None))
}

/// The time of a segment's first event, where that can be read.
pub(super) fn began(file: &File) -> io::Result<Option<i64>> {
    // As much as two numbers take.
    let mut text = [0; 64];
    let length = read_at(file, &mut text, 0)?;
    Ok(Line::parse(&text[..length]).map(|line| line.time))
}
