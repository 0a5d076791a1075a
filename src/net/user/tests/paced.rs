//! A rate: what passes in real time, by connections, datagrams and clients, and who has to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::published::{client, tcp};
use super::*;

const MOST: Most = Most { streams: 1000, dialling: 100, datagrams: 64 };

pub(super) fn rate(text: &str) -> (Most, Option<Rate>) {
    (MOST, Some(Rate::parse(text).unwrap()))
}

fn nobody() -> thread::JoinHandle<()> {
    thread::spawn(|| {})
}

/// What may have passed at most in a span: 20 ms at once, and some datagram that was begun.
pub(super) fn most(bits: usize, span: Duration) -> usize {
    let ms = usize::try_from(span.as_millis()).unwrap() + 25;
    bits / 8000 * ms + 3000 + 0x1_0000
}

/// Serves bytes without end.
fn source(address: SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || while stream.write_all(&[7; 4096]).is_ok() {});
        }
    });
}

#[test]
fn bytes_pass_at_the_rate_each_way_and_all_of_them() {
    let outside = || {
        echo_server(at(V4, 7));
        echo_server(at(V6, 7));
        (Vec::new(), nobody())
    };
    between_at(
        "paced::bytes_pass_at_the_rate_each_way_and_all_of_them",
        rate("40M/10M"),
        outside,
        || {
            for address in [V4, V6] {
                let began = Instant::now();
                let mut stream = TcpStream::connect(at(address, 7)).unwrap();
                let mut writer = stream.try_clone().unwrap();
                let bytes = pattern(1_000_000);
                let sent = bytes.clone();
                let sender = thread::spawn(move || {
                    writer.write_all(&sent).unwrap();
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                let mut back = Vec::new();
                stream.read_to_end(&mut back).unwrap();
                sender.join().unwrap();
                assert!(back == bytes, "{}", back.len());
                let took = began.elapsed();
                assert!(bytes.len() <= most(10_000_000, took), "{took:?}");
                assert!(took < Duration::from_secs(10), "{took:?}");
            }
        },
    );
}

#[test]
fn what_is_written_last_leaves_though_the_payload_has_ended() {
    let (tell, told) = std::sync::mpsc::channel();
    let outside = move || {
        let listener = TcpListener::bind(at(V4, 9)).unwrap();
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut all).unwrap();
            assert!(all == pattern(300_000), "{}", all.len());
            tell.send(()).unwrap();
        });
        (Vec::new(), reader)
    };
    between_at(
        "paced::what_is_written_last_leaves_though_the_payload_has_ended",
        rate("1M"),
        outside,
        || {
            let mut stream = TcpStream::connect(at(V4, 9)).unwrap();
            stream.write_all(&pattern(300_000)).unwrap();
        },
    );
    drop(told);
}

/// Downloads: bytes that each has, and their ends once the second number is not 0.
struct Downloads(Arc<Vec<AtomicUsize>>, Arc<AtomicUsize>, Vec<thread::JoinHandle<()>>);

fn downloads(flows: usize) -> Downloads {
    downloads_of(&vec![crowd::GREEDY; flows])
}

/// One from each of these addresses.
fn downloads_of(whose: &[&str]) -> Downloads {
    let counts: Arc<Vec<AtomicUsize>> = Arc::new(whose.iter().map(|_| 0.into()).collect());
    let over = Arc::new(AtomicUsize::new(0));
    let threads = whose.iter().enumerate().map(|(flow, from)| {
        let (counts, over) = (Arc::clone(&counts), Arc::clone(&over));
        let mut stream = crowd::connected(from, at(V4, 19));
        // Its end is a reset: else what is under way to it then has nobody to take it.
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        thread::spawn(move || {
            let mut room = vec![0; 65_536];
            while over.load(Ordering::Relaxed) == 0 {
                counts[flow].fetch_add(stream.read(&mut room).unwrap(), Ordering::Relaxed);
            }
        })
    });
    let threads = threads.collect();
    Downloads(counts, over, threads)
}

fn sum(counts: &[AtomicUsize]) -> usize {
    counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
}

