//! Names of environment variables, and patterns of them.

use super::value::ValueError;

/// Whether a variable can have this name: what a POSIX shell takes.
pub fn is_variable_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A name of variables that may hold `*`.
pub fn check_variable_pattern(pattern: &str) -> Result<(), ValueError> {
    let letters = pattern.replace('*', "");
    if is_variable_name(&letters) || (letters.is_empty() && !pattern.is_empty()) {
        Ok(())
    } else {
        Err(ValueError::NotAVariable)
    }
}

/// Whether `pattern` matches a whole name; `*` stands for any run of bytes.
pub fn matches_variable(pattern: &[u8], name: &[u8]) -> bool {
    let mut parts = pattern.split(|byte| *byte == b'*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = find(rest, part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_any_run_within_a_variable_name() {
        let matches =
            |pattern: &str, name: &str| matches_variable(pattern.as_bytes(), name.as_bytes());
        assert!(matches("LC_*", "LC_ALL") && matches("LC_*", "LC_"));
        assert!(!matches("LC_*", "XLC_ALL") && !matches("LC", "LC_ALL"));
        assert!(matches("*_A_*", "X_A_Y") && !matches("*_A_*", "XAY"));
        assert!(matches("*", "") && matches("A*A", "AA") && !matches("A*A", "A"));
    }
}
