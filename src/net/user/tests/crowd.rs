//! Several sandboxes behind one link: what one of them does, and what is left for another.

use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};

use super::*;

const MOST: Most = Most { streams: 1000, dialling: 40, datagrams: 64 };

/// Addresses of two members.
pub(super) const GREEDY: &str = "10.0.2.100";
pub(super) const OTHER: &str = "10.0.2.101";

/// An engine of a network, or of one sandbox.
fn made(network: Option<&'static str>) -> Made {
    Made { most: MOST, rate: None, network, memory: None }
}

pub(super) const SHARED: Option<&str> = Some("10.0.2.0/24");

pub(super) fn with_both() {
    let own = Changes::default().add_address(index("tun0").unwrap(), ip(OTHER), 24);
    own.apply().unwrap();
}

/// Tells everybody who asks under which port of the host it came.
fn tell_ports(address: SocketAddr) {
    let socket = UdpSocket::bind(address).unwrap();
    thread::spawn(move || {
        loop {
            let (_, from) = socket.recv_from(&mut [0; 8]).unwrap();
            socket.send_to(from.port().to_string().as_bytes(), from).unwrap();
        }
    });
}

fn asker(from: &str) -> UdpSocket {
    let socket = UdpSocket::bind(at(from, 0)).unwrap();
    socket.connect(at(V4, 7)).unwrap();
    socket.set_read_timeout(Some(A_TRY)).unwrap();
    socket
}

/// The host's port of a flow: another one once it was forgotten.
fn port_of(socket: &UdpSocket) -> String {
    let mut told = [0; 8];
    for _ in 0..TRIES {
        socket.send(b"?").unwrap();
        if let Ok(length) = socket.recv(&mut told) {
            return String::from_utf8_lossy(&told[..length]).into_owned();
        }
    }
    panic!("no answer to {TRIES} datagrams");
}

/// Flows from an address stay on a network while another one begins many; in one sandbox they make room.
fn flows_stay(name: &str, from: &str, network: Option<&'static str>) {
    let outside = || {
        tell_ports(at(V4, 7));
        (Vec::new(), thread::spawn(|| {}))
    };
    between_made(name, made(network), outside, || {
        with_both();
        let other: Vec<UdpSocket> = (0..20).map(|_| asker(from)).collect();
        let before: Vec<String> = other.iter().map(port_of).collect();
        let greedy: Vec<UdpSocket> = (0..200).map(|_| asker(GREEDY)).collect();
        for socket in &greedy {
            port_of(socket);
        }
        let after: Vec<String> = other.iter().map(port_of).collect();
        assert_eq!(before == after, network.is_some());
    });
}

#[test]
fn datagrams_of_one_member_leave_those_of_others_alone() {
    let name = "crowd::datagrams_of_one_member_leave_those_of_others_alone";
    flows_stay(name, OTHER, SHARED);
}

#[test]
fn in_one_sandbox_the_quietest_flow_makes_room() {
    let name = "crowd::in_one_sandbox_the_quietest_flow_makes_room";
    flows_stay(name, GREEDY, None);
}

/// A listener that takes no more connections, and those that it took: dialled, it says nothing.
fn silent(address: SocketAddr) -> (OwnedFd, Vec<TcpStream>) {
    let kind = SocketType::STREAM;
    let listener = rustix::net::socket_with(
        AddressFamily::INET,
        kind,
        SocketFlags::CLOEXEC,
        Some(ipproto::TCP),
    );
    let listener = listener.unwrap();
    rustix::net::bind(&listener, &address).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let short = Duration::from_millis(200);
    let took = std::iter::from_fn(|| TcpStream::connect_timeout(&address, short).ok());
    let took = took.collect();
    (listener, took)
}

/// Asks for a connection, and does not wait for it.
fn ask_for(from: &str, to: SocketAddr) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let kind = SocketType::STREAM;
    let socket = rustix::net::socket_with(AddressFamily::INET, kind, flags, Some(ipproto::TCP));
    let socket = socket.unwrap();
    rustix::net::bind(&socket, &at(from, 0)).unwrap();
    let asked = rustix::net::connect(&socket, &to);
    assert_eq!(asked, Err(rustix::io::Errno::INPROGRESS));
    socket
}

/// Whether a connection stands before so long.
fn stands(socket: &OwnedFd, timeout: Duration) -> bool {
    let mut waits = [rustix::event::PollFd::new(socket, rustix::event::PollFlags::OUT)];
    let timeout = rustix::event::Timespec::try_from(timeout).unwrap();
    let ready = rustix::event::poll(&mut waits, Some(&timeout)).unwrap();
    ready == 1 && matches!(rustix::net::sockopt::socket_error(socket), Ok(Ok(())))
}

#[test]
fn connections_that_nobody_answers_leave_room_for_those_of_others() {
    let held = std::cell::RefCell::new(None);
    let outside = || {
        echo_server(at(V4, 7));
        *held.borrow_mut() = Some(silent(at(V4, 9)));
        (Vec::new(), thread::spawn(|| {}))
    };
    let name = "crowd::connections_that_nobody_answers_leave_room_for_those_of_others";
    between_made(name, made(SHARED), outside, || {
        with_both();
        let greedy: Vec<OwnedFd> = (0..100).map(|_| ask_for(GREEDY, at(V4, 9))).collect();
        // Its own come too late: all that may be dialled are.
        assert!(!stands(&ask_for(GREEDY, at(V4, 7)), Duration::from_millis(500)));
        for _ in 0..3 {
            let other = ask_for(OTHER, at(V4, 7));
            assert!(stands(&other, Duration::from_secs(20)));
        }
        drop(greedy);
    });
}

