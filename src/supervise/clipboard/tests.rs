//! What gets through the filter, and what never does.

use super::*;
use proptest::prelude::*;

fn filtered(parts: &[&[u8]]) -> (Vec<u8>, u64) {
    let (mut filter, mut out) = (Clipboard::default(), Vec::new());
    for part in parts {
        filter.filter(part, &mut out);
    }
    (out, filter.dropped())
}

/// The text between the sequences that the filter puts in.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&filtered(&[bytes]).0).replace("\u{1b}\\", "")
}

#[test]
fn an_order_to_set_the_clipboard_is_dropped() {
    let spellings: &[&[u8]] = &[
        b"\x1b]52;c;aGk=\x07",
        b"\x1b]52;c;aGk=\x1b\\",
        b"\x1b]52;p;?\x07",
        b"\x9d52;c;aGk=\x9c",
        b"\xc2\x9d52;c;aGk=\xc2\x9c",
        b"\x1b]0052;c;aGk=\x07",
        b"\x1b]+52;c;aGk=\x07",
        b"\x1b] 52;c;aGk=\x07",
        b"\x1b]52 ;c;aGk=\x07",
        b"\x1b\0]\r5\n2\0;c;aGk=\x07",
        b"\x1b\x7f]5\x7f2;c;aGk=\x07",
        b"\x1b]4294967348;c;aGk=\x07",
        b"\x1b]65588;c;aGk=\x07",
        b"\x1b]000000000000000000000000000000000052;c;aGk=\x07",
        b"\x1b[31\x1b]52;c;aGk=\x07",
        b"\x1b\x1b]52;c;aGk=\x07",
        b"\x1bP\x1b]52;c;aGk=\x07\x1b\\",
        b"\x1bPtmux;\x1b\x1b]52;c;aGk=\x07\x1b\\",
        b"\x1b]5522;type=write\x07",
        b"\x1b]1337;Copy=:aGk=\x07",
        b"\xe2\x9d52;c;aGk=\x07",
        b"\xe0\x82\x9d52;c;aGk=\x07",
    ];
    for spelling in spellings {
        let whole: Vec<u8> = [b"before ", *spelling, b" after"].concat();
        let (out, _) = filtered(&[&whole]);
        assert!(orders(&out).is_empty(), "{spelling:?} became {out:?}");
        let singles: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(filtered(&singles).0, out, "{spelling:?}, byte by byte");
        let out = String::from_utf8_lossy(&out).into_owned();
        assert!(out.starts_with("before ") && out.ends_with(" after"), "{spelling:?}: {out:?}");
        assert!(!orders(&whole).is_empty(), "{spelling:?}: nothing there to drop");
    }
}

#[test]
fn pieces_around_a_dropped_sequence_do_not_become_one() {
    for bytes in [
        &b"\x1b\x1b]52;x\x07]52;c;aGk=\x07"[..],
        b"\x1b]\x1b]52;x\x0752;c;aGk=\x07",
        b"\x1b]5\x1b]52;x\x072;c;aGk=\x07",
        b"\x1b]\x9d52;x\x9c52;c;aGk=\x07",
        b"\x1b]5\x1bP\x1b\\2;c;aGk=\x07",
        b"\xc2\x1b]52;x\x07\x9d52;c;aGk=\x07",
    ] {
        let (out, dropped) = filtered(&[bytes]);
        assert!(orders(&out).is_empty(), "{bytes:?} became {out:?}");
        assert!(dropped > 0);
    }
}

#[test]
fn everything_else_passes_as_it_is() {
    let samples: &[&[u8]] = &[
        b"plain\r\n\ttext \x07\x08",
        b"\x1b]0;a title\x07\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\",
        b"\x1b]520;not it\x07\x1b]5;x\x07\x1b]2;52;c;aGk=\x07",
        b"\x1b[?1049h\x1b[38;5;52m\x1b[52;1H\x1b(0\x1b=\x1bc\x1b7",
        b"\x1bP$qm\x1b\\\x1bPq#0;2;0;0;0~\x1b\\\x1bPtmu\x1b\\",
        "“quoted” — ❤ 日本語 é \u{a0}".as_bytes(),
        b"\xff\xfe\x80 latin \xe9\xe8",
    ];
    for sample in samples {
        let (out, dropped) = filtered(&[sample]);
        let shown = String::from_utf8_lossy(&out).replace("”\u{1b}\\", "”");
        assert_eq!(shown, String::from_utf8_lossy(sample));
        assert_eq!(dropped, 0);
    }
}

