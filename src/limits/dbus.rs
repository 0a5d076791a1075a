//! As much of the D-Bus wire format as asking systemd for a scope takes.
//!
//! Reading is total and bounded: whatever the bytes are, they are a message of ours, another, or none.

/// The bytes of a message that tell how long it is.
pub(super) const HEAD: usize = 16;
/// The longest message that is taken. A manager sends one for everything that happens to its units.
const LONGEST: usize = 1 << 20;

const SERIAL: u32 = 1;
const REPLY: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// `s`
    Text(String),
    /// `b`
    Flag(bool),
    /// `t`
    Number(u64),
    /// `au`
    Numbers(Vec<u32>),
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// The answer to our one call, and the text it begins with, if with one.
    Reply {
        /// An object.
        first: String,
    },
    /// The call failed.
    Error {
        /// As `org.freedesktop.DBus.Error.AccessDenied`.
        name: String,
        /// In words.
        first: String,
    },
    /// A job of the manager's is over.
    JobRemoved {
        /// The job.
        job: String,
        /// As `done`.
        result: String,
    },
    /// Nothing that matters here.
    Other,
}

/// Writes values, each where its alignment wants it.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, number: u32) {
        self.align(4);
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(size(text.len()));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.0.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.0.extend(signature.as_bytes());
        self.0.push(0);
    }

    /// An array whose elements are aligned to `to`: its length does not count what comes before the first.
    fn array(&mut self, to: usize, elements: impl FnOnce(&mut Self)) {
        self.number(0);
        let at = self.0.len() - 4;
        self.align(to);
        let start = self.0.len();
        elements(self);
        let length = size(self.0.len() - start).to_le_bytes();
        for (to, from) in self.0.iter_mut().skip(at).zip(length) {
            *to = from;
        }
    }

    fn variant(&mut self, value: &Value) {
        match value {
            Value::Text(text) => {
                self.signature("s");
                self.text(text);
            }
            Value::Flag(flag) => {
                self.signature("b");
                self.number(u32::from(*flag));
            }
            Value::Number(number) => {
                self.signature("t");
                self.align(8);
                self.0.extend(number.to_le_bytes());
            }
            Value::Numbers(numbers) => {
                self.signature("au");
                self.array(4, |writer| numbers.iter().for_each(|number| writer.number(*number)));
            }
        }
    }
}

/// Lengths here are far below what a message can be long.
fn size(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The call that makes a unit.
pub(super) fn start_transient_unit(unit: &str, properties: &[(&str, Value)]) -> Vec<u8> {
    let mut body = Writer::default();
    body.text(unit);
    body.text("fail");
    body.array(8, |body| {
        for (name, value) in properties {
            body.align(8);
            body.text(name);
            body.variant(value);
        }
    });
    body.array(8, |_| ());
    call("StartTransientUnit", "ssa(sv)a(sa(sv))", &body.0)
}

/// The call that moves a process into a group below a unit's.
pub(super) fn attach(unit: &str, below: &str, pid: u32) -> Vec<u8> {
    let mut body = Writer::default();
    body.text(unit);
    body.text(below);
    body.array(4, |body| body.number(pid));
    call("AttachProcessesToUnit", "ssau", &body.0)
}

fn call(member: &str, signature: &str, body: &[u8]) -> Vec<u8> {
    let mut message = Writer(vec![b'l', 1, 0, 1]);
    message.number(size(body.len()));
    message.number(SERIAL);
    let fields = [
        (1, "o", "/org/freedesktop/systemd1"),
        (2, "s", "org.freedesktop.systemd1.Manager"),
        (3, "s", member),
        (6, "s", "org.freedesktop.systemd1"),
        (8, "g", signature),
    ];
    message.array(8, |message| {
        for (code, kind, value) in fields {
            message.align(8);
            message.0.push(code);
            message.signature(kind);
            match kind {
                "g" => message.signature(value),
                _ => message.text(value),
            }
        }
    });
    message.align(8);
    message.0.extend(body);
    message.0
}

/// Reads values, each from where its alignment wants it.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u32> {
        self.align(4);
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        (self.byte()? == 0).then_some(text)
    }

    fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        (self.byte()? == 0).then_some(text)
    }
}

/// How long the message is that begins so; none when it is none of ours, or too long.
pub(super) fn length(head: &[u8]) -> Option<usize> {
    let mut reader = Reader { bytes: head, at: 0 };
    let &[order, _, _, version] = reader.take(4)? else { return None };
    let body = usize::try_from(reader.number()?).ok()?;
    reader.number()?;
    let fields = usize::try_from(reader.number()?).ok()?;
    if order != b'l' || version != 1 || body > LONGEST || fields > LONGEST {
        return None;
    }
    Some((HEAD + fields).next_multiple_of(8) + body)
}

