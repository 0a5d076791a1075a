//! What is put back, and what counts as a question.

use super::*;
use proptest::prelude::*;

fn after(bytes: &[u8]) -> Modes {
    let mut modes = Modes::default();
    modes.watch(bytes);
    modes
}

fn reset(bytes: &[u8]) -> String {
    String::from_utf8(after(bytes).reset()).unwrap()
}

#[test]
fn what_was_switched_on_is_switched_off() {
    for (bytes, wanted) in [
        (&b"\x1b[?1049h\x1b[2J"[..], "\x1b[?1049l"),
        (b"\x1b[?1000;1006h", "\x1b[?1000l\x1b[?1006l"),
        (b"\x1b[?25l", "\x1b[?25h"),
        (b"\xc2\x9b?2004h", "\x1b[?2004l"),
        (b"\x1b[4h\x1b=", "\x1b[4l\x1b>"),
        (b"\x1b[1;31mred", "\x1b[0m"),
        (b"\x1b(0\x0e", "\x1b(B\x0f"),
        (b"\x1b[2;5r", "\x1b7\x1b[r\x1b8"),
        (b"\x1b[5 q\x1b[>1u\x1b[>4;2m", "\x1b[0 q\x1b[<99u\x1b[>4;0m"),
        (b"\x1b]11;#000000\x1b\\\x1b]4;1;red\x07", "\x1b]104\x07\x1b]111\x07"),
        (b"\x1b[?5i\x1b[?67h\x1b[5i\x1b%@", "\x1b[4i\x1b%G\x1b[?67l\x1b[?4i"),
        // A printer takes the reset for text.
        (b"\x1b[?25l\x1b[5i\x1bc", "\x1b[4i"),
        (b"\x1b]0;never ended", "\x18\x1b\\"),
        (b"\x1b", "\x18\x1b\\"),
    ] {
        assert_eq!(reset(bytes), wanted, "{bytes:?}");
    }
}

#[test]
fn what_was_switched_back_needs_nothing() {
    for bytes in [
        &b"\x1b[?1049h\x1b[?25l\x1b[?25h\x1b[?1049l"[..],
        b"\x1b[31mred\x1b[m\x1b[1m\x1b[0m\x1b[32m\x1b[1;0m",
        b"\x1b[?1000h\x1b[?1006hx\x1b[?1006;1000l",
        b"\x1b[?1h\x1b=\x1bc",
        b"\x1b[5ia\x1b[4i\x1b[i\x1b[?5i\x1b[?4i\x1b%@\x1b%G",
        b"\x1b[4h\x1b[!p",
        b"\x1b]11;?\x07\x1b]0;[?25l\x07",
        b"\x1b]11;red\x07\x1b]111\x07",
        b"\x1b[2;5r\x1b[r",
        b"\x1b[?99999h\x1b[?12345678901234567890h",
        "“text” ❤\r\n".as_bytes(),
    ] {
        assert_eq!(reset(bytes), "", "{bytes:?}");
    }
}

#[test]
fn questions_are_noted() {
    let asking: &[&[u8]] = &[
        b"\x1b[c",
        b"\x1b[>c",
        b"\x1b[6n",
        b"\x1b[?6n",
        b"\x1b]11;?\x07",
        b"\x1b]4;1;?\x07",
        b"\x1bP+q544e\x1b\\",
        b"\x1bP$qm\x1b\\",
        b"\x1b[?2004$p",
        b"\x1b[>q",
        b"\x1b[21t",
        b"\x05",
        b"\x1bZ",
        b"\x1b_Gi=1,a=q;\x1b\\",
        b"\x1b[?u",
    ];
    for bytes in asking {
        let mut modes = after(bytes);
        assert!(modes.asked(), "{bytes:?}");
        modes.answered();
        assert!(!modes.asked());
    }
    assert!(!after(b"\x1b[31m\x1b[2J\x1b]0;t\x07\x1b[?25l").asked());
}

proptest! {
    #[test]
    fn after_its_reset_nothing_is_left(bytes in proptest::collection::vec(
        prop_oneof![
            proptest::sample::select(b"\x1b[]?0123456789;hlmuriq=>c(%@\x07\\ P_!$p".as_slice()),
            any::<u8>(),
        ],
        0..200,
    )) {
        let mut modes = after(&bytes);
        let reset = modes.reset();
        modes.watch(&reset);
        prop_assert_eq!(modes.reset(), b"");
    }

    #[test]
    fn cuts_do_not_matter(bytes in proptest::collection::vec(
        proptest::sample::select(b"\x1b[]?0125;hlm=>c\x07".as_slice()), 0..100), at in 0usize..100) {
        let (left, right) = bytes.split_at(at.min(bytes.len()));
        let mut modes = Modes::default();
        modes.watch(left);
        modes.watch(right);
        prop_assert_eq!(modes.reset(), after(&bytes).reset());
    }
}
