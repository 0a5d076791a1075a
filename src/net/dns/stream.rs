//! DNS over a stream: each message after its length in two bytes.

/// A message with its length before it. None is longer than its length can say.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(message.iter().take(usize::from(length)));
    bytes
}

/// The first message, once all of it is there.
pub fn first(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

/// Gathers the messages of a client's stream.
#[derive(Debug, Default)]
pub struct Framer(Vec<u8>);

impl Framer {
    /// The messages that are complete with these bytes. What is kept is less than one message, 64 KiB.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.0.extend_from_slice(bytes);
        let mut messages = Vec::new();
        let mut used = 0;
        while let Some(message) = self.0.get(used..).and_then(first) {
            used += 2 + message.len();
            messages.push(message.to_vec());
        }
        self.0.drain(..used);
        messages
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_are_the_same_however_the_stream_is_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            cut in 1usize..50,
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();
            let mut framer = Framer::default();
            let read: Vec<_> = stream.chunks(cut).flat_map(|bytes| framer.feed(bytes)).collect();
            prop_assert_eq!(read, messages);
            prop_assert!(framer.0.is_empty());
        }
    }
}