/// A whole message; none when it is not one.
pub(super) fn read(bytes: &[u8]) -> Option<Message> {
    let kind = *bytes.get(1)?;
    let mut reader = Reader { bytes, at: 12 };
    let end = HEAD.checked_add(usize::try_from(reader.number()?).ok()?)?;
    let (mut member, mut error, mut answers, mut holds) = ("", "", 0, "");
    while reader.at < end {
        reader.align(8);
        let code = reader.byte()?;
        match (code, reader.signature()?) {
            (3, "s") => member = reader.text()?,
            (4, "s") => error = reader.text()?,
            (5, "u") => answers = reader.number()?,
            (8, "g") => holds = reader.signature()?,
            (_, "s" | "o") => drop(reader.text()?),
            (_, "u") => drop(reader.number()?),
            (_, "g") => drop(reader.signature()?),
            _ => return None,
        }
    }
    reader.at = end;
    reader.align(8);
    match (kind, member, holds) {
        (REPLY, _, "o") if answers == SERIAL => {
            Some(Message::Reply { first: reader.text()?.to_owned() })
        }
        (REPLY, _, "") if answers == SERIAL => Some(Message::Reply { first: String::new() }),
        (ERROR, ..) if answers == SERIAL => {
            let first = if holds.starts_with('s') { reader.text()? } else { "" };
            Some(Message::Error { name: error.to_owned(), first: first.to_owned() })
        }
        (SIGNAL, "JobRemoved", "uoss") => {
            reader.number()?;
            let job = reader.text()?.to_owned();
            reader.text()?;
            Some(Message::JobRemoved { job, result: reader.text()?.to_owned() })
        }
        _ => Some(Message::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message as a manager writes it.
    fn message(kind: u8, fields: &[(u8, &str, &str)], body: &Writer) -> Vec<u8> {
        let mut message = Writer(vec![b'l', kind, 0, 1]);
        message.number(size(body.0.len()));
        message.number(9);
        message.array(8, |message| {
            for (code, kind, value) in fields {
                message.align(8);
                message.0.push(*code);
                message.signature(kind);
                match *kind {
                    "g" => message.signature(value),
                    "u" => message.number(value.parse().unwrap()),
                    _ => message.text(value),
                }
            }
        });
        message.align(8);
        message.0.extend(&body.0);
        message.0
    }

    #[test]
    fn answers_and_signals_are_told_apart() {
        let mut body = Writer::default();
        body.text("/org/freedesktop/systemd1/job/7");
        let reply = message(REPLY, &[(5, "u", "1"), (8, "g", "o")], &body);
        assert_eq!(length(&reply[..HEAD]), Some(reply.len()));
        let first = "/org/freedesktop/systemd1/job/7".to_owned();
        assert_eq!(read(&reply), Some(Message::Reply { first }));
        let other = message(REPLY, &[(5, "u", "2"), (8, "g", "o")], &body);
        assert_eq!(read(&other), Some(Message::Other));

        let mut body = Writer::default();
        body.number(7);
        for text in ["/job/7", "a.scope", "done"] {
            body.text(text);
        }
        let fields = [(1, "o", "/x"), (2, "s", "i"), (3, "s", "JobRemoved"), (8, "g", "uoss")];
        let removed = Message::JobRemoved { job: "/job/7".to_owned(), result: "done".to_owned() };
        assert_eq!(read(&message(SIGNAL, &fields, &body)), Some(removed));
    }

    #[test]
    fn a_call_is_as_long_as_it_says() {
        let properties = [
            ("PIDs", Value::Numbers(vec![1, 2])),
            ("Delegate", Value::Flag(true)),
            ("CPUWeight", Value::Number(50)),
            ("Description", Value::Text("x".to_owned())),
        ];
        let call = start_transient_unit("bryo-0123.scope", &properties);
        assert_eq!(length(&call[..HEAD]), Some(call.len()));
        assert_eq!(read(&call), Some(Message::Other));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop((length(&bytes), read(&bytes)));
        }

        #[test]
        fn a_message_that_is_cut_or_changed_does_not_make_it_panic(cut in 0usize..120, at in 0usize..120, to: u8) {
            let mut body = Writer::default();
            body.text("/org/freedesktop/systemd1/job/7");
            let mut bytes = message(REPLY, &[(5, "u", "1"), (8, "g", "o")], &body);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = to;
            }
            bytes.truncate(cut);
            drop((length(&bytes), read(&bytes)));
        }
    }
}
