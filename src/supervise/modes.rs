//! Which modes of the terminal the payload's output left switched on, and how to switch them off.
//!
//! # Theory of operation
//! [`Modes::watch`] reads along as a terminal would and keeps, for every mode that would spoil the
//! caller's shell, whether it stands as at a shell's prompt. [`Modes::reset`] is what puts those back
//! that do not: nothing, after most programs.
//!
//! It also notes whether the payload asked the terminal something: an answer that comes when the
//! payload is gone would be typed into the shell.
//!
//! Long because it is one reader with its tables.
//!
//! # Decisions
//! * Sequences are read in their seven-bit form and in UTF-8, not as single bytes above 7F: those are
//!   parts of characters nearly everywhere, and what is missed here is a nuisance, not a danger.
//! * Colours are put back to the terminal's own only if the payload set them.

const ESC: u8 = 0x1b;
/// Parameters read of one sequence; terminals keep 16 to 32.
const PARAMETERS: usize = 24;

/// Private modes (`CSI ? n h` and `l`), and whether they are set at a shell's prompt.
#[rustfmt::skip]
const PRIVATE: &[(u32, bool)] = &[
    (1, false), (3, false), (5, false), (6, false), (7, true), (9, false),
    (12, false), (25, true), (45, false), (47, false), (66, false), (67, false), (69, false),
    (1000, false), (1001, false), (1002, false), (1003, false), (1004, false), (1005, false),
    (1006, false), (1007, true), (1015, false), (1016, false), (1047, false), (1049, false),
    (2004, false), (2026, false), (2031, false), (2048, false),
];

/// Modes without a question mark: keyboard lock, insert, line feed is new line; off at a prompt.
const PLAIN: &[u32] = &[2, 4, 20];

/// What else can be changed, and what puts it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    Printer,
    Encoding,
    AutoPrint,
    Keypad,
    Attributes,
    Charset,
    ShiftOut,
    Margins,
    Cursor,
    KittyKeyboard,
    ModifiedKeys,
    Palette,
    Foreground,
    Background,
    CursorColour,
}

const OTHERS: &[(Other, &[u8])] = &[
    // First of all: what follows it would be printed, not carried out.
    (Other::Printer, b"\x1b[4i"),
    (Other::Encoding, b"\x1b%G"),
    (Other::AutoPrint, b"\x1b[?4i"),
    (Other::Keypad, b"\x1b>"),
    (Other::Attributes, b"\x1b[0m"),
    (Other::Charset, b"\x1b(B"),
    (Other::ShiftOut, b"\x0f"),
    // Setting the margins moves the cursor.
    (Other::Margins, b"\x1b7\x1b[r\x1b8"),
    (Other::Cursor, b"\x1b[0 q"),
    (Other::KittyKeyboard, b"\x1b[<99u"),
    (Other::ModifiedKeys, b"\x1b[>4;0m"),
    (Other::Palette, b"\x1b]104\x07"),
    (Other::Foreground, b"\x1b]110\x07"),
    (Other::Background, b"\x1b]111\x07"),
    (Other::CursorColour, b"\x1b]112\x07"),
];

/// Which of them come before all modes, and are not put back by a reset of the terminal: a printer takes
/// the order for text.
const FIRST: u64 = 0b11;

/// Where in a sequence the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ground,
    Escape,
    /// After ESC and an intermediate byte.
    EscapeIntermediate(u8),
    /// After C2, which U+009B begins with in UTF-8.
    Lead,
    Control,
    /// In the number of an OSC, or at the byte after it.
    Number,
    NumberEnd,
    /// In a string that ends with BEL (OSC only) or ESC.
    Operating,
    /// As the first bytes of a DCS.
    Device,
    Text,
}

/// The reader; see the module.
#[derive(Debug)]
pub(super) struct Modes {
    state: State,
    /// `?`, `>`, `<`, `=` or 0.
    prefix: u8,
    intermediate: u8,
    parameters: [u32; PARAMETERS],
    count: usize,
    private: u64,
    plain: u64,
    others: u64,
    asked: bool,
}

impl Default for Modes {
    fn default() -> Self {
        Self {
            state: State::Ground,
            prefix: 0,
            intermediate: 0,
            parameters: [0; PARAMETERS],
            count: 0,
            private: 0,
            plain: 0,
            others: 0,
            asked: false,
        }
    }
}

impl Modes {
    /// Reads what goes to the terminal.
    pub(super) fn watch(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((first, after)) = rest.split_first() {
            if self.state == State::Ground {
                let plain = rest.iter().take_while(|byte| (0x20..0x7f).contains(*byte)).count();
                if plain > 0 {
                    rest = &rest[plain..];
                    continue;
                }
            }
            self.take(*first);
            rest = after;
        }
    }

