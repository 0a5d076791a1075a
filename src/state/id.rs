//! The name that bryo gives each sandbox: twelve random hexadecimal digits.

use std::fmt;

use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};

/// Digits of an id.
const DIGITS: usize = 12;

/// The id of a sandbox: twelve lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SandboxId([u8; DIGITS]);

/// Why some text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot take this as an id: it is not twelve lower-case hexadecimal digits")]
pub struct NoId;

impl SandboxId {
    /// A new one.
    pub fn random() -> rustix::io::Result<Self> {
        let mut bytes = [0_u8; DIGITS];
        // Fewer than 256 bytes come at once, and are not interrupted: getrandom(2).
        getrandom(&mut bytes, GetRandomFlags::empty())?;
        Ok(Self(bytes.map(|byte| b"0123456789abcdef"[usize::from(byte & 0xf)])))
    }

    /// Reads one.
    pub fn parse(text: &[u8]) -> Result<Self, NoId> {
        let digits: [u8; DIGITS] = text.try_into().map_err(|_| NoId)?;
        digits.iter().all(|d| is_digit(*d)).then_some(Self(digits)).ok_or(NoId)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        // Only ASCII digits are ever stored.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Whether `text` could be the beginning of an id.
pub(super) fn is_prefix(text: &[u8]) -> bool {
    !text.is_empty() && text.len() <= DIGITS && text.iter().all(|d| is_digit(*d))
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

impl fmt::Display for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for SandboxId {
    type Error = NoId;

    fn try_from(text: String) -> Result<Self, NoId> {
        Self::parse(text.as_bytes())
    }
}

impl From<SandboxId> for String {
    fn from(id: SandboxId) -> Self {
        id.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_twelve_lower_case_digits_and_nothing_else() {
        let id = SandboxId::random().unwrap();
        assert_eq!(SandboxId::parse(id.as_str().as_bytes()), Ok(id));
        for bad in
            ["", "0123456789a", "0123456789abc", "0123456789aB", "../../../etc", "0123456789a "]
        {
            assert_eq!(SandboxId::parse(bad.as_bytes()), Err(NoId), "{bad}");
        }
        assert_ne!(SandboxId::random().unwrap(), id);
    }
}