/// A connection.
pub(super) fn connected(from: &str, to: SocketAddr) -> TcpStream {
    let socket = ask_for(from, to);
    assert!(stands(&socket, Duration::from_secs(20)));
    rustix::io::ioctl_fionbio(&socket, false).unwrap();
    TcpStream::from(socket)
}

/// Connections to somebody who does not read, each full. They are reset when they are dropped.
fn full(from: &str, count: usize) -> Vec<TcpStream> {
    let open = |_| {
        let socket = ask_for(from, at(V4, 9));
        assert!(stands(&socket, Duration::from_secs(20)));
        let mut stream = TcpStream::from(socket);
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        // What the kernel inside takes, it has sent or keeps.
        while stream.write(&[7; 0x4000]).is_ok() {}
        stream
    };
    (0..count).map(open).collect()
}

/// Connects to somebody who gives back what is looked at, and to somebody who gives back anything, and uses both.
fn uses_both(from: &str) {
    for port in [7, LOOKED_AT] {
        let mut stream = connected(from, at(V4, port));
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let sent = [b"ok".to_vec(), pattern(200_000)].concat();
        let mut writer = stream.try_clone().unwrap();
        let all = sent.clone();
        let sender = thread::spawn(move || writer.write_all(&all).unwrap());
        let mut back = vec![0; sent.len()];
        stream.read_exact(&mut back).unwrap();
        sender.join().unwrap();
        assert!(back == sent);
    }
}

fn uploads_leave_memory(name: &str, network: Option<&'static str>, other: &str) {
    let held = std::cell::RefCell::new(Vec::new());
    let outside = || {
        for port in [7, LOOKED_AT] {
            echo_server(at(V4, port));
        }
        let unread = TcpListener::bind(at(V4, 9)).unwrap();
        // Who is accepted has as little room.
        rustix::net::sockopt::set_socket_recv_buffer_size(&unread, 4096).unwrap();
        held.borrow_mut().push(unread);
        (Vec::new(), thread::spawn(|| {}))
    };
    let made = Made { memory: Some(384 << 10), ..made(network) };
    between_made(name, made, outside, || {
        with_both();
        let uploads = full(GREEDY, 40);
        uses_both(other);
        drop(uploads);
    });
}

#[test]
fn uploads_that_nobody_reads_leave_memory_for_other_connections() {
    let name = "crowd::uploads_that_nobody_reads_leave_memory_for_other_connections";
    uploads_leave_memory(name, None, GREEDY);
}

#[test]
fn uploads_of_one_member_leave_memory_for_those_of_others() {
    let name = "crowd::uploads_of_one_member_leave_memory_for_those_of_others";
    uploads_leave_memory(name, SHARED, OTHER);
}

/// Says something, and hears it again.
fn is_answered(stream: &mut TcpStream) {
    stream.write_all(b"hello").unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
}

/// A connection to who gives everything back. It is reset when it is dropped.
fn echoes(from: &str) -> TcpStream {
    let mut stream = connected(from, at(V4, 7));
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    is_answered(&mut stream);
    stream
}

/// Whether the other side has ended it.
fn was_reset(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let heard = stream.read(&mut [0]);
    heard.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

/// One takes every connection there may be. What is left for `other`?
fn connections_stand(name: &str, other: &str, network: Option<&'static str>) {
    let outside = || {
        echo_server(at(V4, 7));
        (Vec::new(), thread::spawn(|| {}))
    };
    let most = Most { streams: 40, ..MOST };
    between_made(name, Made { most, ..made(network) }, outside, || {
        with_both();
        let mut used = echoes(GREEDY);
        let mut idle: Vec<TcpStream> = (1..most.streams).map(|_| echoes(GREEDY)).collect();
        is_answered(&mut used);
        let others = if network.is_some() { most.streams / 2 } else { 0 };
        let mut others: Vec<TcpStream> = (0..others).map(|_| echoes(other)).collect();
        // Nobody has less now: nobody makes room.
        for from in [GREEDY, other] {
            assert!(!stands(&ask_for(from, at(V4, 7)), Duration::from_millis(500)));
        }
        others.iter_mut().chain([&mut used]).for_each(is_answered);
        let ended = idle.iter_mut().filter_map(|one| was_reset(one).then_some(())).count();
        assert_eq!(ended, others.len());
    });
}

#[test]
fn connections_of_one_member_make_room_for_those_of_others() {
    let name = "crowd::connections_of_one_member_make_room_for_those_of_others";
    connections_stand(name, OTHER, SHARED);
}

#[test]
fn in_one_sandbox_a_connection_that_stands_is_not_ended_for_another() {
    let name = "crowd::in_one_sandbox_a_connection_that_stands_is_not_ended_for_another";
    connections_stand(name, GREEDY, None);
}