#[test]
fn a_quotation_mark_before_a_number_is_ended_for_eight_bit_terminals() {
    assert_eq!(filtered(&["”52;c;x".as_bytes()]).0, "”\u{1b}\\52;c;x".as_bytes());
    assert_eq!(text("“a”52".as_bytes()), "“a”52");
}

#[test]
fn little_is_held_back() {
    let mut filter = Clipboard::default();
    let mut out = Vec::new();
    filter.filter(b"\x1b]52;c;", &mut out);
    for _ in 0..1000 {
        filter.filter(&[b'A'; 1000], &mut out);
    }
    filter.filter(b"\x07done", &mut out);
    assert_eq!(text(&out), "done");
    assert_eq!(filter.dropped(), 1);
    assert!(out.capacity() < 4096);
}

/// Every number of an OSC that any terminal might see: `ESC ]` in any context, and 9D as a byte of its own.
fn orders(bytes: &[u8]) -> Vec<u32> {
    let mut found = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        let after = &bytes[at + 1..];
        let after = match byte {
            0x1b => {
                let skipped = after.iter().position(|b| !is_passed_over(*b) && *b != BEL);
                match skipped.map(|n| &after[n..]) {
                    Some([b']', rest @ ..]) => rest,
                    _ => continue,
                }
            }
            0x9d => after,
            _ => continue,
        };
        let digits: String = after
            .iter()
            .filter(|b| !is_passed_over(**b))
            .skip_while(|b| matches!(b, b' ' | b'+'))
            .take_while(|b| b.is_ascii_digit())
            .map(|b| char::from(*b))
            .collect();
        let number =
            digits.bytes().fold(0_u32, |n, d| n.wrapping_mul(10).wrapping_add(u32::from(d - b'0')));
        if matches!(number, 52 | 1337 | 5522) || number & 0xffff == 52 {
            found.push(number);
        }
    }
    found
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known: &[&[u8]] = &[
        b"\x1b",
        b"]",
        b"\x1b]",
        b"5",
        b"2",
        b"52",
        b"52;",
        b"\x07",
        b"\\",
        b"\x1b\\",
        b"\x9d",
        b"\xc2",
        b"\xc2\x9d",
        b"\x9c",
        b"\xe2\x80\x9d",
        b"\xe2",
        b"\x80",
        b"\0",
        b"\n",
        b" ",
        b"+",
        b"0",
        b"P",
        b"tmux;",
        b"\x18",
        b"\x7f",
        b"[",
        b"c;aGk=",
        b"\x90",
        b"\xf0\x9f\x92\x9d",
    ];
    prop_oneof![
        20 => proptest::sample::select(known).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_terminal_ever_sees_an_order(pieces in proptest::collection::vec(piece(), 0..24)) {
        let bytes = pieces.concat();
        let (out, _) = filtered(&[&bytes]);
        prop_assert_eq!(orders(&out), Vec::<u32>::new(), "{:?} became {:?}", bytes, out);
    }

    #[test]
    fn it_does_not_matter_where_reads_are_cut(pieces in proptest::collection::vec(piece(), 0..24)) {
        let whole = filtered(&[&pieces.concat()]);
        let parts: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(filtered(&parts), whole.clone());
        let bytes = pieces.concat();
        let singles: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(filtered(&singles), whole);
    }

    #[test]
    fn text_passes_unchanged(text in "[^\u{1b}\u{9d}]{0,200}") {
        let bytes = text.as_bytes();
        let ends_held = bytes.last() == Some(&0xc2);
        prop_assert!(!ends_held);
        let shown = String::from_utf8_lossy(&filtered(&[bytes]).0).replace("\u{1b}\\", "");
        prop_assert_eq!(shown, text);
    }
}
