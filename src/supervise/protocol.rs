//! What a supervisor is asked over its socket, and what it answers.
//!
//! # Theory of operation
//! `SOCK_SEQPACKET`: one message each, [`LONGEST`] bytes at most. The first byte says what the rest is: JSON, or
//! input for the payload. Every request has one answer ([`Reply::Done`], [`Reply::Refused`], …) in the order of the
//! requests, and who asked for a wait, a stop or an attachment hears [`Reply::Ended`] once more when the sandbox is
//! over: its record is written and its lock is free by then. A connection that ends without it means that the
//! supervisor was killed: the record, after a sweep, says the rest.
//!
//! Output is not sent: it is in the log, which whoever may connect may read, at his own pace.
//!
//! # Decisions
//! - JSON, as orders are rare; a supervisor never blocks on a client and never keeps more for one than one message.
//! - Unknown words are refused, not passed over.

use serde::{Deserialize, Serialize};

use crate::state::log::Position;

/// Bytes of the longest message.
pub const LONGEST: usize = 16 << 10;

const JSON: u8 = b'J';
const INPUT: u8 = b'I';

/// What a supervisor is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Send the payload a signal.
    Signal {
        /// Which: 1 to 64.
        number: i32,
    },
    /// Ask the payload to end, and kill it when it does not.
    Stop {
        /// With which signal; the sandbox's own if none.
        signal: Option<i32>,
        /// Milliseconds until it is killed; the sandbox's own if none.
        timeout_ms: Option<u64>,
    },
    /// Say when it is over.
    Wait,
    /// Take input from this connection, and say when it is over.
    Attach,
    /// The payload's terminal has this size now.
    Resize {
        /// Lines.
        rows: u16,
        /// Characters in each.
        columns: u16,
    },
    /// Start one more program in it: an [`Offer`](super::offer::Offer) comes along of a file that holds an
    /// [`Entry`](crate::plan::entry::Entry), as JSON, and of what the program has at 0 to 2.
    Enter {
        /// Who watches over it.
        #[serde(default, skip_serializing_if = "Keeper::is_client")]
        keeper: Keeper,
    },
    /// Let none of its processes run.
    Pause,
    /// Let them run again.
    Unpause,
}

/// Who watches over a program that was started in a sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keeper {
    /// Who asked: it ends with him.
    #[default]
    Client,
    /// The supervisor: it ends with the sandbox. [`Reply::Done`] is the answer.
    Supervisor,
}

impl Keeper {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
    fn is_client(&self) -> bool {
        *self == Self::Client
    }
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reply {
    /// It is done, or begun.
    Done,
    /// It is not.
    Refused {
        /// Why, to follow `cannot …: `.
        why: String,
    },
    /// It is not: the sandbox is paused.
    Paused,
    /// It is not: the sandbox ended, and waits to be started again.
    Restarting,
    /// Attached.
    Attached {
        /// Whether the payload has a terminal.
        terminal: bool,
        /// Whether it takes input.
        input: bool,
        /// The file of the log in which what it writes from now on begins.
        log_file: u64,
        /// Bytes from the beginning of that.
        log_offset: u64,
    },
    /// A program was started: the process that entered comes along, its control socket, and the master of its
    /// terminal where it has one.
    Entered,
    /// None was.
    Failed {
        /// Why, in a line.
        text: String,
        /// What to do.
        hint: Option<String>,
        /// The status to end with.
        code: u8,
    },
    /// It is over.
    Ended {
        /// The status that `bryo run` would have ended with.
        code: u8,
    },
}

impl Reply {
    /// Where to read on after [`Reply::Attached`].
    pub(super) fn attached(terminal: bool, input: bool, log: Position) -> Self {
        Self::Attached { terminal, input, log_file: log.file, log_offset: log.offset }
    }
}

/// A message to a supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// A request.
    Request(Request),
    /// Input for the payload.
    Input(&'a [u8]),
}

impl<'a> Message<'a> {
    /// None for what means nothing.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&JSON, text) => serde_json::from_slice(text).ok().map(Self::Request),
            (&INPUT, input) => Some(Self::Input(input)),
            _ => None,
        }
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Request(request) => json(request),
            Self::Input(bytes) => [&[INPUT], *bytes].concat(),
        }
    }
}

impl Reply {
    /// None for what means nothing.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&JSON, text) => serde_json::from_slice(text).ok(),
            _ => None,
        }
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        json(self)
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Plain integers and text: nothing that JSON cannot hold.
    let text = serde_json::to_vec(value).unwrap_or_default();
    [&[JSON], text.as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_survive_the_wire_and_unknown_words_do_not() {
        for request in [
            Request::Signal { number: 15 },
            Request::Stop { signal: Some(2), timeout_ms: None },
            Request::Wait,
            Request::Attach,
            Request::Resize { rows: 24, columns: 80 },
            Request::Enter { keeper: Keeper::Client },
            Request::Enter { keeper: Keeper::Supervisor },
            Request::Pause,
            Request::Unpause,
        ] {
            let bytes = Message::Request(request.clone()).encode();
            assert_eq!(Message::decode(&bytes), Some(Message::Request(request)));
        }
        for reply in
            [Reply::Refused { why: "x".to_owned() }, Reply::Paused, Reply::Restarting, Reply::Done]
        {
            assert_eq!(Reply::decode(&reply.encode()), Some(reply));
        }
        assert_eq!(Message::decode(&Message::Input(b"\0x").encode()), Some(Message::Input(b"\0x")));
        for bad in
            ["", "J", "J{}", "Xabc", r#"J{"do":"fly"}"#, r#"J{"do":"signal","number":1,"more":1}"#]
        {
            assert_eq!(Message::decode(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            // What means something is said again in the same words.
            if let Some(message) = Message::decode(&bytes) {
                let again = message.encode();
                prop_assert_eq!(Message::decode(&again), Some(message));
            }
            if let Some(reply) = Reply::decode(&bytes) {
                prop_assert_eq!(Reply::decode(&reply.encode()), Some(reply));
            }
        }
    }
}
