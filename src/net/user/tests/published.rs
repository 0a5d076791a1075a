//! Clients of published ports, from the host's loopback and from elsewhere.

use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketType};

use super::*;
use crate::spec::net::Transport;
use crate::sys::datagram;

/// Addresses of clients that are not on loopback.
const FOREIGN_V4: &str = "198.51.100.9";
const FOREIGN_V6: &str = "2001:db8::9";

fn foreign() {
    let own = Changes::default().add_address(1, ip(FOREIGN_V4), 32);
    own.add_address(1, ip(FOREIGN_V6), 128).add_address(1, ip("10.0.2.2"), 32).apply().unwrap();
    wait_until_own(FOREIGN_V6);
}

pub(super) fn tcp(address: &str, port: u16, inside: u16) -> Published {
    let listener = TcpListener::bind(at(address, port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    Published { socket: OwnedFd::from(listener), transport: Transport::Tcp, port: inside }
}

pub(super) fn udp(address: &str, port: u16, inside: u16) -> Published {
    let socket = UdpSocket::bind(at(address, port)).unwrap();
    socket.set_nonblocking(true).unwrap();
    datagram::tell_addresses(&socket, !address.contains(':')).unwrap();
    Published { socket: OwnedFd::from(socket), transport: Transport::Udp, port: inside }
}

const MOST: Most = Most { streams: 1000, dialling: 100, datagrams: 64 };

/// A client with an address of its own, and a port where one is named.
pub(super) fn client(from: &str, port: u16, to: SocketAddr) -> TcpStream {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket(family, SocketType::STREAM, None).unwrap();
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    rustix::net::bind(&socket, &at(from, port)).unwrap();
    rustix::net::connect(&socket, &to).unwrap();
    TcpStream::from(socket)
}

/// Sends `length` bytes and their end, and gives what comes back.
fn ask(stream: TcpStream, length: usize) -> String {
    try_ask(stream, length).unwrap()
}

fn try_ask(mut stream: TcpStream, length: usize) -> std::io::Result<String> {
    let mut writer = stream.try_clone()?;
    let sender = thread::spawn(move || {
        writer.write_all(&pattern(length))?;
        writer.shutdown(Shutdown::Write)
    });
    let mut said = String::new();
    let read = stream.read_to_string(&mut said);
    let sent = sender.join().unwrap();
    read.and(sent).map(|()| said)
}

/// The same where the other side may not listen yet: then the answer is a reset.
fn ask_at_last(connect: impl Fn() -> TcpStream, length: usize) -> String {
    for _ in 0..500 {
        match try_ask(connect(), length) {
            Ok(said) => return said,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                thread::sleep(std::time::Duration::from_millis(20));
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("nobody listens");
}

/// Tells each of `clients` its address as it is seen, and how much it sent.
fn tell(listener: &TcpListener, clients: usize) {
    for _ in 0..clients {
        let (mut stream, from) = listener.accept().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert!(all == pattern(all.len()));
        write!(stream, "{} {}", from.ip(), all.len()).unwrap();
    }
}

#[test]
fn clients_come_in_under_their_own_address() {
    let cases = [
        ("127.0.0.1", "127.0.0.1", "10.0.2.2"),
        ("::1", "::1", "fd00::2"),
        (FOREIGN_V4, V4, FOREIGN_V4),
        (FOREIGN_V6, V6, FOREIGN_V6),
        // The gateway is this machine alone.
        ("10.0.2.2", V4, "10.0.2.4"),
    ];
    let lengths = [0, 1, 100_000, 3_000_000];
    between_with(
        "published::clients_come_in_under_their_own_address",
        MOST,
        || {
            foreign();
            let ports = ["127.0.0.1", "::1", V4, V6].map(|address| tcp(address, 8080, 80));
            let clients = thread::spawn(move || {
                for (from, to, seen) in cases {
                    for length in lengths {
                        let said = ask_at_last(|| client(from, 0, at(to, 8080)), length);
                        assert_eq!(said, format!("{seen} {length}"), "{from}");
                    }
                }
            });
            (ports.into(), clients)
        },
        || {
            let v6 = TcpListener::bind(at("fd00::100", 80)).unwrap();
            let v6 = thread::spawn(move || tell(&v6, 2 * lengths.len()));
            tell(&TcpListener::bind(at("10.0.2.100", 80)).unwrap(), 3 * lengths.len());
            v6.join().unwrap();
        },
    );
}

#[test]
fn a_port_where_nothing_listens_gives_a_reset() {
    between_with(
        "published::a_port_where_nothing_listens_gives_a_reset",
        MOST,
        || {
            let ports = vec![tcp("127.0.0.1", 8080, 80), tcp("127.0.0.1", 8081, 81)];
            let clients = thread::spawn(|| {
                let mut stream = TcpStream::connect(at("127.0.0.1", 8081)).unwrap();
                let reset = stream.read(&mut [0; 8]).unwrap_err();
                assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
                // It ends the other side.
                let said = ask_at_last(|| client("127.0.0.1", 0, at("127.0.0.1", 8080)), 1);
                assert_eq!(said, "10.0.2.2 1");
            });
            (ports, clients)
        },
        || tell(&TcpListener::bind(at("10.0.2.100", 80)).unwrap(), 1),
    );
}

#[test]
fn a_client_comes_again_with_the_same_port() {
    const ROUNDS: usize = 12;
    between_with(
        "published::a_client_comes_again_with_the_same_port",
        MOST,
        || {
            let ports = vec![tcp("127.0.0.1", 8080, 80), tcp("127.0.0.1", 8081, 80)];
            let clients = thread::spawn(|| {
                for _ in 0..ROUNDS {
                    let said = ask_at_last(|| client("127.0.0.1", 5000, at("127.0.0.1", 8080)), 1);
                    assert_eq!(said, "10.0.2.2 1");
                }
                // Two at once that would look the same inside.
                let two = [8080, 8081].map(|to| client("127.0.0.1", 5001, at("127.0.0.1", to)));
                let asked = two.map(|stream| thread::spawn(move || ask(stream, 9)));
                for said in asked {
                    assert_eq!(said.join().unwrap(), "10.0.2.2 9");
                }
            });
            (ports, clients)
        },
        // The server ends first, and so remembers the connection for a while.
        || tell(&TcpListener::bind(at("10.0.2.100", 80)).unwrap(), ROUNDS + 2),
    );
}

#[test]
fn datagrams_of_clients_are_answered_by_the_port_they_came_to() {
    let cases = [
        ("127.0.0.1:5000", "127.0.0.1", "10.0.2.2"),
        // The same inside, but for its port.
        ("127.0.0.2:5000", "127.0.0.1", "10.0.2.2"),
        ("[::1]:5000", "::1", "fd00::2"),
        ("198.51.100.9:5000", V4, FOREIGN_V4),
        ("198.51.100.9:5001", FOREIGN_V4, FOREIGN_V4),
    ];
    between_with(
        "published::datagrams_of_clients_are_answered_by_the_port_they_came_to",
        MOST,
        || {
            foreign();
            let ports =
                vec![udp("127.0.0.1", 8080, 80), udp("::1", 8080, 80), udp("0.0.0.0", 8081, 80)];
            let clients = thread::spawn(move || {
                let sockets = cases.map(|(from, to, seen)| {
                    let socket = UdpSocket::bind(from).unwrap();
                    let port = if seen == FOREIGN_V4 { 8081 } else { 8080 };
                    // An answer from any other address would not come in.
                    socket.connect(at(to, port)).unwrap();
                    socket.set_read_timeout(Some(A_TRY)).unwrap();
                    (socket, seen)
                });
                for _ in 0..3 {
                    for (socket, seen) in &sockets {
                        let said = answer(socket);
                        assert!(said.starts_with(&format!("{seen} ")), "{said} to {socket:?}");
                    }
                }
                let last = &sockets[0].0;
                last.send(b"end").unwrap();
            });
            (ports, clients)
        },
        || {
            let v6 = UdpSocket::bind(at("fd00::100", 80)).unwrap();
            thread::spawn(move || tell_datagrams(&v6));
            tell_datagrams(&UdpSocket::bind(at("10.0.2.100", 80)).unwrap());
        },
    );
}

/// Asks until something comes back.
fn answer(socket: &UdpSocket) -> String {
    let mut back = [0; 128];
    for _ in 0..TRIES {
        socket.send(b"who").unwrap();
        if let Ok(length) = socket.recv(&mut back) {
            return String::from_utf8_lossy(&back[..length]).into_owned();
        }
    }
    panic!("no answer to {socket:?}");
}

fn tell_datagrams(socket: &UdpSocket) {
    let mut bytes = [0; 128];
    let mut seen = std::collections::BTreeSet::new();
    loop {
        let (length, from) = socket.recv_from(&mut bytes).unwrap();
        if &bytes[..length] == b"end" {
            // Each client was another one.
            assert_eq!(seen.len(), 4, "{seen:?}");
            return;
        }
        seen.insert(from);
        socket.send_to(format!("{} ", from.ip()).as_bytes(), from).unwrap();
    }
}

#[test]
fn a_crowd_of_clients_leaves_room_for_the_payload() {
    // Fewer than come.
    let most = Most { streams: 40, dialling: 10, datagrams: 64 };
    between_with(
        "published::a_crowd_of_clients_leaves_room_for_the_payload",
        most,
        || {
            echo_server(at(V4, 7));
            let ports = vec![tcp("127.0.0.1", 8080, 80)];
            let clients = thread::spawn(|| {
                let connect = |_| TcpStream::connect(at("127.0.0.1", 8080)).unwrap();
                // Whoever comes before somebody listens is refused.
                ask_at_last(|| connect(0), 1);
                let mut crowd: Vec<TcpStream> = (0..100).map(connect).collect();
                // The last one is heard when there is room again.
                let last = crowd.pop().unwrap();
                let mut one = crowd.remove(0);
                let mut word = [0; 2];
                one.read_exact(&mut word).unwrap();
                assert_eq!(&word, b"ok");
                drop(crowd);
                assert_eq!(ask(last, 5), "ok5");
                one.write_all(b"end").unwrap();
                one.shutdown(Shutdown::Write).unwrap();
            });
            (ports, clients)
        },
        || {
            let listener = TcpListener::bind(at("10.0.2.100", 80)).unwrap();
            tell(&listener, 1);
            let (mut first, _) = listener.accept().unwrap();
            // Many hold a connection by now, or wait for one.
            let held: Vec<TcpStream> = (0..20).map(|_| listener.accept().unwrap().0).collect();
            let mut out = TcpStream::connect(at(V4, 7)).unwrap();
            out.write_all(b"hello").unwrap();
            out.read_exact(&mut [0; 5]).unwrap();
            drop((out, held));
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    thread::spawn(move || {
                        let mut all = Vec::new();
                        if stream.read_to_end(&mut all).is_ok() && !all.is_empty() {
                            write!(stream, "ok{}", all.len()).unwrap();
                        }
                    });
                }
            });
            first.write_all(b"ok").unwrap();
            let mut word = String::new();
            first.read_to_string(&mut word).unwrap();
            assert_eq!(word, "end");
        },
    );
}

/// Whether something sent from there is answered, within a while or at all.
fn is_answered(socket: &UdpSocket, to: SocketAddr, tries: usize) -> bool {
    socket.set_read_timeout(Some(A_TRY)).unwrap();
    (0..tries).any(|_| {
        socket.send_to(b"?", to).unwrap();
        socket.recv(&mut [0; 8]).is_ok()
    })
}

#[test]
fn datagrams_of_one_client_leave_room_for_those_of_another() {
    const CROWD: usize = 48;
    between_with(
        "published::datagrams_of_one_client_leave_room_for_those_of_another",
        MOST,
        || {
            foreign();
            let to = at(V4, 8080);
            let clients = thread::spawn(move || {
                let new = |from| UdpSocket::bind(at(from, 0)).unwrap();
                let crowd: Vec<UdpSocket> = (0..CROWD).map(|_| new(FOREIGN_V4)).collect();
                assert!(crowd.iter().all(|one| is_answered(one, to, TRIES)));
                // None of them is ever quiet for long.
                let over = std::sync::atomic::AtomicBool::new(false);
                thread::scope(|scope| {
                    scope.spawn(|| {
                        while !over.load(std::sync::atomic::Ordering::Relaxed) {
                            for one in &crowd[..CROWD / 2] {
                                one.send_to(b"?", to).unwrap();
                            }
                            thread::sleep(std::time::Duration::from_millis(50));
                        }
                    });
                    scope.spawn(|| {
                        // The control: one more of the same finds none.
                        assert!(!is_answered(&new(FOREIGN_V4), to, 1));
                        for from in [V4, "127.0.0.1"] {
                            assert!(is_answered(&new(from), to, TRIES), "{from}");
                        }
                        over.store(true, std::sync::atomic::Ordering::Relaxed);
                    });
                });
                assert!(is_answered(&crowd[0], to, TRIES));
                crowd[0].send_to(b"end", to).unwrap();
            });
            (vec![udp("0.0.0.0", 8080, 80)], clients)
        },
        || {
            let socket = UdpSocket::bind(at("10.0.2.100", 80)).unwrap();
            let mut told = [0; 8];
            loop {
                let (length, from) = socket.recv_from(&mut told).unwrap();
                if &told[..length] == b"end" {
                    break;
                }
                socket.send_to(&told[..length], from).unwrap();
            }
        },
    );
}
