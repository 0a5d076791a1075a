//! What a program that connects networks says of itself.

use std::process::{Command, Stdio};

use crate::spec::HostPath;

use super::subid::output_of;

/// Longest version that is told.
const LONGEST: usize = 40;

/// Its version; none when it says none that can be read, or takes too long.
pub fn version(program: &HostPath) -> Option<String> {
    let mut command = Command::new(program.as_path());
    command.arg("--version").env_clear();
    command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
    parse_version(&output_of(&mut command)?)
}

/// `pasta 0.0~git20240101.abc`, `slirp4netns version 1.2.0`: the first word with a digit behind the name.
fn parse_version(output: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(output).ok()?;
    let mut words = text.lines().next()?.split_ascii_whitespace().skip(1);
    let plain = |c: char| c.is_ascii_alphanumeric() || ".~^+-_".contains(c);
    let is_version = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_digit())
            && word.len() <= LONGEST
            && word.chars().all(plain)
    };
    words.find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn a_version_is_read_from_what_the_program_prints() {
        let read = |text: &str| parse_version(text.as_bytes());
        let said = "slirp4netns version 1.2.0\ncommit: 65\nlibslirp: 4.7.0\n";
        assert_eq!(read(said).as_deref(), Some("1.2.0"));
        let said = "pasta 0.0~git20230309.7c7625d-1\nCopyright Red Hat\n";
        assert_eq!(read(said).as_deref(), Some("0.0~git20230309.7c7625d-1"));
        // Debian 12's own.
        assert_eq!(read("pasta unknown version\nCopyright Red Hat\n"), None);
        for rubbish in ["", "pasta", "pasta 1\u{1b}[2J", "pasta\n1.2"] {
            assert_eq!(read(rubbish), None, "{rubbish:?}");
        }
    }
}
