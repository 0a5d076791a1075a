//! What was written is what is read, whoever is faster.

use proptest::prelude::*;

use super::*;
use crate::state::directory;

struct Bed(tempfile::TempDir);

impl Bed {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> OwnedFd {
        directory::open(rustix::fs::CWD, self.0.path()).unwrap()
    }

    fn writer(&self, bound: u64) -> Writer {
        Writer::open(self.open().as_fd(), bound).unwrap()
    }

    fn reader(&self) -> Reader {
        Reader::new(self.open()).unwrap()
    }
}

fn all(reader: &mut Reader) -> Vec<(Stream, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        found.push((entry.stream, entry.bytes.to_vec()));
    }
    found
}

#[test]
fn both_streams_are_read_in_their_order_with_their_times() {
    let bed = Bed::new();
    assert!(!bed.reader().is_there());
    let mut writer = bed.writer(1 << 20);
    let before = Timestamp::now();
    writer.append(Stream::Output, b"one\n");
    writer.append(Stream::Errors, b"two");
    writer.append(Stream::Output, &vec![b'x'; MOST + 1]);
    let mut reader = bed.reader();
    let first = reader.next_entry().unwrap().unwrap();
    assert_eq!((first.stream, first.bytes), (Stream::Output, &b"one\n"[..]));
    assert!(before <= first.time && first.time <= Timestamp::now());
    let rest = all(&mut reader);
    assert_eq!(rest[0], (Stream::Errors, b"two".to_vec()));
    assert_eq!((rest[1].1.len(), rest[2].1.len()), (MOST, 1));
    writer.append(Stream::Output, b"later");
    assert_eq!(all(&mut reader), [(Stream::Output, b"later".to_vec())]);
}

#[test]
fn a_full_file_makes_room_and_at_least_the_bound_stays() {
    let bed = Bed::new();
    let bound = 128 << 10;
    let mut writer = bed.writer(bound);
    let mut slow = bed.reader();
    for n in 0..10_000_u32 {
        writer.append(Stream::Output, format!("{n:099}\n").as_bytes());
    }
    let sizes: u64 = [CURRENT, BEFORE]
        .iter()
        .map(|name| std::fs::metadata(bed.0.path().join(name)).unwrap().len())
        .sum();
    assert!(sizes <= 2 * bound + 100, "{sizes}");
    let mut reader = bed.reader();
    let kept = all(&mut reader);
    assert!(kept.len() as u64 * 116 >= bound, "{}", kept.len());
    assert_eq!(kept.last().unwrap().1, format!("{:099}\n", 9999).into_bytes());
    for (n, (_, line)) in (10_000 - kept.len()..).zip(&kept) {
        assert_eq!(*line, format!("{n:099}\n").into_bytes());
    }
    assert!(!reader.take_missed());
    // One that fell behind says so and goes on with what is there.
    assert!(all(&mut slow).len() >= kept.len());
    assert!(slow.take_missed());
}

#[test]
fn a_reader_that_keeps_up_misses_nothing_over_many_files() {
    let bed = Bed::new();
    let mut writer = bed.writer(64 << 10);
    let mut reader = bed.reader();
    let mut next = 0_u32;
    for n in 0..5000_u32 {
        writer.append(Stream::Output, format!("{n:0200}").as_bytes());
        if n % 300 == 0 {
            for (_, line) in all(&mut reader) {
                assert_eq!(line, format!("{next:0200}").into_bytes());
                next += 1;
            }
        }
    }
    assert!(!reader.take_missed());
    assert_eq!(all(&mut reader).len(), 5000 - next as usize);
}