/// Bytes that others had while a short question was answered: a busy machine does not change them much.
fn waits(counts: &[AtomicUsize]) -> Vec<usize> {
    let mut asking = TcpStream::connect(at(V4, 7)).unwrap();
    asking.set_nodelay(true).unwrap();
    let datagrams = UdpSocket::bind("0.0.0.0:0").unwrap();
    datagrams.connect(at(V4, 7)).unwrap();
    let mut waits = Vec::new();
    for turn in 0..15 {
        let before = sum(counts);
        let mut room = [0; 1];
        if turn % 3 == 0 {
            datagrams.send(b"?").unwrap();
            datagrams.recv(&mut room).unwrap();
        } else if turn % 3 == 1 {
            asking.write_all(b"?").unwrap();
            asking.read_exact(&mut room).unwrap();
        } else {
            let mut other = TcpStream::connect(at(V4, 7)).unwrap();
            other.write_all(b"?").unwrap();
            other.read_exact(&mut room).unwrap();
        }
        waits.push(sum(counts) - before);
        thread::sleep(Duration::from_millis(30));
    }
    waits
}

#[test]
fn downloads_share_the_rate_and_a_short_question_does_not_wait_for_them() {
    let outside = || {
        source(at(V4, 19));
        echo_server(at(V4, 7));
        let echo = UdpSocket::bind(at(V4, 7)).unwrap();
        thread::spawn(move || {
            let mut room = [0; 100];
            while let Ok((length, from)) = echo.recv_from(&mut room) {
                echo.send_to(&room[..length], from).unwrap();
            }
        });
        (Vec::new(), nobody())
    };
    let name = "paced::downloads_share_the_rate_and_a_short_question_does_not_wait_for_them";
    between_at(name, rate("4M"), outside, || {
        let began = Instant::now();
        let Downloads(counts, over, threads) = downloads(8);
        while counts.iter().any(|count| count.load(Ordering::Relaxed) < 20_000) {
            assert!(began.elapsed() < Duration::from_secs(30));
            thread::sleep(Duration::from_millis(20));
        }
        let mut waits = waits(&counts);
        waits.sort_unstable();
        // A turn of each download is 12,000 bytes; a queue of what they have asked for would be millions.
        assert!(waits[7] <= 60_000, "{waits:?}");
        let first: Vec<usize> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        while sum(&counts) < first.iter().sum::<usize>() + 800_000 {
            thread::sleep(Duration::from_millis(20));
        }
        let each: Vec<usize> = counts
            .iter()
            .zip(first)
            .map(|(now, first)| now.load(Ordering::Relaxed) - first)
            .collect();
        over.store(1, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap();
        }
        let span = began.elapsed();
        assert!(each.iter().all(|bytes| (80_000..125_000).contains(bytes)), "{each:?}");
        assert!(sum(&counts) <= most(4_000_000, span), "{} {span:?}", sum(&counts));
    });
}

/// What one download of somebody gets while twenty of another get a megabyte.
fn beside_twenty(name: &str, network: Option<&'static str>, other: &str) {
    let outside = || {
        source(at(V4, 19));
        (Vec::new(), nobody())
    };
    let (most, rate) = rate("8M");
    between_made(name, Made { most, rate, network, memory: None }, outside, || {
        crowd::with_both();
        let whose = [vec![crowd::GREEDY; 20], vec![other]].concat();
        let Downloads(counts, over, threads) = downloads_of(&whose);
        let (greedy, one) = counts.split_at(20);
        // All are under way, and nothing of the begin is left.
        while counts.iter().any(|count| count.load(Ordering::Relaxed) < 20_000) {
            thread::sleep(Duration::from_millis(10));
        }
        let (before, until) = (sum(one), sum(greedy) + 1_000_000);
        while sum(greedy) < until {
            thread::sleep(Duration::from_millis(10));
        }
        let got = sum(one) - before;
        over.store(1, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap();
        }
        let fair = if network.is_some() { 800_000..1_250_000 } else { 30_000..80_000 };
        assert!(fair.contains(&got), "{got}");
    });
}

