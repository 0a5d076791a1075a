//! Takes out of the payload's output what would write the caller's clipboard.
//!
//! # Theory of operation
//! A terminal takes `ESC ] 5 2 ; c ; BASE64 BEL` (OSC 52) as an order to set the clipboard, from
//! whence it is pasted into the next shell. [`Clipboard::filter`] passes a stream on without such
//! sequences. What it holds back between two calls is at most the beginning of one sequence, some
//! twenty bytes: once the number is known the rest is passed or dropped as it comes.
//!
//! The beginning is looked for everywhere, also inside other sequences and strings, where a terminal
//! would abort those. It is read as leniently as any terminal might:
//! * `ESC ]`, the single byte 9D, and U+009D in UTF-8 begin it; control characters in between are
//!   passed over, as terminals do;
//! * the number may have a sign, blanks, leading zeros, and be followed by anything: `atoi(3)` is what
//!   some terminals read it with; a number beyond 65,535, or with too many digits, may have
//!   become 52 by the time the terminal is done with it, and is dropped too.
//!
//! The byte 9D is also the last of some characters in UTF-8, as of U+201D, the closing quotation mark.
//! A terminal in an eight-bit character set would take it for a beginning nevertheless, so `ESC \`
//! follows the character where a number could: it ends the sequence for the one, and is nothing for
//! the other.
//!
//! Dropped as well: OSC 5522 (kitty's clipboard), OSC 1337 (iTerm2: clipboard, downloads), and what
//! `tmux` and `screen` pass on to the terminal that they run in (`ESC P tmux;` and `ESC P ESC`), where
//! it would be out of our sight.
//!
//! # Decisions
//! * `ESC \` is passed on in place of what is dropped, so that what came before it ends as it would have.
//! * A dropped sequence ends with BEL, `ESC \`, 9C, CAN or SUB, or any other ESC: where a terminal
//!   thinks otherwise, what is passed on is text to it, since it never saw the beginning.

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
const DEL: u8 = 0x7f;

/// `OSC` and `ST` as single bytes.
const OSC: u8 = 0x9d;
const ST: u8 = 0x9c;

/// Ends a string, and is nothing where there is none.
const END: &[u8] = b"\x1b\\";

/// What `tmux` calls a passthrough.
const TMUX: &[u8] = b"tmux;";

/// The most bytes of a number that are held back.
const HELD: usize = 24;

/// What [`Clipboard`] holds between two reads.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Text, or sequences that are of no interest.
    Ground,
    /// ESC was held back.
    Escape,
    /// C2 was held back: U+009D is spelled with it in UTF-8.
    Lead,
    /// A beginning was held back, with what there is of its number.
    Number { held: Vec<u8>, value: u32 },
    /// `ESC P` was held back, with this many bytes of what names a passthrough.
    Device { name: usize },
    /// Inside a sequence that is dropped.
    Dropped,
    /// There, after ESC.
    DroppedEscape,
    /// Inside a passthrough, which is dropped.
    Passthrough,
    /// There, after ESC.
    PassthroughEscape,
}

/// The filter; see the module.
#[derive(Debug)]
pub(super) struct Clipboard {
    state: State,
    utf8: Utf8,
    /// The last byte passed was 9D, within a character.
    ambiguous: bool,
    dropped: u64,
}

impl Default for Clipboard {
    fn default() -> Self {
        Self { state: State::Ground, utf8: Utf8::default(), ambiguous: false, dropped: 0 }
    }
}

impl Clipboard {
    /// Sequences dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Appends to `out` what may be passed on of `bytes`, which follow those of the call before.
    pub(super) fn filter(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some((first, after)) = rest.split_first() {
            if self.state == State::Ground && !self.ambiguous && self.utf8.at_start() {
                let plain = rest.iter().take_while(|byte| **byte < 0x80 && **byte != ESC).count();
                if plain > 0 {
                    out.extend_from_slice(&rest[..plain]);
                    rest = &rest[plain..];
                    continue;
                }
            }
            self.take(*first, out);
            rest = after;
        }
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        match std::mem::replace(&mut self.state, State::Ground) {
            State::Ground => self.ground(byte, out),
            State::DroppedEscape | State::PassthroughEscape if byte == b'\\' => {}
            State::Escape | State::DroppedEscape => self.escape(byte, out),
            State::Lead => self.lead(byte, out),
            State::Number { held, value } => self.number(held, value, byte, out),
            State::Device { name } => self.device(name, byte, out),
            State::Dropped => self.dropped_byte(byte),
            State::Passthrough if byte == ESC => self.state = State::PassthroughEscape,
            // Inside `tmux;` each ESC of the content is doubled.
            State::Passthrough | State::PassthroughEscape => self.state = State::Passthrough,
        }
    }

