//! Who is connected to a station, and what each asks.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::termios::Winsize;

use super::{MOST_CLIENTS, MOST_ORDERS, Order, Station};
use crate::limits::group::Motion;
use crate::state::log::Writer;
use crate::supervise::protocol::{LONGEST, Message, Reply, Request};
use crate::sys::errno::{Errno, Result};
use crate::sys::event::Ready;
use crate::sys::namespace::{self, Namespace};
use crate::sys::signal::SignalNumber;
use crate::sys::socket;

/// A connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) number: u64,
    pub(super) socket: OwnedFd,
    /// Its input is the payload's.
    pub(super) attached: bool,
    /// It wants to know of the end.
    waits: bool,
    /// It was there before the run, and hears when that begins.
    awaits_begin: bool,
    place: Place,
}

/// What a client may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Everything.
    Whole,
    /// What is done at once: it came when all other places were taken.
    ForOrders,
}

impl Place {
    fn is_for(self, request: &Request) -> bool {
        match request {
            Request::Signal { .. } | Request::Stop { .. } | Request::Pause | Request::Unpause => {
                true
            }
            Request::Wait | Request::Attach | Request::Enter { .. } | Request::Resize { .. } => {
                self == Self::Whole
            }
        }
    }
}

impl Client {
    fn new(number: u64, socket: OwnedFd, place: Place) -> Self {
        Self { number, socket, attached: false, waits: false, awaits_begin: false, place }
    }
}

/// All that may be connected at a time.
const CROWD: usize = MOST_CLIENTS + MOST_ORDERS;

/// What is told to who finds no place.
fn too_many() -> Reply {
    Reply::Refused { why: "too many commands are connected to its supervisor".to_owned() }
}

/// What a client is after one message.
#[derive(Debug)]
enum Then {
    Stays(Option<Order>),
    Goes,
}

