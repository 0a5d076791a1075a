//! The name server of one sandbox: questions in, answers and questions to other servers out.
//!
//! # Theory of operation
//! The netstack hands in what the payload asks ([`Resolver::ask`]), what servers answer
//! ([`Resolver::receive`]) and the time ([`Resolver::tick`]), and carries out what
//! [`Resolver::action`] says. One look-up serves all who ask the same at the same time. A server that
//! does not answer in time, or cannot, is followed by the next; a datagram that did not fit, by TCP.
//!
//! # Decisions
//! - A name that no rule allows does not exist, and nobody is asked about it: labels are a way to send bytes.
//! - Each try is a new socket of the netstack, connected to one server, with a new id: who guesses must
//!   hit port and id within one try.
//! - Nothing of the question but its name and type is passed on: options of EDNS, bits, the case of letters
//!   are ways to send bytes too.
//! - Everything is bounded; what is too much is answered *server failure*, to whoever asks most.

mod attempts;
mod crowd;
mod host;
mod local;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use attempts::Attempts;

use super::answer::{Answer, EDNS_SIZE, LeftOut, Unusable, is_passed};
use super::cache::Cache;
use super::pins::Pins;
use super::stream::framed;
use super::wire::{Code, INTERNET, Question, Reader, WireName, edns, flag, kind};
use super::write::Writer;
use super::{Action, Client, Families, Over, RefusedName, Settings};
use crate::net::egress::policy::{Policy, Source};
use crate::spec::net::HostName;

/// Look-ups at a time.
const LOOKUPS: usize = 256;
/// Who waits for one of them.
const WAITING: usize = 64;
/// Refusals that are held until they are taken.
const REFUSED: usize = 256;
/// Servers that are asked, of those there are: as resolv.conf(5).
const SERVERS: usize = 3;
/// Tries for one look-up.
const TRIES: usize = 4;
/// Time for one try.
const DATAGRAM_TIME: Duration = Duration::from_secs(2);
const STREAM_TIME: Duration = Duration::from_secs(4);
/// Seconds that what is known without asking holds.
const LOCAL: u32 = 60;
/// Largest datagram to a client that says it takes so much: its link has no smaller packets.
const LARGEST: u16 = 4096;

/// One question on its way.
#[derive(Debug)]
struct Lookup {
    name: HostName,
    question: Question,
    waiting: Vec<Waiting>,
    id: u16,
    tries: usize,
    server: usize,
    over: Over,
    deadline: Instant,
    /// What came of a stream.
    received: Vec<u8>,
}

/// Who waits, and how the answer is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Waiting {
    client: Client,
    id: u16,
    question: Question,
    room: usize,
    edns: bool,
}

/// See the module.
pub struct Resolver {
    settings: Settings,
    /// Who is on the same network, by name.
    members: BTreeMap<HostName, Vec<IpAddr>>,
    pins: Pins,
    cache: Cache,
    lookups: HashMap<u64, Lookup>,
    numbers: u64,
    actions: VecDeque<Action>,
    refused: Vec<RefusedName>,
    attempts: Attempts,
    random: Box<dyn FnMut() -> u16>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("lookups", &self.lookups).finish_non_exhaustive()
    }
}

impl Resolver {
    /// `random` gives ids that nobody outside can guess.
    pub fn new(mut settings: Settings, random: Box<dyn FnMut() -> u16>) -> Self {
        settings.servers.truncate(SERVERS);
        Self {
            settings,
            members: BTreeMap::new(),
            pins: Pins::default(),
            cache: Cache::default(),
            lookups: HashMap::new(),
            numbers: 0,
            actions: VecDeque::new(),
            refused: Vec::new(),
            attempts: Attempts::default(),
            random,
        }
    }

    /// The next thing to do, if there is one.
    pub fn action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What was refused since this was asked last.
    pub fn take_refused(&mut self) -> Vec<RefusedName> {
        std::mem::take(&mut self.refused)
    }

    /// The names that an address was given for.
    pub fn names(&mut self, address: IpAddr, now: Instant) -> Vec<(HostName, Source)> {
        self.pins.names(address, now)
    }