    fn ground(&mut self, byte: u8, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.ambiguous) && could_begin_number(byte) {
            out.extend_from_slice(END);
        }
        let part = self.utf8.take(byte);
        match (byte, part) {
            (ESC, _) => self.state = State::Escape,
            (0xc2, Part::Begin) => self.state = State::Lead,
            (OSC, Part::Stray) => self.begin(&[OSC]),
            (OSC, Part::Continues) => {
                // Whether the character is a whole one turns out later: an `ESC \` too many is nothing.
                self.ambiguous = true;
                out.push(byte);
            }
            _ => out.push(byte),
        }
    }

    fn begin(&mut self, introducer: &[u8]) {
        self.state = State::Number { held: introducer.to_vec(), value: 0 };
    }

    fn escape(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            b']' => self.begin(b"\x1b]"),
            b'P' => self.state = State::Device { name: 0 },
            // The first ESC is forgotten by every terminal. Passed on, it would become the beginning
            // of whatever follows a dropped sequence.
            ESC => self.state = State::Escape,
            CAN | SUB => out.extend_from_slice(&[ESC, byte]),
            // Carried out at once, in the middle of the sequence.
            _ if is_passed_over(byte) || byte == BEL => {
                out.push(byte);
                self.state = State::Escape;
            }
            _ => {
                out.push(ESC);
                self.ground(byte, out);
            }
        }
    }

    fn lead(&mut self, byte: u8, out: &mut Vec<u8>) {
        if byte == OSC {
            self.utf8 = Utf8::default();
            self.begin(&[0xc2, OSC]);
        } else {
            out.push(0xc2);
            self.ground(byte, out);
        }
    }

    fn number(&mut self, mut held: Vec<u8>, value: u32, byte: u8, out: &mut Vec<u8>) {
        let digits = held.last().is_some_and(u8::is_ascii_digit);
        match byte {
            _ if is_passed_over(byte) => self.state = State::Number { held, value },
            b' ' | b'+' if !digits && held.len() < HELD => {
                held.push(byte);
                self.state = State::Number { held, value };
            }
            b'0'..=b'9' if held.len() < HELD => {
                held.push(byte);
                let value = value.saturating_mul(10).saturating_add(u32::from(byte - b'0'));
                self.state = State::Number { held, value };
            }
            _ if is_clipboard(value) || held.len() >= HELD => {
                self.drop_instead(State::Dropped, out);
                self.dropped_byte(byte);
            }
            _ => {
                out.extend_from_slice(&held);
                self.ground(byte, out);
            }
        }
    }

    fn device(&mut self, name: usize, byte: u8, out: &mut Vec<u8>) {
        match byte {
            ESC if name == 0 => self.drop_instead(State::PassthroughEscape, out),
            _ if is_passed_over(byte) => self.state = State::Device { name },
            _ if TMUX.get(name) == Some(&byte) && name + 1 == TMUX.len() => {
                self.drop_instead(State::Passthrough, out);
            }
            _ if TMUX.get(name) == Some(&byte) => self.state = State::Device { name: name + 1 },
            _ => {
                out.extend_from_slice(b"\x1bP");
                out.extend_from_slice(TMUX.get(..name).unwrap_or_default());
                self.ground(byte, out);
            }
        }
    }

    /// The end of a string stands for what is dropped. Without it `ESC ] 5`, a dropped sequence, and
    /// `2;c;…` would together be what the filter is there to stop.
    fn drop_instead(&mut self, state: State, out: &mut Vec<u8>) {
        self.dropped += 1;
        out.extend_from_slice(END);
        self.state = state;
    }

    fn dropped_byte(&mut self, byte: u8) {
        self.state = match byte {
            BEL | CAN | SUB | ST => State::Ground,
            ESC => State::DroppedEscape,
            _ => State::Dropped,
        };
    }
}

fn is_clipboard(number: u32) -> bool {
    matches!(number, 52 | 1337 | 5522) || number > 0xffff
}

/// Controls that terminals carry out, or ignore, without leaving the sequence that they stand in.
fn is_passed_over(byte: u8) -> bool {
    (byte < 0x20 && !matches!(byte, BEL | CAN | SUB | ESC)) || byte == DEL
}

fn could_begin_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b' ' | b'+') || is_passed_over(byte)
}

/// What a byte is to a reader of UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A character of its own.
    Ascii,
    /// The first of several.
    Begin,
    /// One that belongs to those before it.
    Continues,
    /// Not UTF-8.
    Stray,
}

/// Follows a stream of UTF-8: how many bytes the character still lacks, and the range of the next.
#[derive(Debug, Default)]
struct Utf8 {
    missing: u8,
    low: u8,
    high: u8,
}

impl Utf8 {
    fn at_start(&self) -> bool {
        self.missing == 0
    }

    fn take(&mut self, byte: u8) -> Part {
        if self.missing > 0 && (self.low..=self.high).contains(&byte) {
            *self = Self { missing: self.missing - 1, low: 0x80, high: 0xbf };
            return Part::Continues;
        }
        // Table 3-7 of the Unicode Standard: no overlong forms, no surrogates.
        let (missing, low, high) = match byte {
            0xc2..=0xdf => (1, 0x80, 0xbf),
            0xe0 => (2, 0xa0, 0xbf),
            0xed => (2, 0x80, 0x9f),
            0xe1..=0xef => (2, 0x80, 0xbf),
            0xf0 => (3, 0x90, 0xbf),
            0xf1..=0xf3 => (3, 0x80, 0xbf),
            0xf4 => (3, 0x80, 0x8f),
            _ => (0, 0, 0),
        };
        *self = Self { missing, low, high };
        match (byte, missing) {
            (0..0x80, _) => Part::Ascii,
            (_, 0) => Part::Stray,
            _ => Part::Begin,
        }
    }
}

#[cfg(test)]
mod tests;
