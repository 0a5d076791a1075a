//! `bryo generate systemd`: a sandbox as a service of the user's systemd.
//!
//! # Theory of operation
//! Bryo is the service's main process, in the foreground: it says when the payload is ready, hands over sockets,
//! and takes everything with it when it ends. systemd starts it again and keeps its output, so nothing of
//! `bryo run -d` is needed. It is asked to end by the signal that the payload is to have, alone
//! (`KillMode=mixed`): a signal for the whole group would reach init and the netstack too.
//!
//! # Decisions
//! - Every word of the command is written so that systemd reads back its very bytes: `%` begins a specifier, `$` a
//!   variable, and what is not printable ASCII is written as `\xNN`. Text that is not UTF-8 is refused: systemd
//!   252 would run it, and could not show the unit any more, which it does over D-Bus.
//! - A payload that ends by the signal that it was sent ended well, as any service does; bryo tells of it by an
//!   exit status.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use crate::plan::needs;
use crate::report::Explain;
use crate::spec::text::escape;
use crate::spec::{HostPath, Spec, StopOrder, Text};
use crate::sys::signal::SignalNumber;

/// The longest line that systemd reads.
const LONGEST_LINE: usize = 1 << 20;

/// Signals by which a service ends well, as systemd.service(5) has it.
const CLEAN: [SignalNumber; 4] =
    [SignalNumber::HUP, SignalNumber::INT, SignalNumber::PIPE, SignalNumber::TERM];

/// What a unit says.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Its name without `.service`.
    pub stem: String,
    /// What it runs, for people.
    pub about: Text,
    /// Where it starts, if that matters.
    pub workdir: Option<HostPath>,
    /// Where sandboxes are, if not at the usual place.
    pub store: Option<Text>,
    /// Program and arguments.
    pub words: Vec<Text>,
    /// Whether systemd is told that it is ready.
    pub notifies: bool,
    /// Whether it makes control groups.
    pub delegate: bool,
    /// As systemd's `Restart=`.
    pub restart: &'static str,
    /// How it is asked to end.
    pub stop: StopOrder,
    /// How often systemd must hear of it, if that is wanted.
    pub watchdog: Option<Duration>,
}

/// Why there is no unit.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// Bytes that have no form in a unit.
    #[error("cannot write `{0}` into a unit of systemd: it takes no such characters there")]
    Inexpressible(Text),
    /// A line that systemd would not read.
    #[error("cannot write the command into a unit of systemd: it takes a line of more than 1 MiB")]
    TooLong,
    /// The file.
    #[error("cannot write `{0}`")]
    Write(String, #[source] std::io::Error),
}

impl Explain for GenerateError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Inexpressible(_) => Some(
                "go to a directory with a plainer name; put such arguments into a script"
                    .to_owned(),
            ),
            Self::TooLong => Some("put the command into a script".to_owned()),
            Self::Write(name, error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Some(format!("remove `{name}` first, or give another --name"))
            }
            Self::Write(..) => None,
        }
    }
}

impl Unit {
    /// The unit file.
    pub fn text(&self) -> Result<String, GenerateError> {
        let mut text = format!(
            "# {}.service, made by bryo {}\n[Unit]\nDescription=Sandbox of bryo: `{}`\n\n[Service]\nType={}\n",
            self.stem,
            env!("CARGO_PKG_VERSION"),
            escape(self.about.as_bytes()).replace('%', "%%"),
            if self.notifies { "notify\nNotifyAccess=main" } else { "exec" },
        );
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            // Writing to a string cannot fail.
            writeln!(text, "{name}={value}").unwrap_or_default();
        };
        if let Some(workdir) = &self.workdir {
            line("WorkingDirectory", &plain_path(workdir)?);
        }
        if let Some(store) = &self.store {
            let store = [b"BRYO_STORE=", store.as_bytes()].concat();
            line("Environment", &quoted(&store, Dollar::IsPlain)?);
        }
        line("ExecStart", &self.command()?);
        let signal = self.stop.signal.and_then(SignalNumber::new);
        line("KillMode", &"mixed");
        if let Some(signal) = signal {
            line("KillSignal", &signal.raw());
        }
        // 0 would be for ever.
        let patience = self.stop.patience().as_millis().max(1);
        line("TimeoutStopSec", &format_args!("{patience}ms"));
        let clean = CLEAN.into_iter().chain(signal).map(|signal| (128 + signal.raw()).to_string());
        line("SuccessExitStatus", &clean.collect::<Vec<_>>().join(" "));
        line("Restart", &self.restart);
        if let Some(often) = self.watchdog {
            line("WatchdogSec", &format_args!("{}ms", often.as_millis().max(1)));
        }
        if self.delegate {
            line("Delegate", &"yes");
        }
        text.push_str("\n[Install]\nWantedBy=default.target\n");
        Ok(text)
    }

    fn command(&self) -> Result<String, GenerateError> {
        let words: Result<Vec<String>, GenerateError> =
            self.words.iter().map(|word| quoted(word.as_bytes(), Dollar::IsDoubled)).collect();
        let command = words?.join(" ");
        if command.len() < LONGEST_LINE - 64 { Ok(command) } else { Err(GenerateError::TooLong) }
    }

    /// Writes it into a directory where no such file is; its name.
    pub fn write(&self, directory: &Path) -> Result<String, GenerateError> {
        let (name, text) = (format!("{}.service", self.stem), self.text()?);
        let failed = |error| GenerateError::Write(name.clone(), error);
        // It may have a variable in it that is nobody else's business.
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(directory.join(&name));
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)?;
        Ok(name)
    }
}

