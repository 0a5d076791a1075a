//! What a connection says of itself: the name in TLS, the host of every HTTP request.
//!
//! # Theory of operation
//! [`Listener::feed`] sees the payload's bytes before anybody else. The first ones tell the protocol. Of TLS every
//! greeting is read until the server has taken one, which [`Listener::hear`] sees in its answer: the second one, which a
//! server may ask for, can name another host (see `tls`). What follows is not looked at. HTTP/1 is followed from request
//! to request, through all bodies, for each request names a host of its own. What a proxy is asked for must be
//! allowed as if it were dialled; once it has agreed to a `CONNECT`, everything begins anew. Behind a `WebSocket` that was
//! agreed to is nothing to look for. Whether something was agreed to, its answer says (see `answers`), and what the payload
//! sends before that is refused: a server that does not know `CONNECT` or `Upgrade` goes on with what it takes for requests.
//!
//! Whatever the pieces in which bytes come: the same stream is refused, or not.
//!
//! # Decisions
//! - HTTP/2 without TLS is refused: its names are compressed, and one connection serves many.
//! - What could still become a request is held, not passed: the wait for more does not let it through. Where protocols without
//!   names may pass, their first line goes on as it comes, for many wait for an answer before it ends, or have no lines; where
//!   it ends as a request's does, its end is held until its host is known, and before that no server answers. One that begins
//!   with no method is followed however long it is, of which no more than its last word is kept.
//! - Other protocols of an `Upgrade` pass where they would without one; HTTP/2 and TLS never, they name hosts of their own.
//!   `CONNECT` and `Upgrade` are the first of a connection, or follow one that was declined with an answer of a plain length.

mod answers;
mod head;
mod named;
mod protocol;
mod tls;

use super::policy::{Check, Other, Policy, Ruling, Service};
use super::reason::Reason;
use crate::spec::net::HostName;
use answers::{Answers, Said, Wanted};
use head::{Body, Head, Through, Upgrade, bare_newline, check_trailer, chunk_size, is_token, skip};
use named::check_name;
use protocol::{LastWord, NO_REQUEST, Protocol, protocol};
use tls::{Client, Server};

/// Longest head of a request.
const HEAD: usize = 32 * 1024;
/// Longest line before a chunk or after the last one.
const LINE: usize = 4096;

/// What is known after some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Too little: what came since the last [`Heard::Pass`] must wait.
    More,
    /// What came can go on.
    Pass,
    /// That, and all that follows.
    Trust,
    /// Nothing may go on.
    Refuse(Reason),
}

/// Follows one connection.
#[derive(Debug)]
pub struct Listener {
    service: Service,
    check: Check,
    state: State,
    /// What could not be read yet.
    held: Vec<u8>,
    /// How much of it holds no end of a head.
    scanned: usize,
    answers: Answers,
    said: Option<HostName>,
}

#[derive(Debug)]
enum State {
    /// The first bytes.
    First,
    /// The first line, of which the begin is let go: no method stands there.
    Line(LastWord),
    Tls(Client),
    Head,
    /// Until a tunnel to there, or another protocol, was agreed to or not.
    Asked(Option<(Service, Check)>),
    Body(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailer,
}

/// What one step made of what is held.
enum Step {
    /// Look again.
    Go,
    /// There is not enough.
    Wait,
    /// Nothing more needs to be seen.
    Trust,
}

impl Listener {
    /// For a flow to `service` that must say what `check` wants.
    pub fn new(service: Service, check: Check) -> Self {
        let held = Vec::new();
        let (state, answers) = (State::First, Answers::default());
        Self { service, check, state, held, scanned: 0, answers, said: None }
    }

    /// The name that was said last.
    pub fn said(&self) -> Option<&HostName> {
        self.said.as_ref()
    }

    /// The next bytes.
    pub fn feed(&mut self, policy: &Policy, bytes: &[u8]) -> Heard {
        let length = bytes.len() as u64;
        match &mut self.state {
            _ if self.check == Check::Nothing => return Heard::Trust,
            State::Body(left) | State::Chunk(left) if self.held.is_empty() && *left > length => {
                *left -= length;
                return Heard::Pass;
            }
            _ => self.held.extend_from_slice(bytes),
        }
        self.judge_held(policy)
    }

