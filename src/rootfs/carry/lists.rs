//! Which access lists are copied: a tmpfs holds them in memory that it does not count.

/// How the names of the attributes begin that are access lists.
const LIST: &[u8] = b"system.posix_acl_";
/// Bytes of the longest that the filter `attributes` lets a payload set.
pub(in crate::rootfs) const SHORT_LIST: usize = 484;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    /// All.
    Any,
    /// Those that a payload could have set where they are copied to.
    Short,
}

impl Lists {
    /// Whether an attribute with a value of so many bytes is copied. What is no list is.
    pub(super) fn take(self, attribute: &[u8], length: usize) -> bool {
        self == Self::Any || !is_list(attribute) || length <= SHORT_LIST
    }
}

/// Whether an attribute is one.
pub(super) fn is_list(attribute: &[u8]) -> bool {
    attribute.starts_with(LIST)
}