#[test]
fn a_log_is_gone_on_with_behind_its_last_whole_entry() {
    let bed = Bed::new();
    bed.writer(1 << 20).append(Stream::Output, b"whole");
    let path = bed.0.path().join(CURRENT);
    let mut torn = std::fs::read(&path).unwrap();
    torn.extend([200, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3]);
    std::fs::write(&path, torn).unwrap();
    assert_eq!(all(&mut bed.reader()).len(), 1);
    bed.writer(1 << 20).append(Stream::Errors, b"next");
    let found = all(&mut bed.reader());
    assert_eq!(found, [(Stream::Output, b"whole".to_vec()), (Stream::Errors, b"next".to_vec())]);
}

#[test]
fn what_is_damaged_is_told() {
    let bed = Bed::new();
    let mut writer = bed.writer(1 << 20);
    writer.append(Stream::Output, b"one");
    writer.append(Stream::Output, b"two");
    let path = bed.0.path().join(CURRENT);
    let whole = std::fs::read(&path).unwrap();
    let damaged = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        bytes
    };
    std::fs::write(&path, damaged(FILE_HEAD + ENTRY_HEAD + 3 + 4)).unwrap();
    let mut reader = bed.reader();
    assert_eq!(all(&mut reader), [(Stream::Output, b"one".to_vec())]);
    assert!(reader.take_missed(), "an entry's head");
    assert!(all(&mut reader).is_empty() && !reader.take_missed(), "once");
    for bytes in [damaged(0), whole[..7].to_vec(), Vec::new()] {
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(Reader::new(bed.open()).unwrap_err(), rustix::io::Errno::BADMSG);
    }
    // What is before it does not hide what is there now.
    std::fs::rename(&path, bed.0.path().join(BEFORE)).unwrap();
    bed.writer(1 << 20).append(Stream::Errors, b"next");
    assert_eq!(all(&mut bed.reader()), [(Stream::Errors, b"next".to_vec())]);
}

#[test]
fn a_place_is_found_again_until_it_is_dropped() {
    let bed = Bed::new();
    let mut writer = bed.writer(64 << 10);
    writer.append(Stream::Output, b"before");
    let here = writer.end();
    writer.append(Stream::Output, b"after");
    let mut reader = bed.reader();
    reader.seek(here).unwrap();
    assert_eq!(all(&mut reader), [(Stream::Output, b"after".to_vec())]);
    for _ in 0..100 {
        writer.append(Stream::Output, &[b'x'; 4000]);
    }
    reader.seek(here).unwrap();
    assert!(reader.take_missed() && reader.next_entry().unwrap().is_some());
}

proptest! {
    #[test]
    fn garbage_in_a_file_is_an_end_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let bed = Bed::new();
        let content = [&file_head(1)[..], &bytes].concat();
        std::fs::write(bed.0.path().join(CURRENT), content).unwrap();
        all(&mut bed.reader());
        bed.writer(1 << 20).append(Stream::Output, b"end");
        prop_assert_eq!(all(&mut bed.reader()).pop().unwrap().1, b"end".to_vec());
    }
}

#[test]
fn a_reader_that_is_bound_reads_what_was_there_though_it_is_dropped_meanwhile() {
    let bed = Bed::new();
    let mut writer = bed.writer(128 << 10);
    let mut number = 0;
    let mut write = |entries: u32| {
        for _ in 0..entries {
            number += 1;
            writer.append(Stream::Output, format!("{number:0>999}\n").as_bytes());
        }
    };
    // Two files, the second half full.
    write(200);
    let mut bound = bed.reader();
    bound.bind().unwrap();
    let mut counted = bound.again().unwrap();
    write(30);
    let count = all(&mut counted).len();
    // Both are gone by now, and others in their place.
    write(1000);
    let read = all(&mut bound);
    assert_eq!(read.len(), count);
    assert_eq!(read.last().unwrap().1, format!("{:0>999}\n", 200).as_bytes());
    assert!(!bound.take_missed() && !counted.take_missed());
    // What follows has gaps, and says so.
    bound.unbind();
    let rest = all(&mut bound);
    assert_eq!(rest.last().unwrap().1, format!("{:0>999}\n", 1230).as_bytes());
    assert!(bound.take_missed());
}