    /// The next bytes of the other side: what becomes of the payload's, where that changes it.
    pub fn hear(&mut self, policy: &Policy, bytes: &[u8]) -> Option<Heard> {
        let (mut rest, mut is_new) = (bytes, false);
        while let Some(said) = self.answers.read(&mut rest) {
            is_new = true;
            self.state = match (said, &self.state) {
                (Said::Greeted, _) | (Said::Agreed, State::Asked(None)) => {
                    return Some(Heard::Trust);
                }
                (Said::Agreed, State::Asked(Some((service, check)))) => {
                    (self.service, self.check) = (*service, *check);
                    State::First
                }
                _ => State::Head,
            };
        }
        is_new.then(|| match self.check {
            Check::Nothing => Heard::Trust,
            _ => self.judge_held(policy),
        })
    }

    fn judge_held(&mut self, policy: &Policy) -> Heard {
        loop {
            match self.step(policy) {
                Ok(Step::Go) => {}
                Ok(Step::Trust) => return Heard::Trust,
                Ok(Step::Wait) => return if self.holds() { Heard::More } else { Heard::Pass },
                Err(reason) => return Heard::Refuse(reason),
            }
        }
    }

    /// Whether what came must wait. Parts of a line between chunks need not: they ask for nothing.
    fn holds(&self) -> bool {
        match &self.state {
            State::Tls(client) => client.holds(),
            State::First => match protocol(&self.held) {
                Some(Protocol::Line(line)) if self.passes_others() => line.is_request,
                _ => !self.held.is_empty(),
            },
            State::Line(word) => word.is_version(),
            State::Head => !self.held.is_empty(),
            State::Asked(_)
            | State::Body(_)
            | State::ChunkSize
            | State::Chunk(_)
            | State::ChunkEnd
            | State::Trailer => false,
        }
    }

    /// Nothing more comes.
    pub fn end(&self) -> Heard {
        if self.holds() { Heard::Refuse(Reason::TooLate) } else { Heard::Pass }
    }

    fn step(&mut self, policy: &Policy) -> Result<Step, Reason> {
        match &mut self.state {
            State::First => self.first(),
            State::Line(word) => match word.read(&std::mem::take(&mut self.held)) {
                false => Ok(Step::Wait),
                true if word.is_version() => Err(Reason::Ambiguous(NO_REQUEST)),
                true => Ok(Step::Trust),
            },
            State::Tls(client) => {
                let bytes = std::mem::take(&mut self.held);
                let mut rest = bytes.as_slice();
                while let Some(greeting) = client.feed(&mut rest)? {
                    self.answers = Answers::Hello(Server::default());
                    check_name(policy, (self.service, self.check), greeting.name, &mut self.said)?;
                }
                Ok(Step::Wait)
            }
            State::Head => self.head(policy),
            State::Asked(_) if self.held.is_empty() => Ok(Step::Wait),
            State::Asked(_) => Err(Reason::Ambiguous("bytes behind what was not agreed to yet")),
            State::Body(left) => {
                let left = skip(&mut self.held, *left);
                self.state = if left == 0 { State::Head } else { State::Body(left) };
                Ok(if left == 0 && !self.held.is_empty() { Step::Go } else { Step::Wait })
            }
            State::Chunk(left) => {
                let left = skip(&mut self.held, *left);
                self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                Ok(if left == 0 { Step::Go } else { Step::Wait })
            }
            State::ChunkEnd => {
                let wrong = Err(Reason::Ambiguous("the end of a chunk"));
                self.line()?.map_or(Ok(Step::Wait), |line| {
                    if line.is_empty() { Ok(self.then(State::ChunkSize)) } else { wrong }
                })
            }
            State::ChunkSize => match self.line()? {
                None => Ok(Step::Wait),
                Some(line) => match chunk_size(&line)? {
                    0 => Ok(self.then(State::Trailer)),
                    size => Ok(self.then(State::Chunk(size))),
                },
            },
            State::Trailer => match self.line()? {
                None => Ok(Step::Wait),
                Some(line) if line.is_empty() => Ok(self.then(State::Head)),
                Some(line) => check_trailer(&line).map(|()| Step::Go),
            },
        }
    }

    fn then(&mut self, state: State) -> Step {
        self.state = state;
        Step::Go
    }

