//! What the service manager hears: from us, and of the payload's words those that may be passed on.
//!
//! # Theory of operation
//! ```text
//! payload ──▶ /dev/notify in the sandbox ──▶ supervisor ──▶ $NOTIFY_SOCKET of the host
//!             whatever it likes              a few lines, written anew
//! ```
//! A service manager believes what its service says: `MAINPID=` makes it watch and kill another process,
//! `FDSTORE=` makes it keep descriptors. So the payload has no way to its socket, and nothing of a message is
//! passed on but lines that are known and say something of the payload alone; descriptors that came along are
//! closed unseen, which is also all that `BARRIER=1` waits for.
//!
//! # Decisions
//! - One message waits at most, and while it does the payload's are not read: what it sends then waits in the
//!   kernel, which has room for a few. So it is with more than [`MOST`] in a second.
//! - A watchdog that bryo answers itself says that the supervisor is well, and the payload where it is checked
//!   (`--health-cmd`).

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::spec::service::{Notify, Speaker};
use crate::spec::text::escape;
use crate::sys::errno::{Errno, Result};
use crate::sys::event::{Poller, Timer};
use crate::sys::socket;

/// Bytes of the longest message that is read; `sd_notify(3)` itself sends no longer ones.
const LONGEST: usize = 4096;
/// Bytes of the longest status, before it is escaped.
const LONGEST_STATUS: usize = 256;
/// Messages that are read in a second.
const MOST: u32 = 64;
/// The second.
const SPAN: Duration = Duration::from_secs(1);

/// What may be passed on as it is, in the order in which it is.
const KNOWN: [&str; 4] = ["RELOADING=1", "READY=1", "STOPPING=1", "WATCHDOG=1"];

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The payload said something.
    Heard,
    /// There is room for what waits.
    Room,
    /// It is time to say that all is well.
    Tick,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Voice {
    manager: OwnedFd,
    payload: Option<OwnedFd>,
    ticker: Option<Timer>,
    /// Nothing is said in place of the payload when it is ill.
    pub(super) is_well: bool,
    waiting: Option<String>,
    /// When the second began, and how many came in it.
    span: (Instant, u32),
}

impl Voice {
    /// To the manager; where bryo speaks it says at once that the payload was executed.
    pub(super) fn new(notify: &Notify, payload: Option<OwnedFd>) -> Result<Self> {
        let manager = socket::connect_datagrams(notify.socket.as_bytes())?;
        let mut voice = Self {
            manager,
            payload,
            ticker: None,
            is_well: true,
            waiting: None,
            span: (Instant::now(), 0),
        };
        if notify.speaker == Speaker::Bryo {
            if let Some(often) = notify.watchdog {
                let timer = Timer::new()?;
                // As `sd_watchdog_enabled(3)` advises.
                timer.set_interval(often / 2)?;
                voice.ticker = Some(timer);
            }
            voice.say("READY=1".to_owned())?;
        }
        Ok(voice)
    }

    /// How long the payload is not listened to; none when it is.
    pub(super) fn rest(&mut self) -> Option<Duration> {
        let (began, count) = self.span;
        if began.elapsed() >= SPAN {
            self.span = (Instant::now(), 0);
            return None;
        }
        (count >= MOST).then(|| SPAN.saturating_sub(began.elapsed()))
    }

