//! What the processes of one run say to each other: fixed-size messages over one `SOCK_SEQPACKET` pair.
//!
//! # Theory of operation
//! The launcher holds one end; the sandbox process, then init and (until its exec) the payload's
//! process hold the other. Both ends hold the same plan, so a failure is a step's number and an
//! errno. A message is [`SIZE`] bytes; decoding is total: an unknown tag, a value out of range or a
//! non-zero byte where nothing belongs is [`Malformed`], never a panic. Whoever receives one treats
//! the run as broken and ends it.
//!
//! Descriptors travel beside a message only where the message says so.

/// Bytes of every message.
pub const SIZE: usize = 128;

/// Bytes of a failure's note.
pub const NOTE: usize = 112;

/// From sandbox, init, or the payload's process to the launcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromSandbox {
    /// A step failed; the sender exits.
    Failed {
        /// Its index in the plan.
        step: u16,
        /// The errno.
        errno: i32,
        /// What the kernel said besides, often empty.
        note: Note,
    },
    /// A step was done and there is something to know about it.
    Detail {
        /// Its index.
        step: u16,
        /// Meaning by step.
        value: u64,
    },
    /// Every step of the sandbox stage was done; its network namespace comes along, when that is a new one.
    Rooted,
    /// The pty's master comes with this message.
    Pty,
    /// The overlay of this step is mounted and wants its server; descriptors come along, in the order
    /// that `launch::fuse` documents.
    FuseWanted {
        /// Its index.
        step: u16,
    },
    /// The netstack's end of this step's interface comes with this message.
    Link {
        /// Its index.
        step: u16,
    },
    /// The end of the socket that the supervisor reads comes with this message.
    Notify,
    /// What holds layers while the run lasts comes with this message.
    Held,
    /// Init is confined and waits for orders.
    InitReady,
    /// The payload's process did every step but the exec; its listener comes along if `listener`.
    Confined {
        /// Whether a descriptor comes along.
        listener: bool,
    },
    /// The payload was stopped by a signal.
    Stopped {
        /// Which.
        signal: u8,
    },
    /// The payload ended.
    Exited {
        /// Its status.
        code: u8,
    },
    /// The payload was killed.
    Killed {
        /// By which signal.
        signal: u8,
    },
}

/// From the launcher to the sandbox process, then init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToSandbox {
    /// The id maps are written: begin.
    Go,
    /// The run's record is written: the payload may be forked.
    Recorded,
    /// Send the payload a signal.
    Signal {
        /// Which: 1 to 64.
        signal: u8,
    },
    /// Continue the payload's process group.
    Continue,
    /// Give the pty's foreground to the group that had it before [`Self::Background`], to the payload's
    /// at first, and continue the payload's.
    Foreground,
    /// The payload has ended; to init, where there is a control group: end, nobody needs to look at it any more.
    Finish,
    /// Take the pty's foreground away: whoever reads it is stopped by SIGTTIN, as in the background of
    /// any terminal.
    Background,
}

/// A message that means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot read a message between bryo's own processes: it means nothing")]
pub struct Malformed;

/// Some bytes of text, zero-padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note([u8; NOTE]);

impl Note {
    /// The first [`NOTE`] bytes of `text`; bytes 0 end it.
    pub fn new(text: &[u8]) -> Self {
        let mut note = [0; NOTE];
        for (to, from) in note.iter_mut().zip(text.iter().take_while(|byte| **byte != 0)) {
            *to = *from;
        }
        Self(note)
    }

    /// The text without its padding.
    pub fn text(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

type Frame = [u8; SIZE];

/// Writes fields one after the other.
struct Writer {
    frame: Frame,
    at: usize,
}

impl Writer {
    fn tag(tag: u8) -> Self {
        Self { frame: [0; SIZE], at: 0 }.bytes(&[tag])
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        for (to, from) in self.frame.iter_mut().skip(self.at).zip(bytes) {
            *to = *from;
        }
        self.at += bytes.len();
        self
    }
}

/// Reads fields one after the other; [`Reader::end`] insists that nothing follows.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    fn step(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn signal(&mut self) -> Result<u8, Malformed> {
        self.u8()
            .and_then(|signal| if (1..=64).contains(&signal) { Ok(signal) } else { Err(Malformed) })
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    fn note(&mut self) -> Result<Note, Malformed> {
        let note = Note(self.array()?);
        if Note::new(&note.0) == note { Ok(note) } else { Err(Malformed) }
    }

    fn end<T>(&self, message: T) -> Result<T, Malformed> {
        if self.0.iter().all(|byte| *byte == 0) { Ok(message) } else { Err(Malformed) }
    }
}

impl FromSandbox {
    /// The message as bytes.
    pub fn encode(&self) -> Frame {
        match self {
            Self::Failed { step, errno, note } => {
                Writer::tag(1).bytes(&step.to_le_bytes()).bytes(&errno.to_le_bytes()).bytes(&note.0)
            }
            Self::Detail { step, value } => {
                Writer::tag(2).bytes(&step.to_le_bytes()).bytes(&value.to_le_bytes())
            }
            Self::Rooted => Writer::tag(3),
            Self::Pty => Writer::tag(4),
            Self::FuseWanted { step } => Writer::tag(5).bytes(&step.to_le_bytes()),
            Self::InitReady => Writer::tag(6),
            Self::Confined { listener } => Writer::tag(7).bytes(&[u8::from(*listener)]),
            Self::Stopped { signal } => Writer::tag(8).bytes(&[*signal]),
            Self::Exited { code } => Writer::tag(9).bytes(&[*code]),
            Self::Killed { signal } => Writer::tag(10).bytes(&[*signal]),
            Self::Link { step } => Writer::tag(11).bytes(&step.to_le_bytes()),
            Self::Notify => Writer::tag(12),
            Self::Held => Writer::tag(13),
        }
        .frame
    }