#[test]
fn a_member_with_many_connections_has_no_more_of_the_rate_than_one_with_one() {
    let name = "paced::a_member_with_many_connections_has_no_more_of_the_rate_than_one_with_one";
    beside_twenty(name, crowd::SHARED, crowd::OTHER);
}

#[test]
fn in_one_sandbox_all_connections_have_the_same_of_the_rate() {
    let name = "paced::in_one_sandbox_all_connections_have_the_same_of_the_rate";
    beside_twenty(name, None, crowd::GREEDY);
}

#[test]
fn floods_of_datagrams_do_not_exceed_the_rate() {
    let (bits, sizes) = (2_000_000, [1_usize, 100, 1400, 60_000]);
    let outside = move || {
        let socket = UdpSocket::bind(at(V4, 9)).unwrap();
        let counter = thread::spawn(move || {
            let mut room = vec![0; 65_536];
            let (mut first, mut all, mut seen) = (None, 0, [0; 4]);
            loop {
                let length = socket.recv(&mut room).unwrap();
                if length == 3 {
                    break;
                }
                let began = *first.get_or_insert_with(Instant::now);
                all += length + 28;
                seen[sizes.iter().position(|size| *size == length).unwrap()] += 1;
                assert!(all <= most(bits, began.elapsed()), "{all} {:?}", began.elapsed());
            }
            // Each flow had its share, also the one of the largest.
            assert!(seen[0] > 500 && seen[1] > 100 && seen[2] > 10 && seen[3] > 0, "{seen:?}");
        });
        (Vec::new(), counter)
    };
    between_at(
        "paced::floods_of_datagrams_do_not_exceed_the_rate",
        rate("2M"),
        outside,
        move || {
            let until = Instant::now() + Duration::from_millis(1500);
            let flood = |size: usize| {
                thread::spawn(move || {
                    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                    socket.connect(at(V4, 9)).unwrap();
                    let bytes = vec![1; size];
                    while Instant::now() < until {
                        // One that the interface has no room for is lost.
                        let _sent: std::io::Result<usize> = socket.send(&bytes);
                        thread::sleep(Duration::from_micros(100));
                    }
                })
            };
            sizes.map(flood).into_iter().for_each(|thread| thread.join().unwrap());
            let last = UdpSocket::bind("0.0.0.0:0").unwrap();
            last.connect(at(V4, 9)).unwrap();
            for _ in 0..20 {
                // Once it was heard, nobody listens.
                if last.send(b"end").is_err() {
                    break;
                }
                thread::sleep(Duration::from_millis(50));
            }
        },
    );
}

/// Sends `length` bytes and their end, and gives what comes back before the end or a reset.
fn echoed(mut stream: TcpStream, length: usize) -> Vec<u8> {
    let mut writer = stream.try_clone().unwrap();
    let sender = thread::spawn(move || {
        let sent = writer.write_all(&pattern(length));
        sent.and_then(|()| writer.shutdown(Shutdown::Write)).unwrap_or_default();
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap_or_default();
    sender.join().unwrap();
    back
}

#[test]
fn clients_of_published_ports_count_too() {
    let outside = || {
        let port = tcp(V4, 8080, 80);
        let clients = thread::spawn(|| {
            let (mut began, mut back) = (Instant::now(), Vec::new());
            for _ in 0..500 {
                began = Instant::now();
                back = echoed(client(V4, 0, at(V4, 8080)), 400_000);
                // Who does not listen yet has reset it.
                if !back.is_empty() {
                    break;
                }
                thread::sleep(Duration::from_millis(10));
            }
            assert!(back == pattern(400_000));
            // The payload had to get all of it.
            assert!(400_000 <= most(8_000_000, began.elapsed()), "{:?}", began.elapsed());
        });
        (vec![port], clients)
    };
    between_at("paced::clients_of_published_ports_count_too", rate("8M/100M"), outside, || {
        let listener = TcpListener::bind(at("10.0.2.100", 80)).unwrap();
        let mut stream = listener.accept().unwrap().0;
        let mut writer = stream.try_clone().unwrap();
        std::io::copy(&mut stream, &mut writer).unwrap();
    });
}