    /// Whether the terminal was asked something since [`Modes::answered`].
    pub(super) fn asked(&self) -> bool {
        self.asked
    }

    /// Something came from the terminal.
    pub(super) fn answered(&mut self) {
        self.asked = false;
    }

    /// What puts the terminal back as it is at a shell's prompt; often nothing.
    pub(super) fn reset(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.state != State::Ground {
            // CAN ends any sequence, and the end of a string ends those that do not know it.
            out.extend_from_slice(b"\x18\x1b\\");
        }
        put_back(self.others & FIRST, &mut out);
        for (at, (mode, at_prompt)) in PRIVATE.iter().enumerate() {
            if self.private & (1 << at) != 0 {
                let letter = if *at_prompt { 'h' } else { 'l' };
                out.extend_from_slice(format!("\x1b[?{mode}{letter}").as_bytes());
            }
        }
        for (at, mode) in PLAIN.iter().enumerate() {
            if self.plain & (1 << at) != 0 {
                out.extend_from_slice(format!("\x1b[{mode}l").as_bytes());
            }
        }
        put_back(self.others & !FIRST, &mut out);
        out
    }

    fn take(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (State::Number | State::NumberEnd, ESC | 0x07 | 0x18 | 0x1a) => {
                self.end_number(byte);
                if byte == ESC { State::Escape } else { State::Ground }
            }
            (_, ESC) => State::Escape,
            (_, 0x18 | 0x1a) | (State::Operating, 0x07) => State::Ground,
            (State::Ground, 0xc2) => State::Lead,
            (State::Lead, 0x9b) => self.begin_control(),
            (State::Ground | State::Lead, _) => {
                self.control_character(byte);
                State::Ground
            }
            (State::Escape, _) => self.escape(byte),
            (State::EscapeIntermediate(first), _) => self.escape_end(first, byte),
            (State::Control, _) => self.control(byte),
            (State::Number, _) => self.number(byte),
            (State::NumberEnd, _) => {
                self.end_number(byte);
                State::Operating
            }
            (State::Device, b'+' | b'$') => {
                self.asked = true;
                State::Text
            }
            (State::Device | State::Text, _) => State::Text,
            (State::Operating, _) => State::Operating,
        };
    }

    fn control_character(&mut self, byte: u8) {
        match byte {
            // ENQ, which some terminals answer with text of the user's choice.
            0x05 => self.asked = true,
            0x0e => self.note(Other::ShiftOut, true),
            0x0f => self.note(Other::ShiftOut, false),
            _ => {}
        }
    }

    fn escape(&mut self, byte: u8) -> State {
        match byte {
            b'[' => return self.begin_control(),
            b']' => {
                self.parameters[0] = 0;
                return State::Number;
            }
            b'P' => return State::Device,
            b'X' | b'^' | b'_' => {
                // Kitty's graphics come as APC, and are answered.
                self.asked |= byte == b'_';
                return State::Text;
            }
            b'=' => self.note(Other::Keypad, true),
            b'>' => self.note(Other::Keypad, false),
            b'Z' => self.asked = true,
            b'c' => self.all_reset(),
            0x20..=0x2f => return State::EscapeIntermediate(byte),
            0x00..=0x1f | 0x7f => return State::Escape,
            _ => {}
        }
        State::Ground
    }

    fn escape_end(&mut self, first: u8, byte: u8) -> State {
        match byte {
            0x00..=0x2f => return State::EscapeIntermediate(first),
            _ if first == b'(' => self.note(Other::Charset, byte != b'B'),
            // Of all encodings UTF-8 alone is the one of a shell.
            _ if first == b'%' => self.note(Other::Encoding, byte != b'G'),
            _ => {}
        }
        State::Ground
    }

    fn begin_control(&mut self) -> State {
        (self.prefix, self.intermediate, self.count) = (0, 0, 1);
        self.parameters = [0; PARAMETERS];
        State::Control
    }

    fn control(&mut self, byte: u8) -> State {
        match byte {
            b'0'..=b'9' => {
                if let Some(parameter) = self.parameters.get_mut(self.count - 1) {
                    *parameter =
                        parameter.saturating_mul(10).saturating_add(u32::from(byte - b'0'));
                }
            }
            b';' | b':' => self.count = (self.count + 1).min(PARAMETERS),
            b'<'..=b'?' => self.prefix = byte,
            b' '..=b'/' => self.intermediate = byte,
            0x40..=0x7e => {
                self.perform(byte);
                return State::Ground;
            }
            0x80.. => return State::Ground,
            0x00..=0x1f | 0x7f => self.control_character(byte),
        }
        State::Control
    }

    fn perform(&mut self, last: u8) {
        let first = self.parameters[0];
        self.asked |= is_question(self.prefix, self.intermediate, last, first);
        match (self.prefix, self.intermediate, last) {
            (b'?', 0, b'h' | b'l') => self.set_private(last == b'h'),
            (0, 0, b'h' | b'l') => self.set_plain(last == b'h'),
            (0, 0, b'm') => {
                let last = self.parameters[..self.count].last();
                self.note(Other::Attributes, last != Some(&0));
            }
            (0 | b'?', 0, b'i') => self.print(),
            (0, 0, b'r') => self.note(Other::Margins, self.parameters[..2] != [0, 0]),
            (0, b' ', b'q') => self.note(Other::Cursor, first != 0),
            (b'>' | b'=', 0, b'u') => self.note(Other::KittyKeyboard, true),
            (b'<', 0, b'u') => self.note(Other::KittyKeyboard, false),
            (b'>', 0, b'm') if first == 4 => {
                self.note(Other::ModifiedKeys, self.parameters[1] != 0);
            }
            (0, b'!', b'p') => self.all_reset(),
            _ => {}
        }
    }

    fn set_private(&mut self, on: bool) {
        for wanted in &self.parameters[..self.count] {
            let known = PRIVATE.iter().enumerate().find(|(_, (mode, _))| mode == wanted);
            if let Some((at, (_, at_prompt))) = known {
                set_bit(&mut self.private, at, on != *at_prompt);
            }
        }
    }

    fn set_plain(&mut self, on: bool) {
        for wanted in &self.parameters[..self.count] {
            if let Some(at) = PLAIN.iter().position(|mode| mode == wanted) {
                set_bit(&mut self.plain, at, on);
            }
        }
    }

    /// Media copy: 5 hands what follows to a printer, alone or as well; 4 no longer does.
    fn print(&mut self) {
        let what = if self.prefix == 0 { Other::Printer } else { Other::AutoPrint };
        if self.parameters[..self.count].contains(&5) {
            self.note(what, true);
        } else if self.parameters[0] == 4 {
            self.note(what, false);
        }
    }

    fn number(&mut self, byte: u8) -> State {
        match byte {
            b'0'..=b'9' => {
                let digit = u32::from(byte - b'0');
                self.parameters[0] = self.parameters[0].saturating_mul(10).saturating_add(digit);
                State::Number
            }
            b';' => State::NumberEnd,
            // The console of Linux: no string follows.
            b'P' | b'R' => State::Ground,
            _ => State::Operating,
        }
    }

    /// The number of an OSC and the first byte of what follows: a question mark asks, anything else sets.
    fn end_number(&mut self, byte: u8) {
        let colour = match self.parameters[0] {
            4 => Other::Palette,
            10 => Other::Foreground,
            11 => Other::Background,
            12 => Other::CursorColour,
            104 => return self.note(Other::Palette, false),
            110 => return self.note(Other::Foreground, false),
            111 => return self.note(Other::Background, false),
            112 => return self.note(Other::CursorColour, false),
            _ => {
                self.asked |= byte == b'?';
                return;
            }
        };
        if byte == b'?' {
            self.asked = true;
        } else if self.state == State::NumberEnd {
            // Of `OSC 4 ; n ; ?` the question mark comes later: it may be either.
            self.asked |= colour == Other::Palette;
            self.note(colour, true);
        }
    }

    fn note(&mut self, what: Other, on: bool) {
        if let Some(at) = OTHERS.iter().position(|(other, _)| *other == what) {
            set_bit(&mut self.others, at, on);
        }
    }

    fn all_reset(&mut self) {
        (self.private, self.plain, self.others) = (0, 0, self.others & FIRST);
    }
}

/// Whether a control sequence is answered.
fn is_question(prefix: u8, intermediate: u8, last: u8, first: u32) -> bool {
    match (intermediate, last) {
        (0, b'c') => matches!(prefix, 0 | b'>' | b'='),
        (0, b'n') => matches!(prefix, 0 | b'?'),
        // Sizes and titles are asked for by these numbers; others order the window about.
        (0, b't') => prefix == 0 && (11..=21).contains(&first),
        (0, b'x') => prefix == 0,
        (0, b'q') => prefix == b'>',
        (0, b'u' | b'm' | b'S') => prefix == b'?',
        (b'$', b'p') | (b'*', b'y') => true,
        _ => false,
    }
}

/// Those of the others that these bits mean.
fn put_back(others: u64, out: &mut Vec<u8>) {
    for (at, (_, back)) in OTHERS.iter().enumerate() {
        if others & (1 << at) != 0 {
            out.extend_from_slice(back);
        }
    }
}

fn set_bit(bits: &mut u64, at: usize, on: bool) {
    if on {
        *bits |= 1 << at;
    } else {
        *bits &= !(1 << at);
    }
}

#[cfg(test)]
mod tests;