/// Whether a run makes a control group.
pub fn makes_a_group(spec: &Spec) -> bool {
    needs(spec).groups
}

/// What `$` is in a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dollar {
    IsDoubled,
    IsPlain,
}

/// A word as systemd.syntax(7) and systemd.service(5) quote it.
fn quoted(word: &[u8], dollar: Dollar) -> Result<String, GenerateError> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./:=,+-".contains(byte);
    // At the beginning of a program these would mean something.
    let begins = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'/' || *byte == b'-';
    if word.first().is_some_and(begins) && word.iter().all(is_plain) {
        return Ok(String::from_utf8_lossy(word).into_owned());
    }
    if word.contains(&0) || std::str::from_utf8(word).is_err() {
        return Err(GenerateError::Inexpressible(OsStr::from_bytes(word).into()));
    }
    let mut text = String::from("\"");
    for byte in word {
        match byte {
            b'%' => text.push_str("%%"),
            b'$' if dollar == Dollar::IsDoubled => text.push_str("$$"),
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => write!(text, "\\x{byte:02x}").unwrap_or_default(),
        }
    }
    text.push('"');
    Ok(text)
}

/// A path where systemd takes the rest of the line as it stands.
fn plain_path(path: &HostPath) -> Result<String, GenerateError> {
    let refused =
        || GenerateError::Inexpressible(Text::from(path.as_path().as_os_str().to_owned()));
    let text = std::str::from_utf8(path.as_bytes()).map_err(|_| refused())?;
    let ends_well = text.trim() == text && !text.ends_with('\\');
    if text.chars().any(char::is_control) || !ends_well {
        return Err(refused());
    }
    Ok(text.replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit() -> Unit {
        Unit {
            stem: "bryo-web".to_owned(),
            about: "a 100% \x1b[31m program".into(),
            workdir: Some(HostPath::new("/home/al/50% of it").unwrap()),
            store: Some("/sto re/$x".into()),
            words: ["/usr/bin/bryo", "run", "--", "sh", "-c", "echo $HOME \"%h\"\n", ";", ""]
                .map(Text::from)
                .into(),
            notifies: true,
            delegate: true,
            restart: "on-failure",
            stop: StopOrder { signal: Some(10), timeout: Some(Duration::from_millis(2500)) },
            watchdog: Some(Duration::from_secs(20)),
        }
    }

    #[test]
    fn a_unit_reads_so() {
        insta::assert_snapshot!(unit().text().unwrap(), @r#"
        # bryo-web.service, made by bryo 0.1.0
        [Unit]
        Description=Sandbox of bryo: `a 100%% \u{1b}[31m program`

        [Service]
        Type=notify
        NotifyAccess=main
        WorkingDirectory=/home/al/50%% of it
        Environment="BRYO_STORE=/sto re/$x"
        ExecStart=/usr/bin/bryo run -- sh -c "echo $$HOME \"%%h\"\x0a" ";" ""
        KillMode=mixed
        KillSignal=10
        TimeoutStopSec=2500ms
        SuccessExitStatus=129 130 141 143 138
        Restart=on-failure
        WatchdogSec=20000ms
        Delegate=yes

        [Install]
        WantedBy=default.target
        "#);
    }

    #[test]
    fn every_character_but_none_has_a_form() {
        for byte in 1..=127u8 {
            let text = quoted(&[b'a', byte, b'z'], Dollar::IsDoubled).unwrap();
            assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{byte}: {text}");
        }
        for bad in [&b"a\0"[..], b"a\xff"] {
            let refused = quoted(bad, Dollar::IsDoubled);
            assert!(matches!(refused, Err(GenerateError::Inexpressible(_))));
        }
        assert_eq!(quoted("é".as_bytes(), Dollar::IsPlain).unwrap(), r#""\xc3\xa9""#);
        for (word, expected) in [
            (&b"--flag=/a"[..], "--flag=/a"),
            (b"@x", "\"@x\""),
            (b"+x", "\"+x\""),
            (b"", "\"\""),
            (b"$$", "\"$$$$\""),
            (b"a'b\\", "\"a'b\\\\\""),
        ] {
            assert_eq!(quoted(word, Dollar::IsDoubled).unwrap(), expected);
        }
        assert_eq!(quoted(b"A=$x", Dollar::IsPlain).unwrap(), "\"A=$x\"");
    }

    #[test]
    fn a_directory_that_no_line_can_name_is_refused() {
        for path in ["/a\nb", "/a ", "/a\\", "/\u{7f}"] {
            let path = HostPath::new(path).unwrap();
            assert!(plain_path(&path).is_err(), "{path}");
        }
        assert_eq!(plain_path(&HostPath::new("/a b/ü").unwrap()).unwrap(), "/a b/ü");
    }

    #[test]
    fn a_line_that_is_too_long_is_refused() {
        let long = "x".repeat(LONGEST_LINE);
        let unit = Unit { words: vec!["/bryo".into(), long.as_str().into()], ..unit() };
        assert!(matches!(unit.text(), Err(GenerateError::TooLong)));
    }

    #[test]
    fn a_file_that_is_there_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(unit().write(directory.path()).unwrap(), "bryo-web.service");
        std::fs::write(directory.path().join("bryo-web.service"), "mine").unwrap();
        let error = unit().write(directory.path()).unwrap_err();
        assert!(error.hint().unwrap().starts_with("remove"), "{error}");
        assert_eq!(std::fs::read(directory.path().join("bryo-web.service")).unwrap(), b"mine");
    }
}