    /// When [`Resolver::tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.lookups.values().map(|lookup| lookup.deadline).min()
    }

    /// A message of the payload: one datagram, or one message of a stream without its length. Whether there will be
    /// a reply.
    pub fn ask(&mut self, policy: &Policy, client: Client, message: &[u8], now: Instant) -> bool {
        let mut reader = Reader::new(message);
        let Some(header) = reader.header().filter(|header| header.flags & flag::RESPONSE == 0)
        else {
            return false;
        };
        let question = reader.question();
        let edns = question.as_ref().and_then(|_| edns(&mut reader, header.counts));
        let simple = |code: Code| {
            // Who asks looks whether it is what was asked.
            let asked = header.flags & (flag::OPCODE | flag::RECURSE);
            let flags = flag::RESPONSE | flag::RECURSES | asked | code as u16 & flag::CODE;
            let mut writer = Writer::new(header.id, flags);
            if let Some(question) = &question {
                writer.question(question);
            }
            if edns.is_some() {
                writer.edns_with(EDNS_SIZE, code);
            }
            writer.finish()
        };
        let refusal = match &question {
            _ if header.flags & flag::OPCODE != 0 => Some(Code::NotImp),
            _ if header.counts[0] != 1 => Some(Code::FormErr),
            None => Some(Code::FormErr),
            _ if edns.is_some_and(|edns| edns.version > 0) => Some(Code::BadVersion),
            Some(question) if question.class != INTERNET => Some(Code::Refused),
            Some(question) if kind::TRANSFERS.contains(&question.kind) => Some(Code::Refused),
            Some(question) if question.kind == kind::ANY => Some(Code::NotImp),
            Some(_) => None,
        };
        let (None, Some(question)) = (refusal, &question) else {
            self.send(client, simple(refusal.unwrap_or(Code::FormErr)));
            return true;
        };
        let room = match client.over {
            Over::Stream => usize::from(u16::MAX),
            Over::Datagram => edns.map_or(512, |edns| usize::from(edns.size.clamp(512, LARGEST))),
        };
        let waiting = Waiting {
            client,
            id: header.id,
            question: question.clone(),
            room,
            edns: edns.is_some(),
        };
        // Asked again before it was answered: there is one reply. Each datagram is a client of its own.
        let same = |lookup: &Lookup| lookup.waiting.contains(&waiting);
        if client.over == Over::Stream && self.lookups.values().any(same) {
            return false;
        }
        self.look_up(policy, waiting, now);
        true
    }

    fn look_up(&mut self, policy: &Policy, waiting: Waiting, now: Instant) {
        let question = &waiting.question;
        let Some(name) = question.name.to_host() else {
            return self.reply(&waiting, &Answer::nothing(Code::NxDomain, LOCAL), 0);
        };
        if let Some(answer) = self.local(policy, &name, &waiting, now) {
            return self.reply(&waiting, &answer, LOCAL);
        }
        if let Err(reason) = policy.answers(&name) {
            self.refuse_asked(policy, waiting.client.from, name, reason);
            return self.reply(&waiting, &Answer::nothing(Code::NxDomain, LOCAL), LOCAL);
        }
        if !is_passed(question.kind) || self.is_missing(question.kind) {
            return self.reply(&waiting, &Answer::nothing(Code::NoError, LOCAL), LOCAL);
        }
        if let Some((answer, ttl)) = self.cache.get(&name, question.kind, now) {
            return self.tell(&name, &waiting, &answer, ttl, now);
        }
        let same =
            |lookup: &&mut Lookup| lookup.name == name && lookup.question.kind == question.kind;
        if let Some(lookup) = self.lookups.values_mut().find(same) {
            if let Some(gone) = lookup.join(waiting) {
                self.give_up(&gone);
            }
            return;
        }
        if !self.settings.servers.is_empty() && self.has_room(waiting.client.from) {
            let question =
                Question { name: WireName::of(&name), kind: question.kind, class: INTERNET };
            let lookup = Lookup {
                name,
                question,
                waiting: vec![waiting],
                id: 0,
                tries: 0,
                server: 0,
                over: Over::Datagram,
                deadline: now,
                received: Vec::new(),
            };
            return self.send_lookup(lookup, now);
        }
        self.give_up(&waiting);
    }

    /// Whether addresses of this kind lead nowhere.
    fn is_missing(&self, kind: u16) -> bool {
        let Families { v4, v6 } = self.settings.families;
        kind == kind::A && !v4 || kind == kind::AAAA && !v6
    }

    fn send_lookup(&mut self, mut lookup: Lookup, now: Instant) {
        let Some(server) = self.settings.servers.get(lookup.server).copied() else {
            return self.fail(&lookup);
        };
        lookup.id = (self.random)();
        lookup.tries += 1;
        lookup.received.clear();
        let time = match lookup.over {
            Over::Datagram => DATAGRAM_TIME,
            Over::Stream => STREAM_TIME,
        };
        lookup.deadline = now + time;
        let mut writer = Writer::new(lookup.id, flag::RECURSE);
        writer.question(&lookup.question);
        writer.edns(EDNS_SIZE);
        let bytes = match lookup.over {
            Over::Datagram => writer.finish(),
            Over::Stream => framed(&writer.finish()),
        };
        self.numbers += 1;
        let (number, over) = (self.numbers, lookup.over);
        self.lookups.insert(number, lookup);
        self.actions.push_back(Action::Send { number, server, over, bytes });
    }

    /// What a server sent: one datagram, or the next bytes of a stream.
    pub fn receive(&mut self, policy: &Policy, number: u64, bytes: &[u8], now: Instant) {
        let Some(lookup) = self.lookups.get_mut(&number) else { return };
        let message = match lookup.over {
            Over::Datagram => bytes.to_vec(),
            Over::Stream => {
                lookup.received.extend_from_slice(bytes);
                match super::stream::first(&lookup.received) {
                    Some(message) => message.to_vec(),
                    None => return,
                }
            }
        };
        let mut left_out = Vec::new();
        let asked = (&lookup.name, policy);
        let read = Answer::read(&message, lookup.id, &lookup.question, asked, &mut left_out);
        match read {
            // Somebody else's datagram; on a stream there is nobody else.
            Err(Unusable::NotOurs) if lookup.over == Over::Datagram => {}
            read => {
                if let Some(lookup) = self.lookups.remove(&number) {
                    self.actions.push_back(Action::Close(number));
                    self.finish(lookup, read, left_out, now);
                }
            }
        }
    }

    /// The socket of a try failed, or a stream ended.
    pub fn broken(&mut self, number: u64, now: Instant) {
        if let Some(lookup) = self.lookups.remove(&number) {
            self.actions.push_back(Action::Close(number));
            self.next_try(lookup, now);
        }
    }

    /// Time passed.
    pub fn tick(&mut self, now: Instant) {
        let late = self.lookups.iter().filter(|(_, lookup)| lookup.deadline <= now);
        let late: Vec<u64> = late.map(|(number, _)| *number).collect();
        for number in late {
            self.broken(number, now);
        }
    }

    fn finish(
        &mut self,
        mut lookup: Lookup,
        read: Result<Answer, Unusable>,
        left_out: Vec<LeftOut>,
        now: Instant,
    ) {
        for (address, reason) in left_out {
            self.refuse_all(&lookup, &lookup.name, Some(address), &reason);
        }
        match read {
            Ok(answer) => {
                self.cache.put(&lookup.name, lookup.question.kind, &answer, now);
                for waiting in &lookup.waiting {
                    self.tell(&lookup.name, waiting, &answer, answer.ttl, now);
                }
            }
            Err(Unusable::Truncated) if lookup.over == Over::Datagram => {
                lookup.over = Over::Stream;
                self.send_lookup(lookup, now);
            }
            Err(Unusable::Alias(alias, reason)) => {
                self.refuse_all(&lookup, &alias, None, &reason);
                for waiting in &lookup.waiting {
                    self.reply(waiting, &Answer::nothing(Code::NxDomain, LOCAL), LOCAL);
                }
            }
            Err(Unusable::Failed | Unusable::Truncated | Unusable::NotOurs) => {
                self.next_try(lookup, now);
            }
        }
    }

    fn next_try(&mut self, mut lookup: Lookup, now: Instant) {
        if lookup.tries >= TRIES.max(self.settings.servers.len()) {
            return self.fail(&lookup);
        }
        lookup.server = (lookup.server + 1) % self.settings.servers.len().max(1);
        lookup.over = Over::Datagram;
        self.send_lookup(lookup, now);
    }

    fn fail(&mut self, lookup: &Lookup) {
        for waiting in &lookup.waiting {
            self.give_up(waiting);
        }
    }

    /// Answers, and holds the addresses of the answer for their name.
    fn tell(
        &mut self,
        name: &HostName,
        waiting: &Waiting,
        answer: &Answer,
        ttl: u32,
        now: Instant,
    ) {
        let until = now + Duration::from_secs(ttl.into());
        for address in answer.dialled().filter(|address| !address.is_loopback()) {
            self.pins.pin(address, name, Source::Answer, until, now);
        }
        self.reply(waiting, answer, ttl);
    }

    fn reply(&mut self, waiting: &Waiting, answer: &Answer, ttl: u32) {
        let Waiting { client, id, question, room, edns } = waiting;
        self.send(*client, answer.write(*id, question, ttl, *room, *edns));
    }

    fn send(&mut self, client: Client, message: Vec<u8>) {
        let bytes = match client.over {
            Over::Datagram => message,
            Over::Stream => framed(&message),
        };
        self.actions.push_back(Action::Reply(client, bytes));
    }
}

#[cfg(test)]
mod tests;
