//! The engine between two real kernels: a payload's network namespace, and one that is the host.
//!
//! Long because the bed stands beside what is tried on it.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use super::Inside;
use super::dial::Host;
use super::engine::{Engine, Most, Order};
use super::link::{Gateway, Large, Link};
use super::published::{Faces, Published};
use crate::net::egress::{Destination, Egress, Inspect, Sight, Verdict};
use crate::spec::net::{Prefix, Rate};
use crate::sys::clone::{CloneFlags, Cloned, clone3};
use crate::sys::netlink::{Changes, LinkChange, index};
use crate::sys::pidfd::{self, Exit};
use crate::sys::process::exit_now;
use crate::sys::testing::{alone, mapped, ordinary_user};
use crate::sys::{namespace, socket, tun};

const V4: &str = "192.0.2.1";
const V6: &str = "2001:db8::1";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(address), port)
}

/// Lets everything through but two ports, and looks at one.
#[derive(Debug)]
struct Gate;

const DENIED: u16 = 1001;
const CLOSED: u16 = 1002;
const LOOKED_AT: u16 = 1003;

#[derive(Debug)]
struct Look(Vec<u8>);

impl Inspect for Look {
    fn look(&mut self, bytes: &[u8]) -> Sight {
        self.0.extend(bytes);
        match &self.0[..] {
            [b'o', b'k', ..] => Sight::Trust,
            [] | [b'o'] => Sight::Hold,
            _ => Sight::Refuse,
        }
    }

    fn end(&mut self) -> Sight {
        Sight::Hold
    }
}

impl Egress for Gate {
    fn open(&mut self, _from: IpAddr, to: Destination) -> Verdict {
        match to {
            Destination::Tcp(to) if to.port() == LOOKED_AT => {
                Verdict::Inspect(to, Box::new(Look(Vec::new())))
            }
            Destination::Tcp(to) | Destination::Udp(to) => match to.port() {
                DENIED => Verdict::Deny,
                CLOSED => Verdict::Closed,
                _ => Verdict::Allow(to),
            },
            Destination::Echo(to) => Verdict::Allow(SocketAddr::new(to, 0)),
        }
    }
}

mod crowd;
mod faster;
mod paced;
mod published;

/// Runs `inside` in a network namespace whose only way out is the engine, and `outside` beside the
/// engine in the namespace that it opens its sockets in. Afterwards nothing is left in the engine.
fn between(name: &str, outside: impl FnOnce(), inside: impl FnOnce()) {
    let most = Most { streams: 1000, dialling: 100, datagrams: 64 };
    let outside = || {
        outside();
        (Vec::new(), thread::spawn(|| {}))
    };
    between_with(name, most, outside, inside);
}

/// The same, where `outside` gives what is published, and a thread that ends well.
fn between_with(
    name: &str,
    most: Most,
    outside: impl FnOnce() -> (Vec<Published>, thread::JoinHandle<()>),
    inside: impl FnOnce(),
) {
    between_at(name, (most, None), outside, inside);
}

/// How an engine is made.
#[derive(Debug, Clone, Copy)]
struct Made {
    most: Most,
    rate: Option<Rate>,
    /// Whether it leads to a network, of which this is the range.
    network: Option<&'static str>,
    /// How much memory buffers have.
    memory: Option<usize>,
}

/// The same at a rate.
fn between_at(
    name: &str,
    (most, rate): (Most, Option<Rate>),
    outside: impl FnOnce() -> (Vec<Published>, thread::JoinHandle<()>),
    inside: impl FnOnce(),
) {
    let made = Made { most, rate, network: None, memory: None };
    between_made(name, made, outside, inside);
}

