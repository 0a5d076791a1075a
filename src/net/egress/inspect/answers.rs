//! What the other side says, as far as it decides what becomes of the payload's bytes.

use super::tls::Server;

/// What is listened for.
#[derive(Debug, Default)]
pub(super) enum Answers {
    /// Nothing.
    #[default]
    Unseen,
    /// The answer to a greeting.
    Hello(Server),
}

/// What was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// A greeting was taken: there will be no other in the clear.
    Greeted,
}

impl Answers {
    /// Takes the next bytes, up to what decides something.
    pub(super) fn read(&mut self, rest: &mut &[u8]) -> Option<Said> {
        let bytes = std::mem::take(rest);
        match self {
            Self::Unseen => None,
            Self::Hello(server) => match server.feed(bytes) {
                Ok(false) => None,
                Ok(true) => Some(Said::Greeted),
                // Whoever answers something else is never trusted: what the payload says is followed to its end.
                Err(_) => {
                    *self = Self::Unseen;
                    None
                }
            },
        }
    }
}
