//! The keys that are typed to leave a sandbox to itself.
//!
//! # Decisions
//! - What a terminal says by itself is no key: its answers (to a program that asks where the cursor is) and its reports (of
//!   the mouse, of the window it is in) go on at once and end no sequence that was begun. A terminal writes each at once;
//!   one that comes in two parts is taken for keys, rather than that a typed Escape is held back until more comes.

/// What was read of what somebody typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scanned {
    /// What goes on to the payload.
    pub(super) bytes: Vec<u8>,
    /// Whether all keys were there; what follows them is dropped.
    pub(super) leaves: bool,
}

/// A sequence of keys, and how much of it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys {
    keys: Vec<u8>,
    typed: usize,
}

/// Not a sequence of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no list of keys such as `ctrl-p,ctrl-q`")]
pub struct KeysError;

/// The longest sequence.
const MOST: usize = 16;

impl Default for DetachKeys {
    /// Docker's: Ctrl-P, Ctrl-Q.
    fn default() -> Self {
        Self { keys: vec![0x10, 0x11], typed: 0 }
    }
}

impl DetachKeys {
    /// `ctrl-p,ctrl-q`, `a,ctrl-[`; an empty text is no keys: there is no leaving then.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let keys = if text.is_empty() {
            Vec::new()
        } else {
            text.split(',').map(key).collect::<Result<Vec<u8>, KeysError>>()?
        };
        if keys.len() > MOST { Err(KeysError) } else { Ok(Self { keys, typed: 0 }) }
    }

    /// Holds back what may be the beginning of the sequence.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Scanned {
        let mut through = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            if let Some((said, after)) = rest.split_at_checked(said_by_terminal(rest))
                && !said.is_empty()
            {
                through.extend_from_slice(said);
                rest = after;
                continue;
            }
            rest = after;
            self.step(*byte, &mut through);
            if !self.keys.is_empty() && self.typed == self.keys.len() {
                self.typed = 0;
                return Scanned { bytes: through, leaves: true };
            }
        }
        Scanned { bytes: through, leaves: false }
    }

    fn step(&mut self, byte: u8, through: &mut Vec<u8>) {
        while self.keys.get(self.typed) != Some(&byte) {
            if self.typed == 0 {
                through.push(byte);
                return;
            }
            // The longest end of what was typed that is a beginning too.
            let typed = self.keys.get(..self.typed).unwrap_or_default();
            let next = (0..self.typed).rev().find(|n| typed.ends_with(&typed[..*n])).unwrap_or(0);
            through.extend_from_slice(typed.get(..self.typed - next).unwrap_or_default());
            self.typed = next;
        }
        self.typed += 1;
    }
}

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;

/// How many bytes at the beginning of these a terminal wrote by itself, after ECMA-48 and xterm's `ctlseqs`; 0 where they
/// are keys.
fn said_by_terminal(bytes: &[u8]) -> usize {
    match bytes {
        [ESCAPE, b'[', sequence @ ..] => said_in_sequence(sequence).map_or(0, |n| 2 + n),
        // A string: Alt and one of these letters begin likewise, but are not ended by its end.
        [ESCAPE, b'P' | b']' | b'_', string @ ..] => {
            let end = string.iter().position(|byte| matches!(byte, 0..=0x1f | 0x7f));
            match end.map(|end| (end, string.get(end..).unwrap_or_default())) {
                Some((end, [ESCAPE, b'\\', ..])) => 2 + end + 2,
                Some((end, [BELL, ..])) if bytes.get(1) == Some(&b']') => 2 + end + 1,
                _ => 0,
            }
        }
        _ => 0,
    }
}

/// The length of a control sequence behind its `ESC [`, where none of the keyboard's is like it.
fn said_in_sequence(sequence: &[u8]) -> Option<usize> {
    let end = sequence.iter().position(|byte| !matches!(byte, b' '..=b'?'))?;
    let (before, last) = (sequence.get(..end)?, *sequence.get(end)?);
    let is_said = match (before, last) {
        // Answers of its own kinds and the mouse; the focus came, or went; a mode.
        ([b'?' | b'>' | b'=' | b'<', ..], b'@'..=b'~') | ([], b'I' | b'O') | ([.., b'$'], b'y') => {
            true
        }
        // The cursor's place; a Shift-F3 of xterm's reads the same.
        (_, b'R') => before.contains(&b';'),
        (_, b'n' | b't' | b'x') => !before.is_empty(),
        _ => false,
    };
    is_said.then_some(end + 1)
}