/// The same by an engine that is made like this.
fn between_made(
    name: &str,
    made: Made,
    outside: impl FnOnce() -> (Vec<Published>, thread::JoinHandle<()>),
    inside: impl FnOnce(),
) {
    alone(module_path!(), name, || {
        ordinary_user();
        let exit = mapped(CloneFlags::NEW_NET, 0, || {
            namespace::bring_loopback_up().unwrap();
            let own = Changes::default().add_address(1, ip(V4), 32).add_address(1, ip(V6), 128);
            own.apply().unwrap();
            wait_until_own(V6);
            let (ours, theirs) = socket::pair().unwrap();
            match clone3(CloneFlags::NEW_USER | CloneFlags::NEW_NET, None).unwrap() {
                Cloned::Child => {
                    drop(ours);
                    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        let tun = interface();
                        socket::send(&theirs, b"tun", &[tun.as_fd()]).unwrap();
                        drop(tun);
                        inside();
                    }));
                    exit_now(if outcome.is_ok() { 0 } else { 101 });
                }
                Cloned::Parent { pidfd, .. } => {
                    drop(theirs);
                    let (_, mut fds) = socket::receive(&ours, &mut [0; 8]).unwrap();
                    let (published, clients) = outside();
                    work(fds.pop().unwrap(), &ours, made, published);
                    clients.join().unwrap();
                    assert_eq!(pidfd::wait(pidfd).unwrap(), Exit::Code(0));
                }
            }
        });
        assert_eq!(exit, Exit::Code(0));
    });
}

/// A new address of IPv6 becomes the kernel's own behind the scenes, by a worker that a busy machine keeps waiting. A
/// socket that is connected to it before that never gets there: the way it found goes to nobody, and stays valid. Seen on
/// Linux 6.18, with datagrams.
fn wait_until_own(address: &str) {
    let here = UdpSocket::bind(at(address, 0)).unwrap();
    here.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        // A new socket each time; it may be told that there is no way.
        let to = here.local_addr().unwrap();
        let _sent: std::io::Result<usize> = UdpSocket::bind("[::]:0").unwrap().send_to(b"?", to);
        if here.recv(&mut [0]).is_ok() {
            return;
        }
        assert!(Instant::now() < until, "{address} is nobody's");
    }
}

fn interface() -> std::os::fd::OwnedFd {
    let tun = tun::create(c"tun0").unwrap();
    let index = index("tun0").unwrap();
    namespace::bring_loopback_up().unwrap();
    Changes::default()
        .bring_up(LinkChange { index, mtu: 65_520, queue: 1_000 }, true)
        .add_address(index, ip("10.0.2.100"), 24)
        .add_address(index, ip("fd00::100"), 64)
        .add_default_route(index, ip("10.0.2.2"), 0)
        .add_default_route(index, ip("fd00::2"), 0)
        .apply()
        .unwrap();
    tun
}

fn work(
    tun: std::os::fd::OwnedFd,
    master: &std::os::fd::OwnedFd,
    made: Made,
    published: Vec<Published>,
) {
    let gateway = Gateway { v4: ip("10.0.2.2"), v6: ip("fd00::2") };
    let link = Link::new(tun, gateway, Large::Yes);
    let inside = Inside { v4: ip("10.0.2.100"), v6: Some(ip("fd00::100")), mtu: 65_520 };
    let stranger = Gateway { v4: ip("10.0.2.4"), v6: ip("fd00::4") };
    let faces = Faces { inside, gateway, stranger, resolvers: Vec::new(), network: Vec::new() };
    let mut engine = Engine::new(link, inside, Gate, Host, made.most, 1).unwrap();
    if let Some(rate) = made.rate {
        engine.pace(rate);
    }
    if let Some(memory) = made.memory {
        engine.bound_memory(memory);
    }
    if let Some(network) = made.network {
        engine.also_from(&[Prefix::parse(network).unwrap()]);
    }
    engine.publish(faces, published).unwrap();
    engine.run(master.as_fd(), |_| Order::Finish).unwrap();
    let (streams, _, buffers) = engine.size();
    // What the payload said has left; the answers of the last few may be under way. Where memory is short, a reset may come
    // behind what got none, and who would say so again is gone.
    let is_left = buffers > 0 && made.memory.is_none();
    assert!(!is_left, "{buffers} bytes of buffers are left, {streams} streams");
    assert!(streams < 10 + engine.dialled(), "{streams} streams are left");
    assert!(engine.lined_up() < 500, "{} turns that nobody takes", engine.lined_up());
}

/// A server that gives back what it gets, until the end.
fn echo_server(address: SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut writer = stream.try_clone().unwrap();
                if std::io::copy(&mut stream, &mut writer).is_ok() {
                    writer.shutdown(Shutdown::Write).unwrap();
                }
            });
        }
    });
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect()
}