    /// Tells the protocol by the first bytes.
    fn first(&mut self) -> Result<Step, Reason> {
        let passes = self.passes_others();
        match protocol(&self.held) {
            None => Ok(Step::Wait),
            Some(Protocol::Long) => Err(Reason::TooLate),
            Some(Protocol::Line(line)) if line.has_method || passes => Ok(Step::Wait),
            Some(Protocol::Tls) => Ok(self.then(State::Tls(Client::default()))),
            Some(Protocol::Http) if self.service == Service::Tcp(443) && self.must_name() => {
                Err(Reason::NoProtocol)
            }
            Some(Protocol::Http) => Ok(self.then(State::Head)),
            Some(Protocol::Twofold(why)) => Err(Reason::Ambiguous(why)),
            Some(Protocol::Endless) if passes => Ok(self.then(State::Line(LastWord::default()))),
            Some(Protocol::Other) if passes => Ok(Step::Trust),
            Some(Protocol::Other | Protocol::Endless | Protocol::Line(_)) => {
                Err(Reason::NoProtocol)
            }
        }
    }

    /// Whether protocols may pass in which no name is found.
    fn passes_others(&self) -> bool {
        self.check != (Check::Names { other: Other::Refused })
    }

    fn must_name(&self) -> bool {
        matches!(self.check, Check::Names { .. })
    }

    /// Reads a head, once it is whole.
    fn head(&mut self, policy: &Policy) -> Result<Step, Reason> {
        // Empty lines before a request belong to nothing (RFC 9112 section 2.2).
        while self.held.starts_with(b"\r\n") {
            self.held.drain(..2);
            self.scanned = 0;
        }
        if b"PRI * HTTP/2.0".starts_with(self.held.get(..14).unwrap_or(&self.held)) {
            let whole = self.held.len() >= 14;
            return if whole { Err(Reason::Http2) } else { Ok(Step::Wait) };
        }
        // What is no request is not waited for.
        if self.held.first().is_some_and(|byte| !is_token(*byte) && *byte != b'\r') {
            return Err(Reason::Ambiguous("the first line of a request"));
        }
        let from = self.scanned.saturating_sub(3);
        let end = self.held[from..].windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end.map(|end| from + end) else {
            self.scanned = self.held.len();
            bare_newline(&self.held)?;
            let long = self.held.len() > HEAD;
            return if long { Err(Reason::TooLate) } else { Ok(Step::Wait) };
        };
        if end > HEAD {
            return Err(Reason::TooLate);
        }
        let head = Head::read(&self.held[..end])?;
        self.held.drain(..end + 4);
        self.scanned = 0;
        self.judge(policy, &head)?;
        let is_even = matches!(self.answers, Answers::Even);
        self.answers = Answers::Unseen;
        match (&head.through, head.body) {
            (Some(Through::Connection(_)), _) if !is_even => {
                Err(Reason::Ambiguous("a tunnel behind other requests"))
            }
            (Some(Through::Connection(to)), _) => {
                let tunnel = Self::tunnel(policy, to)?;
                Ok(self.ask(Wanted::Tunnel, Some(tunnel)))
            }
            _ if is_even && head.upgrade.is_some_and(|to| self.may_become(to)) => {
                Ok(self.ask(Wanted::Protocol, None))
            }
            (_, Body::Bytes(length)) => {
                self.state = if length == 0 { State::Head } else { State::Body(length) };
                Ok(if self.held.is_empty() { Step::Wait } else { Step::Go })
            }
            (_, Body::Chunked) => Ok(self.then(State::ChunkSize)),
        }
    }

    /// What follows has to wait for the answer.
    fn ask(&mut self, wanted: Wanted, tunnel: Option<(Service, Check)>) -> Step {
        self.answers = Answers::Head(wanted, Vec::new());
        self.then(State::Asked(tunnel))
    }

    /// Whether another protocol may take over. What is unknown passes where it does without HTTP before it.
    fn may_become(&self, to: Upgrade) -> bool {
        to == Upgrade::WebSocket || self.passes_others()
    }

    /// The next line of what is held, without its end.
    fn line(&mut self) -> Result<Option<Vec<u8>>, Reason> {
        let Some(end) = self.held.iter().position(|byte| *byte == b'\n') else {
            let long = self.held.len() > LINE;
            return if long { Err(Reason::TooLate) } else { Ok(None) };
        };
        let line: Vec<u8> = self.held.drain(..=end).collect();
        match line.strip_suffix(b"\r\n") {
            Some(line) if line.len() <= LINE && !line.contains(&b'\r') => Ok(Some(line.to_vec())),
            _ => Err(Reason::Ambiguous("a line within a body")),
        }
    }
}

#[cfg(test)]
mod tests;