    /// The message in `bytes`, which are exactly one message.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() != SIZE {
            return Err(Malformed);
        }
        let mut reader = Reader(bytes);
        let message = match reader.u8()? {
            1 => Self::Failed {
                step: reader.step()?,
                errno: i32::from_le_bytes(reader.array()?),
                note: reader.note()?,
            },
            2 => Self::Detail { step: reader.step()?, value: u64::from_le_bytes(reader.array()?) },
            3 => Self::Rooted,
            4 => Self::Pty,
            5 => Self::FuseWanted { step: reader.step()? },
            6 => Self::InitReady,
            7 => Self::Confined { listener: reader.flag()? },
            8 => Self::Stopped { signal: reader.signal()? },
            9 => Self::Exited { code: reader.u8()? },
            10 => Self::Killed { signal: reader.signal()? },
            12 => Self::Notify,
            11 => Self::Link { step: reader.step()? },
            13 => Self::Held,
            _ => return Err(Malformed),
        };
        reader.end(message)
    }
}

impl ToSandbox {
    /// The message as bytes.
    pub fn encode(self) -> Frame {
        match self {
            Self::Go => Writer::tag(65),
            Self::Signal { signal } => Writer::tag(67).bytes(&[signal]),
            Self::Continue => Writer::tag(68),
            Self::Foreground => Writer::tag(69),
            Self::Background => Writer::tag(70),
            Self::Finish => Writer::tag(71),
            Self::Recorded => Writer::tag(72),
        }
        .frame
    }

    /// The message in `bytes`, which are exactly one message.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() != SIZE {
            return Err(Malformed);
        }
        let mut reader = Reader(bytes);
        let message = match reader.u8()? {
            65 => Self::Go,
            67 => Self::Signal { signal: reader.signal()? },
            68 => Self::Continue,
            69 => Self::Foreground,
            70 => Self::Background,
            71 => Self::Finish,
            72 => Self::Recorded,
            _ => return Err(Malformed),
        };
        reader.end(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn from_sandbox() -> impl Strategy<Value = FromSandbox> {
        prop_oneof![
            (any::<u16>(), any::<i32>(), proptest::collection::vec(any::<u8>(), 0..200)).prop_map(
                |(step, errno, note)| FromSandbox::Failed { step, errno, note: Note::new(&note) }
            ),
            (any::<u16>(), any::<u64>())
                .prop_map(|(step, value)| FromSandbox::Detail { step, value }),
            Just(FromSandbox::Rooted),
            Just(FromSandbox::Pty),
            any::<u16>().prop_map(|step| FromSandbox::FuseWanted { step }),
            any::<u16>().prop_map(|step| FromSandbox::Link { step }),
            Just(FromSandbox::InitReady),
            Just(FromSandbox::Held),
            any::<bool>().prop_map(|listener| FromSandbox::Confined { listener }),
            (1u8..=64).prop_map(|signal| FromSandbox::Stopped { signal }),
            any::<u8>().prop_map(|code| FromSandbox::Exited { code }),
            (1u8..=64).prop_map(|signal| FromSandbox::Killed { signal }),
        ]
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(message in from_sandbox()) {
            prop_assert_eq!(FromSandbox::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn what_decodes_encodes_to_the_same_bytes(tag in 0u8..80, rest in proptest::collection::vec(0u8..3, SIZE - 1)) {
            let bytes: Vec<u8> = std::iter::once(tag).chain(rest).collect();
            if let Ok(message) = FromSandbox::decode(&bytes) {
                prop_assert_eq!(message.encode().to_vec(), bytes.clone());
            }
            if let Ok(message) = ToSandbox::decode(&bytes) {
                prop_assert_eq!(message.encode().to_vec(), bytes);
            }
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(FromSandbox::decode(&bytes).is_err() || bytes.len() == SIZE);
            prop_assert!(ToSandbox::decode(&bytes).is_err() || bytes.len() == SIZE);
        }
    }

    #[test]
    fn orders_survive_the_wire() {
        for order in [
            ToSandbox::Go,
            ToSandbox::Signal { signal: 15 },
            ToSandbox::Continue,
            ToSandbox::Foreground,
            ToSandbox::Background,
            ToSandbox::Finish,
            ToSandbox::Recorded,
        ] {
            assert_eq!(ToSandbox::decode(&order.encode()), Ok(order));
        }
        let mut no_signal = ToSandbox::Signal { signal: 15 }.encode();
        no_signal[1] = 65;
        assert_eq!(ToSandbox::decode(&no_signal), Err(Malformed));
    }
}