impl Station {
    /// Lets in who knocks.
    pub(super) fn open_door(&mut self) -> Result<()> {
        let Some(socket) = (match socket::accept(&self.listener) {
            // Too many descriptors are open: whoever waits goes on waiting, or gives up.
            Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) => return Ok(()),
            other => other?,
        }) else {
            return Ok(());
        };
        // What is not let in is closed.
        if !self.is_one_of_us(&socket) {
            return Ok(());
        }
        let place = match self.clients.len() {
            ..MOST_CLIENTS => Place::Whole,
            MOST_CLIENTS..CROWD => Place::ForOrders,
            _ => {
                // Who is gone needs no answer.
                socket::send(&socket, &too_many().encode(), &[]).unwrap_or_default();
                return Ok(());
            }
        };
        let number = self.next_number();
        self.clients.push(Client::new(number, socket, place));
        Ok(())
    }

    /// Takes somebody who is attached from the first byte on: nothing is written before he hears where the log
    /// begins.
    pub fn seat(&mut self, socket: OwnedFd) {
        let client = Client::new(self.next_number(), socket, Place::Whole);
        self.clients.push(Client { attached: true, waits: true, awaits_begin: true, ..client });
    }

    fn next_number(&mut self) -> u64 {
        self.last_client += 1;
        self.last_client
    }

    /// The payload's descriptors are known, and nothing was read of them.
    pub(super) fn greet(&mut self) {
        let Some(end) = self.log.as_ref().map(Writer::end) else { return };
        let reply = Reply::attached(self.pty.is_some(), self.sink().is_some(), end).encode();
        for client in self.clients.iter_mut().filter(|client| client.awaits_begin) {
            client.awaits_begin = false;
            // Who is gone is seen as such when it is read.
            socket::send(&client.socket, &reply, &[]).unwrap_or_default();
        }
    }

    /// Whether the process at the other end is the caller's own, and in no sandbox.
    fn is_one_of_us(&self, socket: &OwnedFd) -> bool {
        let Ok(peer) = socket::peer(socket) else { return false };
        if peer.uid != rustix::process::geteuid().as_raw() {
            return false;
        }
        let Some(own) = self.namespace else { return true };
        let namespace = peer.pid.map(|pid| {
            namespace::open_proc_dir(pid).and_then(|dir| namespace::ns_inode(dir, Namespace::User))
        });
        matches!(namespace, Some(Ok(namespace)) if namespace == own)
    }

    /// One message of a client.
    pub(super) fn hear(&mut self, number: u64, ready: Ready) -> Option<Order> {
        let index = self.clients.iter().position(|client| client.number == number)?;
        let mut client = self.clients.swap_remove(index);
        if !self.listens(&client) {
            // What it still had to say is input that finds no room.
            if !ready.hung_up() {
                self.clients.push(client);
            }
            return None;
        }
        let mut bytes = [0; LONGEST];
        let then = match socket::receive(&client.socket, &mut bytes) {
            Ok((0, _)) => Then::Goes,
            Ok((length, fds)) => match bytes.get(..length).and_then(Message::decode) {
                Some(Message::Input(input)) => self.take_input(&client, input),
                // Who asked has given up, perhaps while this process was stopped: what he wanted is not begun.
                Some(Message::Request(Request::Enter { .. })) if ready.hung_up() => Then::Goes,
                Some(Message::Request(request)) => self.take(&mut client, &request, fds),
                None => Then::Goes,
            },
            Err(Errno::EAGAIN) => Then::Stays(None),
            Err(_) => Then::Goes,
        };
        match then {
            Then::Stays(order) => {
                self.clients.push(client);
                order
            }
            Then::Goes => None,
        }
    }

    fn take(&mut self, client: &mut Client, request: &Request, fds: Vec<OwnedFd>) -> Then {
        let refusal = match request {
            request if !client.place.is_for(request) => too_many(),
            Request::Enter { .. } | Request::Attach if self.resting => Reply::Restarting,
            Request::Enter { .. } | Request::Attach if self.is_frozen() => Reply::Paused,
            // Answered when the start has come to its end.
            Request::Enter { keeper } => {
                let order = Order::Enter { client: client.number, fds, keeper: *keeper };
                return Then::Stays(Some(order));
            }
            // Nothing else brings descriptors: they are closed.
            request => return self.answer(client, request),
        };
        let told = socket::send(&client.socket, &refusal.encode(), &[]);
        told.map_or(Then::Goes, |()| Then::Stays(None))
    }

    fn take_input(&mut self, client: &Client, input: &[u8]) -> Then {
        if !client.attached {
            return Then::Goes;
        }
        if self.sink().is_some() {
            self.pending.extend_from_slice(input);
            self.give_input();
        }
        Then::Stays(None)
    }

    fn answer(&mut self, client: &mut Client, request: &Request) -> Then {
        let mut order = None;
        let reply = match request {
            Request::Signal { number } => match SignalNumber::new(*number) {
                Some(signal) => {
                    order = Some(self.signal(signal));
                    Reply::Done
                }
                None => Reply::Refused { why: format!("there is no signal {number}") },
            },
            Request::Stop { signal, timeout_ms } => {
                client.waits = true;
                let signal = signal.and_then(SignalNumber::new);
                order = Some(self.begin_stop(signal, timeout_ms.map(Duration::from_millis)));
                Reply::Done
            }
            Request::Wait => {
                client.waits = true;
                Reply::Done
            }
            Request::Attach => match &self.log {
                Some(log) => {
                    (client.attached, client.waits) = (true, true);
                    Reply::attached(self.pty.is_some(), self.sink().is_some(), log.end())
                }
                None => Reply::Refused { why: "it was not started with --detach".to_owned() },
            },
            Request::Enter { .. } => return Then::Goes,
            Request::Resize { rows, columns } => self.resize(*rows, *columns),
            Request::Pause => self.set_motion(Motion::Frozen),
            Request::Unpause => self.set_motion(Motion::Free),
        };
        // A client that does not read its few answers is none.
        match socket::send(&client.socket, &reply.encode(), &[]) {
            Ok(()) => Then::Stays(order),
            Err(_) if order.is_none() => Then::Goes,
            Err(_) => {
                // What it asked is done all the same.
                client.waits = false;
                Then::Stays(order)
            }
        }
    }

    /// A signal that ends it means that it is not to be started again, as with Docker.
    fn signal(&mut self, signal: SignalNumber) -> Order {
        if signal == SignalNumber::KILL {
            self.stopped = true;
            return Order::Kill;
        }
        if signal == self.stop_signal() {
            self.stopped = true;
            self.thaw();
        }
        // Any other one waits for a sandbox that is paused to go on, as with Docker.
        Order::Signal(signal)
    }

    fn resize(&self, rows: u16, columns: u16) -> Reply {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        match &self.pty {
            Some(pty) => match rustix::termios::tcsetwinsize(pty, size) {
                Ok(()) => Reply::Done,
                Err(errno) => Reply::Refused { why: Errno::from(errno).to_string() },
            },
            None => Reply::Refused { why: "it has no terminal".to_owned() },
        }
    }

    fn set_motion(&mut self, motion: Motion) -> Reply {
        let refused = |why: &str| Reply::Refused { why: why.to_owned() };
        let Some(freezer) = &self.freezer else {
            return refused("nothing of it runs that has a control group of its own");
        };
        match motion {
            Motion::Frozen if self.motion == motion => return refused("it is paused already"),
            Motion::Free if self.motion == motion => return refused("it is not paused"),
            Motion::Frozen | Motion::Free => {}
        }
        match freezer.set(motion) {
            Ok(()) => {
                self.motion = motion;
                Reply::Done
            }
            Err(errno) => refused(&errno.to_string()),
        }
    }

    /// Tells a client something that it waits for. Who is gone has no more need of it.
    pub(in crate::supervise) fn tell(
        &mut self,
        number: u64,
        reply: &Reply,
        fds: &[BorrowedFd<'_>],
    ) {
        if let Some(client) = self.clients.iter().find(|client| client.number == number) {
            socket::send(&client.socket, &reply.encode(), fds).unwrap_or_default();
        }
    }

    /// It is over: tells who waits, and closes every connection.
    pub fn finish(&mut self, code: u8) {
        let ended = Reply::Ended { code }.encode();
        for client in self.clients.drain(..).filter(|client| client.waits) {
            // Who is gone, or reads nothing, finds it in the record.
            socket::send(&client.socket, &ended, &[]).unwrap_or_default();
        }
    }
}

/// The user namespace of this process.
pub(super) fn own_namespace() -> Option<u64> {
    let own = namespace::open_proc_dir(rustix::process::getpid()).ok()?;
    namespace::ns_inode(own, Namespace::User).ok()
}