fn key(text: &str) -> Result<u8, KeysError> {
    match (text.strip_prefix("ctrl-").or(text.strip_prefix("Ctrl-")), text.as_bytes()) {
        (Some(letter), _) => match letter.as_bytes() {
            [c @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')] => Ok(c & 0x1f),
            _ => Err(KeysError),
        },
        (None, [c @ b'!'..=b'~']) => Ok(*c),
        _ => Err(KeysError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(keys: &str, typed: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut keys = DetachKeys::parse(keys).unwrap();
        let mut through = Vec::new();
        for part in typed {
            let scanned = keys.scan(part);
            through.extend(scanned.bytes);
            if scanned.leaves {
                return (through, true);
            }
        }
        (through, false)
    }

    #[test]
    fn the_keys_leave_and_everything_else_goes_on() {
        assert_eq!(scan("ctrl-p,ctrl-q", &[b"ab\x10", b"\x11cd"]), (b"ab".to_vec(), true));
        assert_eq!(scan("ctrl-p,ctrl-q", &[b"a\x10b\x11"]), (b"a\x10b\x11".to_vec(), false));
        assert_eq!(scan("ctrl-p,ctrl-q", &[b"\x10\x10", b"\x11"]), (b"\x10".to_vec(), true));
        assert_eq!(scan("a,a,b", &[b"aaab"]), (b"a".to_vec(), true));
        assert_eq!(scan("a,b,a,c", &[b"ababac"]), (b"ab".to_vec(), true));
        assert_eq!(scan("", &[b"\x10\x11"]), (b"\x10\x11".to_vec(), false));
        assert_eq!(DetachKeys::parse("ctrl-p,ctrl-q").unwrap(), DetachKeys::default());
        for bad in ["ctrl-", "ctrl-pq", "p,", ",", "ctrl-P", "ä", "\x1b"] {
            assert_eq!(DetachKeys::parse(bad), Err(KeysError), "{bad}");
        }
    }

    #[test]
    fn what_the_terminal_says_between_the_keys_ends_no_sequence() {
        for said in [
            &b"\x1b[12;40R"[..],
            b"\x1b[?62;22c",
            b"\x1b[>41;354;0c",
            b"\x1b[0n",
            b"\x1b[8;24;80t",
            b"\x1b[?2026;2$y",
            b"\x1b[4;2$y",
            b"\x1b[I",
            b"\x1b[<35;10;4M",
            b"\x1bP>|xterm(390)\x1b\\",
            b"\x1b]11;rgb:0000/0000/0000\x1b\\",
            b"\x1b]11;rgb:0000/0000/0000\x07",
            b"\x1b_Gi=1;OK\x1b\\",
        ] {
            let name = said.escape_ascii();
            assert_eq!(
                scan("ctrl-p,ctrl-q", &[b"\x10", said, b"\x11"]),
                (said.into(), true),
                "{name}"
            );
            let at_once = [b"a\x10", said, b"\x11b"].concat();
            let through = [b"a", said].concat();
            assert_eq!(scan("ctrl-p,ctrl-q", &[&at_once]), (through, true), "{name}");
            // Its Escape is nobody's.
            assert_eq!(scan("ctrl-[", &[said]), (said.into(), false), "{name}");
        }
        // Keys are: the arrows, F3, Page Up, Shift-Right of rxvt, Alt-P, Escape alone, and one that comes in two parts.
        for typed in [
            &[&b"\x1b[A"[..]][..],
            &[b"\x1b[1;5A"],
            &[b"\x1bOR"],
            &[b"\x1b[R"],
            &[b"\x1b[5~"],
            &[b"\x1b[97;5u"],
            &[b"\x1b[c"],
            &[b"\x1bP"],
            &[b"\x1b]0\r"],
            &[b"\x1b"],
            &[b"\x1b[12;", b"40R"],
        ] {
            let all = [&[&b"\x10"[..]], typed, &[&b"\x11"[..]]].concat();
            assert_eq!(scan("ctrl-p,ctrl-q", &all), (all.concat(), false), "{typed:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_however_it_is_cut(
            parts in proptest::collection::vec(proptest::collection::vec(0x0f_u8..0x13, 0..5), 0..6)
        ) {
            let mut keys = DetachKeys::default();
            let (mut through, mut all, mut left) = (Vec::new(), Vec::new(), false);
            for part in &parts {
                all.extend(part);
                let scanned = keys.scan(part);
                through.extend(scanned.bytes);
                left = scanned.leaves;
                if left { break; }
            }
            let found = all.windows(2).position(|two| two == [0x10, 0x11]);
            prop_assert_eq!(left, found.is_some());
            let held = usize::from(all.last() == Some(&0x10));
            let expected = found.unwrap_or(all.len() - held);
            prop_assert_eq!(&through[..], &all[..expected]);
        }
    }
}