    /// Adds what to wait for, under keys made by `key`.
    pub(super) fn register<'fd, K: Copy>(
        &'fd self,
        poller: &mut Poller<'fd, K>,
        key: impl Fn(Event) -> K,
    ) {
        if self.waiting.is_some() {
            poller.writable(key(Event::Room), self.manager.as_fd());
        } else if let Some(payload) = self.payload.as_ref().filter(|_| self.span.1 < MOST) {
            poller.readable(key(Event::Heard), payload.as_fd());
        }
        if let Some(ticker) = &self.ticker {
            poller.readable(key(Event::Tick), ticker.as_fd());
        }
    }

    /// Does what an event calls for.
    pub(super) fn handle(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Heard => self.hear(),
            Event::Room => {
                let waiting = self.waiting.take();
                waiting.map_or(Ok(()), |text| self.say(text))
            }
            Event::Tick => {
                self.ticker.as_ref().map_or(Ok(0), Timer::acknowledge)?;
                // What waits says more, and comes first.
                if self.waiting.is_some() || !self.is_well {
                    Ok(())
                } else {
                    self.say("WATCHDOG=1".to_owned())
                }
            }
        }
    }

    fn hear(&mut self) -> Result<()> {
        let Some(payload) = &self.payload else { return Ok(()) };
        let mut bytes = [0; LONGEST];
        let length = match socket::receive_datagram(payload, &mut bytes) {
            Err(Errno::EAGAIN) => return Ok(()),
            other => other?,
        };
        self.span.1 = self.span.1.saturating_add(1);
        // What was cut off is not guessed at.
        let text = bytes.get(..length).map(passed_on).unwrap_or_default();
        if text.is_empty() { Ok(()) } else { self.say(text) }
    }

    fn say(&mut self, text: String) -> Result<()> {
        match socket::send(&self.manager, text.as_bytes(), &[]) {
            Err(Errno::EAGAIN) => {
                self.waiting = Some(text);
                Ok(())
            }
            // It goes down, or is being started anew.
            Err(Errno::ECONNREFUSED | Errno::ENOTCONN | Errno::ECONNRESET | Errno::ENOENT) => {
                Ok(())
            }
            other => other,
        }
    }
}

/// What of a payload's message the manager may hear; empty when nothing.
fn passed_on(message: &[u8]) -> String {
    let lines = || message.split(|byte| *byte == b'\n');
    let mut said: Vec<String> = KNOWN
        .into_iter()
        .filter(|known| lines().any(|line| line == known.as_bytes()))
        .map(str::to_owned)
        .collect();
    if let Some(status) = lines().filter_map(|line| line.strip_prefix(b"STATUS=")).next_back() {
        let status = status.get(..LONGEST_STATUS).unwrap_or(status);
        said.push(format!("STATUS={}", harmless(status)));
    }
    said.join("\n")
}