#[test]
fn bytes_go_both_ways_and_ends_are_told_apart() {
    let servers = || {
        echo_server(at(V4, 7));
        echo_server(at(V6, 7));
    };
    between("bytes_go_both_ways_and_ends_are_told_apart", servers, || {
        for address in [V4, V6] {
            for length in [0, 1, 1000, 65_536, 5_000_000] {
                let mut stream = TcpStream::connect(at(address, 7)).unwrap();
                let mut writer = stream.try_clone().unwrap();
                let bytes = pattern(length);
                let sent = bytes.clone();
                let sender = thread::spawn(move || {
                    writer.write_all(&sent).unwrap();
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                let mut back = Vec::new();
                stream.read_to_end(&mut back).unwrap();
                sender.join().unwrap();
                assert!(back == bytes, "{address} {length}: {} back", back.len());
            }
        }
    });
}

#[test]
fn errors_are_those_of_the_host() {
    let held = std::cell::RefCell::new(Vec::new());
    between(
        "errors_are_those_of_the_host",
        || {
            let listener = TcpListener::bind(at(V4, 80)).unwrap();
            thread::spawn(move || {
                let (stream, _) = listener.accept().unwrap();
                // Not before the payload has seen it stand.
                thread::sleep(Duration::from_millis(200));
                rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
            });
            held.borrow_mut().push(UdpSocket::bind(at(V4, 53)).unwrap());
        },
        || {
            let error = |to: SocketAddr| {
                let errno = TcpStream::connect(to).unwrap_err().raw_os_error().unwrap();
                crate::sys::errno::Errno::from_raw(errno).name()
            };
            assert_eq!(error(at(V4, 81)), "ECONNREFUSED");
            assert_eq!(error(at(V6, 81)), "ECONNREFUSED");
            assert_eq!(error(at(V4, CLOSED)), "ECONNREFUSED");
            assert_eq!(error(at(V4, DENIED)), "EHOSTUNREACH");
            assert_eq!(error(at(V6, DENIED)), "EACCES");
            assert_eq!(error(at("198.51.100.1", 80)), "ENETUNREACH");
            assert_eq!(error(at("2001:db8:1::1", 80)), "ENETUNREACH");
            let mut stream = TcpStream::connect(at(V4, 80)).unwrap();
            let reset = stream.read(&mut [0; 8]).unwrap_err();
            assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
            for (port, name) in
                [(81, "ECONNREFUSED"), (CLOSED, "ECONNREFUSED"), (DENIED, "EHOSTUNREACH")]
            {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.connect(at(V4, port)).unwrap();
                let errno = refused(&socket).raw_os_error().unwrap();
                assert_eq!(crate::sys::errno::Errno::from_raw(errno).name(), name, "udp {port}");
            }
        },
    );
}

/// How often a datagram is sent again, and what is waited for in between: it may be lost on a busy machine.
const TRIES: usize = 10;
const A_TRY: Duration = Duration::from_secs(2);

/// The error that comes back for a datagram.
fn refused(socket: &UdpSocket) -> std::io::Error {
    socket.set_read_timeout(Some(A_TRY)).unwrap();
    for _ in 0..TRIES {
        // The answer to an earlier one may be told by either call.
        let answer = socket.send(b"hello").and_then(|_| socket.recv(&mut [0; 8]));
        match answer {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            other => return other.unwrap_err(),
        }
    }
    panic!("no answer to {TRIES} datagrams");
}

/// Sends the last of these datagrams until it comes back. Others that come are earlier ones, whole.
fn echoed(socket: &UdpSocket, sent: &[Vec<u8>], to: SocketAddr) {
    socket.set_read_timeout(Some(A_TRY)).unwrap();
    let mut back = vec![0; 65_536];
    let last = sent.last().unwrap();
    for _ in 0..TRIES {
        socket.send_to(last, to).unwrap();
        while let Ok((length, from)) = socket.recv_from(&mut back) {
            assert_eq!(from, to);
            let came = &back[..length];
            assert!(sent.iter().any(|bytes| bytes == came), "{length} bytes that nobody sent");
            if came == last {
                return;
            }
        }
    }
    panic!("{} bytes never came back", last.len());
}

#[test]
fn datagrams_keep_their_borders_and_echoes_come_back() {
    between(
        "datagrams_keep_their_borders_and_echoes_come_back",
        || {
            for address in [V4, V6] {
                let socket = UdpSocket::bind(at(address, 7)).unwrap();
                thread::spawn(move || {
                    let mut bytes = vec![0; 65_536];
                    loop {
                        let (length, from) = socket.recv_from(&mut bytes).unwrap();
                        socket.send_to(&bytes[..length], from).unwrap();
                    }
                });
            }
        },
        || {
            for (own, address) in [("0.0.0.0:0", V4), ("[::]:0", V6)] {
                let socket = UdpSocket::bind(own).unwrap();
                let mut sent = Vec::new();
                for length in [0, 1, 1400, 65_000] {
                    sent.push(pattern(length));
                    echoed(&socket, &sent, at(address, 7));
                }
            }
        },
    );
}

#[test]
fn what_is_looked_at_is_held_and_refused_before_it_leaves() {
    between(
        "what_is_looked_at_is_held_and_refused_before_it_leaves",
        || {
            echo_server(at(V4, LOOKED_AT));
        },
        || {
            let mut good = TcpStream::connect(at(V4, LOOKED_AT)).unwrap();
            good.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            good.write_all(b"o").unwrap();
            assert!(good.read(&mut [0; 8]).is_err(), "held");
            good.write_all(b"k then").unwrap();
            let mut back = [0; 7];
            good.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"ok then");
            let mut bad = TcpStream::connect(at(V4, LOOKED_AT)).unwrap();
            bad.write_all(b"no").unwrap();
            let reset = bad.read(&mut [0; 8]).unwrap_err();
            assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
            // Held, and then nothing more: refused as well.
            let mut half = TcpStream::connect(at(V4, LOOKED_AT)).unwrap();
            half.write_all(b"o").unwrap();
            half.shutdown(Shutdown::Write).unwrap();
            assert!(half.read(&mut [0; 8]).is_err());
        },
    );
}

#[test]
fn a_slow_reader_is_waited_for_on_either_side() {
    const LENGTH: usize = 8 << 20;
    between(
        "a_slow_reader_is_waited_for_on_either_side",
        || {
            let sink = TcpListener::bind(at(V4, 9)).unwrap();
            let source = TcpListener::bind(at(V4, 19)).unwrap();
            thread::spawn(move || {
                let (mut stream, _) = sink.accept().unwrap();
                thread::sleep(Duration::from_millis(700));
                let mut all = Vec::new();
                stream.read_to_end(&mut all).unwrap();
                assert!(all == pattern(LENGTH));
                stream.write_all(b"all").unwrap();
            });
            thread::spawn(move || {
                let (mut stream, _) = source.accept().unwrap();
                stream.write_all(&pattern(LENGTH)).unwrap();
            });
        },
        || {
            let mut stream = TcpStream::connect(at(V4, 9)).unwrap();
            stream.write_all(&pattern(LENGTH)).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut word = String::new();
            stream.read_to_string(&mut word).unwrap();
            assert_eq!(word, "all");
            let mut stream = TcpStream::connect(at(V4, 19)).unwrap();
            thread::sleep(Duration::from_millis(700));
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            assert!(all == pattern(LENGTH));
        },
    );
}

#[test]
fn thousands_of_connections_leave_nothing() {
    between(
        "thousands_of_connections_leave_nothing",
        || echo_server(at(V4, 7)),
        || {
            let began = Instant::now();
            for n in 0..2000 {
                let mut stream = TcpStream::connect(at(V4, 7)).unwrap();
                stream.write_all(b"hello").unwrap();
                if n % 3 == 0 {
                    continue;
                }
                stream.shutdown(Shutdown::Write).unwrap();
                let mut back = Vec::new();
                stream.read_to_end(&mut back).unwrap();
                assert_eq!(back, b"hello");
            }
            assert!(began.elapsed() < Duration::from_mins(1));
        },
    );
}
