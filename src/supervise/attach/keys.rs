//! The keys that are typed to leave a sandbox to itself.

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
        for byte in bytes {
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