/// Without what misleads a terminal or a reader. Not escaped: systemd 252 takes backslashes away.
fn harmless(status: &[u8]) -> String {
    let shown = |c: char| {
        if escape(c.encode_utf8(&mut [0; 4])).len() == c.len_utf8() { c } else { '\u{fffd}' }
    };
    String::from_utf8_lossy(status).chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Text;
    use proptest::prelude::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn only_what_is_known_is_passed_on() {
        for (said, passed) in [
            ("READY=1", "READY=1"),
            ("READY=1\nMAINPID=1\nSTATUS=up", "READY=1\nSTATUS=up"),
            ("MAINPID=1", ""),
            ("FDSTORE=1\nFDNAME=x\nFDPOLL=0", ""),
            ("BARRIER=1", ""),
            ("NOTIFYACCESS=all\nWATCHDOG_USEC=1\nEXTEND_TIMEOUT_USEC=99999999", ""),
            ("WATCHDOG=trigger", ""),
            ("WATCHDOG=1\n", "WATCHDOG=1"),
            ("READY=1\nREADY=1", "READY=1"),
            (" READY=1", ""),
            ("READY=1\0MAINPID=1", ""),
            ("STOPPING=1\nRELOADING=1\nREADY=0", "RELOADING=1\nSTOPPING=1"),
            ("STATUS=a\nSTATUS=\x1b[31mred\u{202e}", "STATUS=\u{fffd}[31mred\u{fffd}"),
            ("STATUS=a\rMAINPID=1", "STATUS=a\u{fffd}MAINPID=1"),
            ("", ""),
        ] {
            assert_eq!(passed_on(said.as_bytes()), passed, "{said:?}");
        }
        assert!(passed_on(&[b"STATUS=".as_slice(), &[0xff; 4000]].concat()).len() <= 7 + 4 * 256);
    }

    proptest! {
        #[test]
        fn whatever_is_said_no_other_line_comes_out(said in proptest::collection::vec(any::<u8>(), 0..300)) {
            for line in passed_on(&said).lines() {
                prop_assert!(KNOWN.contains(&line) || line.starts_with("STATUS="), "{line:?}");
            }
        }
    }

    /// A manager that reads, and a voice whose payload is `payload`.
    fn voiced(directory: &std::path::Path) -> (UnixDatagram, UnixDatagram, Voice) {
        let at = directory.join("manager");
        let manager = UnixDatagram::bind(&at).unwrap();
        manager.set_nonblocking(true).unwrap();
        let opened = std::fs::File::open(directory).unwrap();
        let inside = socket::bind_datagrams_at(&opened, "inside").unwrap();
        let payload = UnixDatagram::unbound().unwrap();
        payload.connect(directory.join("inside")).unwrap();
        payload.set_nonblocking(true).unwrap();
        let notify = Notify {
            socket: Text::from(at.into_os_string()),
            speaker: Speaker::Payload,
            watchdog: None,
        };
        (manager, payload, Voice::new(&notify, Some(inside)).unwrap())
    }

    fn heard(manager: &UnixDatagram) -> Option<String> {
        let mut bytes = [0; 9000];
        let length = manager.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    #[test]
    fn a_message_comes_out_of_the_other_end() {
        let directory = tempfile::tempdir().unwrap();
        let (manager, payload, mut voice) = voiced(directory.path());
        assert_eq!(heard(&manager), None, "the payload has to say that it is ready");
        payload.send(b"MAINPID=1\nREADY=1").unwrap();
        voice.handle(Event::Heard).unwrap();
        assert_eq!(heard(&manager).as_deref(), Some("READY=1"));
        // One that does not fit is none.
        payload.send(&[b"READY=1\n".as_slice(), &[b'x'; LONGEST]].concat()).unwrap();
        voice.handle(Event::Heard).unwrap();
        assert_eq!(heard(&manager), None);
    }

    #[test]
    fn nothing_is_said_for_a_payload_that_is_ill() {
        let directory = tempfile::tempdir().unwrap();
        let (manager, _payload, mut voice) = voiced(directory.path());
        voice.is_well = false;
        voice.handle(Event::Tick).unwrap();
        assert_eq!(heard(&manager), None);
        voice.is_well = true;
        voice.handle(Event::Tick).unwrap();
        assert_eq!(heard(&manager).as_deref(), Some("WATCHDOG=1"));
    }

    #[test]
    fn a_flood_is_bounded_in_each_second_and_loses_nothing_that_waits() {
        let directory = tempfile::tempdir().unwrap();
        let (manager, payload, mut voice) = voiced(directory.path());
        let (mut passed, began) = (0, Instant::now());
        while began.elapsed() < Duration::from_millis(500) {
            while payload.send(b"WATCHDOG=1").is_ok() {}
            voice.rest();
            let mut poller = Poller::new();
            voice.register(&mut poller, |event| event);
            for (event, _) in poller.wait(Some(Duration::from_millis(5))).unwrap() {
                voice.handle(event).unwrap();
            }
            passed += u32::from(heard(&manager).is_some());
        }
        assert!(passed > 0 && passed <= MOST, "{passed}");
    }

    #[test]
    fn what_the_manager_has_no_room_for_waits() {
        let directory = tempfile::tempdir().unwrap();
        let (manager, payload, mut voice) = voiced(directory.path());
        // As many as the kernel keeps, and one more.
        while voice.waiting.is_none() {
            voice.say("STATUS=x".to_owned()).unwrap();
        }
        payload.send(b"READY=1").unwrap();
        let mut last = None;
        for _ in 0..10_000 {
            let mut poller = Poller::new();
            voice.register(&mut poller, |event| event);
            for (event, _) in poller.wait(Some(Duration::ZERO)).unwrap() {
                voice.handle(event).unwrap();
            }
            last = heard(&manager).or(last);
            if last.as_deref() == Some("READY=1") {
                return;
            }
        }
        panic!("the last was {last:?}");
    }
}
