//! Ways to use more than the rate: what payloads and clients of published ports try.
//!
//! Each counts at the other end, where no rate is known. That the same goes on much faster without one, and so the
//! attack is one, is tried beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::net::sockopt;

use super::paced::{most, rate};
use super::published::udp;
use super::*;

/// Bytes that came through, as a socket outside sees them.
struct Counter(Arc<AtomicUsize>);

const SPAN: Duration = Duration::from_secs(2);
const SLOW: usize = 100_000;

/// Where the payload hears that it is over.
const OVER: u16 = 10;

/// Has an attack go on at a slow rate, and without one. `ahead` may have come before it was counted.
fn tried(name: &str, ahead: usize, attack: fn(), outside: fn() -> Counter) {
    for text in [Some("100k"), None] {
        let (most_flows, rate) = text.map_or((rate("1M").0, None), rate);
        let outside = move || {
            let Counter(counted) = outside();
            let over = TcpListener::bind(at(V4, OVER)).unwrap();
            let watch = thread::spawn(move || {
                let held = over.accept().unwrap();
                if rate.is_some() {
                    bounded(&counted, ahead);
                } else {
                    unbounded(&counted, ahead);
                }
                drop(held);
            });
            (Vec::new(), watch)
        };
        between_at(name, (most_flows, rate), outside, attack);
    }
}

/// What a rate allows for: its bytes, and what opens flows, which may be owed.
fn allowed(span: Duration, ahead: usize) -> usize {
    most(SLOW, span) + 0x1_0000 + ahead
}

fn bounded(counted: &AtomicUsize, ahead: usize) {
    let began = Instant::now();
    while began.elapsed() < SPAN || counted.load(Ordering::Relaxed) == 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "nothing came through");
        thread::sleep(Duration::from_millis(10));
    }
    let all = counted.load(Ordering::Relaxed);
    let may = allowed(began.elapsed(), ahead);
    assert!(all <= may, "{all} of {may} in {:?}", began.elapsed());
}

/// Until there is twice as much; however slow the machine is.
fn unbounded(counted: &AtomicUsize, ahead: usize) {
    let began = Instant::now();
    while counted.load(Ordering::Relaxed) < 2 * allowed(began.elapsed(), ahead) {
        assert!(began.elapsed() < Duration::from_mins(1), "no attack: {counted:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// In the payload: some threads that do the same until it is over.
fn in_threads(number: usize, act: fn()) {
    let mut held = TcpStream::connect(at(V4, OVER)).unwrap();
    let over = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..number)
        .map(|_| {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                while over.load(Ordering::Relaxed) == 0 {
                    act();
                }
            })
        })
        .collect();
    assert_eq!(held.read(&mut [0]).unwrap(), 0);
    over.store(1, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    // The last ones have their ends.
    thread::sleep(Duration::from_millis(500));
}

/// A connection; none in a short while where nobody answers.
fn dialled(port: u16) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&at(V4, port), Duration::from_millis(300)).ok()?;
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    Some(stream)
}

#[test]
fn connections_that_say_nothing_are_not_for_nothing() {
    let count = || {
        let counter = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind(at(V4, 9)).unwrap();
        let inner = Arc::clone(&counter);
        thread::spawn(move || {
            for _stream in listener.incoming() {
                inner.fetch_add(180, Ordering::Relaxed);
            }
        });
        Counter(counter)
    };
    let name = "faster::connections_that_say_nothing_are_not_for_nothing";
    tried(name, 0, || in_threads(8, || drop(dialled(9))), count);
}

#[test]
fn who_asks_for_much_and_hangs_up_has_it_counted() {
    const MUCH: usize = 20_000;
    let count = || {
        let counter = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind(at(V4, 9)).unwrap();
        let inner = Arc::clone(&counter);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stream.unwrap().write_all(&vec![7; MUCH]).is_ok() {
                    inner.fetch_add(MUCH, Ordering::Relaxed);
                }
            }
        });
        Counter(counter)
    };
    let attack = || {
        in_threads(4, || {
            if let Some(stream) = dialled(9) {
                thread::sleep(Duration::from_millis(20));
                drop(stream);
            }
        });
    };
    // Those that are under way when it is looked, and slow to end on a busy machine.
    tried("faster::who_asks_for_much_and_hangs_up_has_it_counted", 40 * MUCH, attack, count);
}

#[test]
fn tiny_datagrams_from_ever_new_ports_are_no_way_round() {
    let count = || {
        let counter = Arc::new(AtomicUsize::new(0));
        let socket = UdpSocket::bind(at(V4, 9)).unwrap();
        let inner = Arc::clone(&counter);
        thread::spawn(move || {
            while let Ok(length) = socket.recv(&mut [0; 8]) {
                inner.fetch_add(length + 28, Ordering::Relaxed);
            }
        });
        Counter(counter)
    };
    let attack = || {
        in_threads(2, || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            for _ in 0..3 {
                let _sent: std::io::Result<usize> = socket.send_to(b"", at(V4, 9));
            }
        });
    };
    tried("faster::tiny_datagrams_from_ever_new_ports_are_no_way_round", 0, attack, count);
}

#[test]
fn datagrams_of_many_clients_come_in_at_the_rate() {
    let outside = || {
        let flood = thread::spawn(|| {
            let until = Instant::now() + SPAN + Duration::from_secs(2);
            while Instant::now() < until {
                let socket = UdpSocket::bind(at(V4, 0)).unwrap();
                for _ in 0..50 {
                    let _sent: std::io::Result<usize> = socket.send_to(&[0; 1000], at(V4, 5353));
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        (vec![udp(V4, 5353, 53)], flood)
    };
    let name = "faster::datagrams_of_many_clients_come_in_at_the_rate";
    between_at(name, rate("100k/100M"), outside, || {
        let socket = UdpSocket::bind("10.0.2.100:53").unwrap();
        let (mut first, mut all) = (None, 0);
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut room = [0; 2000];
        while first.is_none_or(|began: Instant| began.elapsed() < SPAN) {
            let length = socket.recv(&mut room).unwrap();
            all += length + 28;
            let began = *first.get_or_insert_with(Instant::now);
            assert!(all <= most(SLOW, began.elapsed()), "{all} {:?}", began.elapsed());
        }
        assert!(all >= SLOW / 8, "{all}");
    });
}
