//! Whether a file that may hold secrets holds what looks like one.

use rustix::fs::{FileType, Mode, OFlags};

use crate::plan::facts::{Kind, Match};

use super::bounded::{SMALL, read_to_end};

/// What the name of a setting has in it whose value is a secret: `http.extraHeader`, `sendemail.smtpPass`.
const SECRET_KEYS: [&str; 4] = ["extraheader", "pass", "token", "secret"];

/// Whether the caller is told of a file. Every repository has `.git/config`, and most hold nothing: that one is
/// looked into. Where it cannot be, it is told.
pub(super) fn is_told(found: &Match) -> bool {
    let is_settings = found.path.as_bytes().ends_with(b"/.git/config");
    if !is_settings || found.kind != Kind::File {
        return true;
    }
    beginning(found).is_none_or(|text| holds_secret(&text))
}

/// All of a small regular file; none when it is something else by now, is larger, or cannot be read.
fn beginning(found: &Match) -> Option<String> {
    // Not waiting, should somebody have put a FIFO there.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(found.path.as_path(), flags | OFlags::NOFOLLOW, Mode::empty());
    let file = file.ok()?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file).ok()?.st_mode);
    if kind != FileType::RegularFile {
        return None;
    }
    let bytes = read_to_end(&file, SMALL).ok().filter(|bytes| bytes.len() <= SMALL)?;
    Some(String::from_utf8_lossy(&bytes).to_ascii_lowercase())
}

/// Whether git's settings, in lower case, hold a password: in a URL, or in a setting that is one.
fn holds_secret(text: &str) -> bool {
    has_login(text) || text.lines().any(is_secret_setting)
}

/// Whether a URL names who logs in: `https://user:password@host`, `https://token@host`. With ssh a name alone is no secret.
fn has_login(text: &str) -> bool {
    text.match_indices("://").any(|(at, separator)| {
        let rest = &text[at + separator.len()..];
        let is_end = |c: char| c.is_whitespace() || matches!(c, '/' | '"' | '?' | '#');
        let host = rest.split(is_end).next().unwrap_or_default();
        let login = host.rsplit_once('@').map(|(login, _)| login);
        let is_ssh = text[..at].ends_with("ssh");
        login.is_some_and(|login| !login.is_empty() && (!is_ssh || login.contains(':')))
    })
}

/// `key = value`, also after the head of its section; a helper for credentials can have the password in its command.
fn is_secret_setting(line: &str) -> bool {
    let line = line.trim_start();
    let line = line.strip_prefix('[').and_then(|head| head.split_once(']')).map_or(line, |x| x.1);
    let Some((key, value)) = line.split_once('=') else { return false };
    SECRET_KEYS.iter().any(|word| key.contains(word)) || value.contains("password=")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::HostPath;

    #[test]
    fn settings_with_a_password_are_told_and_those_without_are_not() {
        let plain = "[core]\n\tbare = false\n[remote \"origin\"]\n\turl = https://host/a/b@c\n\
                     \turl = git@host:me/it\n\turl = ssh://git@host/me/it\n\tfetch = +refs/*:refs/*\n\
                     [branch \"new-token\"]\n\tmerge = refs/heads/new-token\n[user]\n\temail = a@b\n";
        assert!(!holds_secret(plain));
        for secret in [
            "\turl = https://me:word@host/it",
            "\turl = https://ghp_0123@host/it",
            "\turl = ssh://me:word@host/it",
            "[url \"https://x-access-token:1@host/\"]\n\tinsteadof = https://host/",
            "[http \"https://host/\"]\n\textraheader = authorization: basic eA==",
            "[http] extraheader = x",
            "[sendemail]\n\tsmtppass = word",
            "[github]\n\ttoken = 0123",
            "[credential]\n\thelper = \"!f() { echo password=word; }; f\"",
        ] {
            assert!(holds_secret(&format!("{plain}{secret}\n")), "{secret}");
        }
    }

    #[test]
    fn what_cannot_be_looked_into_is_told_and_nobody_waits() {
        let dir = tempfile::tempdir().unwrap();
        let git = dir.path().join(".git");
        std::fs::create_dir(&git).unwrap();
        let path = git.join("config");
        let told = |name: &str| {
            let path = HostPath::new(git.join(name).to_str().unwrap()).unwrap();
            is_told(&Match { path, kind: Kind::File })
        };
        std::fs::write(&path, "[core]\n").unwrap();
        assert!(!told("config"), "the control");
        assert!(told("other"), "another file is told by its name");
        std::fs::write(&path, "#".repeat(SMALL + 1)).unwrap();
        assert!(told("config"), "too large");
        std::fs::remove_file(&path).unwrap();
        assert!(told("config"), "gone");
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(told("config"), "a link");
        std::fs::remove_file(&path).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, mode, 0).unwrap();
        assert!(told("config"), "a pipe without a writer");
    }
}
