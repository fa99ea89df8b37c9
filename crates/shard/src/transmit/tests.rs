use super::*;
use crate::arrivals::Clocks;
use crate::own_network::{add_loopback_address, with_loopback_mtu};
use crate::receive::Receiver;
use crate::socket;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

fn loopback() -> UdpSocket {
    socket::bind(([127, 0, 0, 1], 0).into()).unwrap()
}

fn put(arena: &mut Arena, destination: SocketAddr, first: u8, len: usize) {
    let datagram = arena.open(destination.into(), len);
    datagram.fill(first.wrapping_mul(31));
    datagram[0] = first;
    arena.commit(len);
}

fn wait_readable(socket: &UdpSocket) {
    let mut wanted = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd that outlives the call.
    let ready = unsafe { libc::poll(&mut wanted, 1, 5000) };
    assert_eq!(ready, 1, "nothing came");
}

/// Receive until `count` datagrams are there: (first byte, length); and in how many messages.
fn collect(socket: &UdpSocket, count: usize) -> (Vec<(u8, usize)>, u64) {
    let mut receiver = Receiver::new();
    let mut got = Vec::new();
    while got.len() < count {
        wait_readable(socket);
        receiver.receive(socket.as_fd()).unwrap();
        receiver.for_each(Clocks::read(), |_, _, datagram| {
            assert!(
                datagram[1..]
                    .iter()
                    .all(|byte| *byte == datagram[0].wrapping_mul(31))
            );
            got.push((datagram[0], datagram.len()));
        });
    }
    (got, receiver.stats.messages)
}

#[test]
fn runs_are_segmented_by_the_kernel_and_coalesced_for_the_receiver() {
    let (from, to, other) = (loopback(), loopback(), loopback());
    let mut arena = Arena::new(1 << 20);
    let mut expected = Vec::new();
    for index in 0..20_u8 {
        let len = if index % 10 == 9 { 700 } else { 1100 };
        put(&mut arena, to.local_addr().unwrap(), index, len);
        expected.push((index, len));
    }
    for index in 0..20 {
        put(&mut arena, other.local_addr().unwrap(), index, 90);
    }
    let mut transmitter = Transmitter::new(false, true);
    transmitter.flush(from.as_fd(), &mut arena);
    let sent = &transmitter.stats;
    assert!(arena.is_empty());
    assert!(transmitter.gso());
    assert_eq!((sent.datagrams, sent.calls), (40, 1));
    assert_eq!(
        sent.messages,
        2 + 2,
        "two runs of ten, one of sixteen, one of four"
    );
    assert_eq!(sent.bytes, 18 * 1100 + 2 * 700 + 20 * 90);

    assert_eq!(collect(&to, 20), (expected, 2));
    let small: Vec<_> = (0..20).map(|index| (index, 90)).collect();
    assert_eq!(collect(&other, 20), (small, 2));
}

#[test]
fn where_the_kernel_is_not_to_cut_runs_each_datagram_is_a_message_and_a_batch_one_call() {
    let (from, to) = (loopback(), loopback());
    assert!(socket::can_segment(&from), "Linux 4.18");
    let mut arena = Arena::new(1 << 20);
    arena.stop_coalescing();
    let expected: Vec<_> = (0..20).map(|index| (index, 1100)).collect();
    for (first, len) in &expected {
        put(&mut arena, to.local_addr().unwrap(), *first, *len);
    }
    let mut transmitter = Transmitter::new(false, false);
    transmitter.flush(from.as_fd(), &mut arena);
    let sent = &transmitter.stats;
    assert_eq!((sent.datagrams, sent.calls, sent.messages), (20, 1, 20));
    assert_eq!(collect(&to, 20).0, expected);
    assert!(!transmitter.gso());
}

#[test]
fn a_socket_that_refuses_segmentation_to_everybody_gives_it_up_and_loses_nothing() {
    let from = loopback();
    let receivers: Vec<_> = (0..GIVE_UP_AFTER).map(|_| loopback()).collect();
    // The kernel answers EINVAL to segmentation on a socket without checksums.
    socket::set(&from, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    let mut arena = Arena::new(1 << 20);
    let mut transmitter = Transmitter::new(false, true);
    let expected: Vec<_> = (0..8).map(|index| (index, 500)).collect();
    for (number, to) in receivers.iter().enumerate() {
        assert!(transmitter.gso(), "{number} different paths refused it");
        for (first, len) in &expected {
            put(&mut arena, to.local_addr().unwrap(), *first, *len);
        }
        transmitter.flush(from.as_fd(), &mut arena);
        assert_eq!(collect(to, 8).0, expected);
    }
    assert!(!transmitter.gso());
    let stats = &transmitter.stats;
    let all = 8 * GIVE_UP_AFTER as u64;
    assert_eq!((stats.datagrams, stats.messages), (all, all));
}

#[test]
fn one_destination_that_cannot_be_reached_costs_the_others_nothing() {
    let (from, to) = (loopback(), loopback());
    let mut arena = Arena::new(1 << 20);
    let to_address = to.local_addr().unwrap();
    put(&mut arena, to_address, 1, 100);
    // A socket bound to loopback has no way out.
    put(&mut arena, ([192, 0, 2, 1], 9).into(), 2, 100);
    put(&mut arena, ([192, 0, 2, 1], 9).into(), 3, 100);
    // The kernel takes nothing for port 0, and answers as it answers to a run that it cannot cut.
    put(&mut arena, ([127, 0, 0, 1], 0).into(), 4, 100);
    put(&mut arena, ([127, 0, 0, 1], 0).into(), 6, 100);
    put(&mut arena, to_address, 5, 200);
    let mut transmitter = Transmitter::new(false, true);
    transmitter.flush(from.as_fd(), &mut arena);
    assert_eq!(collect(&to, 2).0, [(1, 100), (5, 200)]);
    let stats = &transmitter.stats;
    assert_eq!(stats.datagrams, 2);
    assert_eq!(stats.unreachable + stats.failed, 4);
    assert!(
        transmitter.gso(),
        "one bad destination is no fault of the socket's"
    );
}

#[test]
fn more_runs_than_a_batch_all_arrive_in_order() {
    let (from, to) = (loopback(), loopback());
    let mut arena = Arena::new(1 << 20);
    let expected: Vec<_> = (0..200_u8)
        .map(|index| (index, 300 + usize::from(index)))
        .collect();
    for (first, len) in &expected {
        put(&mut arena, to.local_addr().unwrap(), *first, *len);
    }
    let mut transmitter = Transmitter::new(false, true);
    transmitter.flush(from.as_fd(), &mut arena);
    assert_eq!(collect(&to, 200).0, expected);
    assert_eq!(transmitter.stats.datagrams, 200);
}

#[test]
fn an_ipv6_socket_reaches_ipv4_and_names_it_so() {
    let Ok(from) = socket::bind("[::]:0".parse().unwrap()) else {
        eprintln!("no IPv6 here");
        return;
    };
    let to = loopback();
    let mut arena = Arena::new(1 << 16);
    put(&mut arena, to.local_addr().unwrap(), 1, 50);
    Transmitter::new(true, true).flush(from.as_fd(), &mut arena);
    assert_eq!(collect(&to, 1).0, [(1, 50)]);

    let port = from.local_addr().unwrap().port();
    to.send_to(b"hello", ("127.0.0.1", port)).unwrap();
    wait_readable(&from);
    let mut receiver = Receiver::new();
    receiver.receive(from.as_fd()).unwrap();
    let mut sources = Vec::new();
    receiver.for_each(Clocks::read(), |source, _, _| sources.push(source.remote));
    assert_eq!(sources, [to.local_addr().unwrap()]);
}

#[test]
fn a_path_with_a_small_mtu_loses_nothing_and_leaves_segmentation_to_the_others() {
    let name = "transmit::tests::a_path_with_a_small_mtu_loses_nothing_and_leaves_segmentation_to_the_others";
    with_loopback_mtu(name, 1000, || {
        let (from, small, other) = (loopback(), loopback(), loopback());
        let mut arena = Arena::new(1 << 20);
        let mut transmitter = Transmitter::new(false, true);
        for round in 0..3 {
            for (to, len) in [(&small, 1200), (&other, 700)] {
                let to = to.local_addr().unwrap();
                (0..8).for_each(|index| put(&mut arena, to, index, len));
            }
            transmitter.flush(from.as_fd(), &mut arena);
            let long: Vec<_> = (0..8).map(|index| (index, 1200)).collect();
            let short: Vec<_> = (0..8).map(|index| (index, 700)).collect();
            assert_eq!(collect(&small, 8).0, long);
            assert_eq!(collect(&other, 8), (short, 1), "still one message");
            assert!(transmitter.gso());
            // Known now: no run is tried that would be refused again.
            assert_eq!(transmitter.stats.split_runs, 1, "round {round}");
        }
        // A shorter one behind two that go alone makes no run with them.
        for (index, len) in [(0, 1200), (1, 1200), (2, 700)] {
            put(&mut arena, small.local_addr().unwrap(), index, len);
        }
        transmitter.flush(from.as_fd(), &mut arena);
        assert_eq!(collect(&small, 3).0, [(0, 1200), (1, 1200), (2, 700)]);
        assert_eq!(transmitter.stats.split_runs, 1);
        // What is short enough goes as runs there, too.
        for index in 0..8 {
            put(&mut arena, small.local_addr().unwrap(), index, 200);
        }
        let before = transmitter.stats.messages;
        transmitter.flush(from.as_fd(), &mut arena);
        assert_eq!(transmitter.stats.messages - before, 1);
    });
}

#[test]
fn paths_that_refuse_runs_one_after_the_other_end_nothing_while_others_take_them() {
    let name = "transmit::tests::paths_that_refuse_runs_one_after_the_other_end_nothing_while_others_take_them";
    with_loopback_mtu(name, 1000, || {
        let (from, other) = (loopback(), loopback());
        let mut arena = Arena::new(1 << 20);
        let mut transmitter = Transmitter::new(false, true);
        for _ in 0..3 * GIVE_UP_AFTER {
            let small = loopback();
            for (to, len) in [(&small, 1200), (&other, 700)] {
                let to = to.local_addr().unwrap();
                (0..4).for_each(|index| put(&mut arena, to, index, len));
            }
            transmitter.flush(from.as_fd(), &mut arena);
            assert_eq!(collect(&small, 4).0.len(), 4);
        }
        assert!(transmitter.gso());
        let stats = &transmitter.stats;
        assert_eq!(stats.datagrams, 8 * 3 * GIVE_UP_AFTER as u64);
    });
}

#[test]
fn an_error_of_one_message_never_ends_what_waits_behind_it() {
    let verdicts = [
        (libc::EPERM, Verdict::Drop(Loss::Unreachable)),
        (libc::ECONNREFUSED, Verdict::Drop(Loss::Unreachable)),
        (libc::ENETUNREACH, Verdict::Drop(Loss::Unreachable)),
        (libc::ENOBUFS, Verdict::Drop(Loss::NoBuffer)),
        (libc::ENOMEM, Verdict::Drop(Loss::NoBuffer)),
        (libc::EINVAL, Verdict::Drop(Loss::Unreachable)),
        (libc::EMSGSIZE, Verdict::Drop(Loss::TooLarge)),
        (libc::EIO, Verdict::Drop(Loss::Failed)),
    ];
    for (errno, expected) in verdicts {
        assert_eq!(verdict(errno, 1), expected, "{errno}");
    }
    for errno in [libc::EINVAL, libc::EIO, libc::EMSGSIZE, libc::EOPNOTSUPP] {
        assert_eq!(verdict(errno, 2), Verdict::Split, "{errno}");
    }
    assert_eq!(verdict(libc::EAGAIN, 1), Verdict::Wait);
    assert_eq!(verdict(libc::EINTR, 1), Verdict::Again);
}

/// A socket bound so is asked at that address, and answers with one run.
fn answers_from_where_it_was_asked(bound: &str, ipv6: bool, asked: &str) {
    let server = socket::bind(bound.parse().unwrap()).unwrap();
    let asked: std::net::IpAddr = asked.parse().unwrap();
    let any: SocketAddr = if asked.is_ipv4() {
        ([127, 0, 0, 1], 0).into()
    } else {
        "[::1]:0".parse().unwrap()
    };
    let client = socket::bind(any).unwrap();
    let port = server.local_addr().unwrap().port();
    client.send_to(b"hello", (asked, port)).unwrap();
    wait_readable(&server);
    let mut receiver = Receiver::new();
    receiver.receive(server.as_fd()).unwrap();
    let mut path = None;
    receiver.for_each(Clocks::read(), |from, _, _| path = Some(from));
    let path = path.unwrap();
    assert_eq!(path.local, Some(asked), "{bound}");
    assert_eq!(path.remote, client.local_addr().unwrap());

    let mut arena = Arena::new(1 << 16);
    for index in 0..4_u8 {
        arena.open(path, 300).fill(index);
        arena.commit(300);
    }
    arena.open(path, 10).fill(9);
    arena.commit(10);
    let mut transmitter = Transmitter::new(ipv6, true);
    transmitter.flush(server.as_fd(), &mut arena);
    assert_eq!(transmitter.stats.messages, 1, "{bound}");
    let mut sources = Vec::new();
    let mut receiver = Receiver::new();
    while sources.len() < 5 {
        wait_readable(&client);
        receiver.receive(client.as_fd()).unwrap();
        receiver.for_each(Clocks::read(), |from, _, _| sources.push(from.remote.ip()));
    }
    assert_eq!(sources, [asked; 5], "{bound}");
}

#[test]
fn an_answer_leaves_from_the_address_that_was_asked_also_as_a_run() {
    for (bound, ipv6, asked) in [
        ("0.0.0.0:0", false, "127.0.0.5"),
        ("0.0.0.0:0", false, "127.0.0.9"),
        ("[::]:0", true, "127.0.0.5"),
        ("[::]:0", true, "::1"),
    ] {
        answers_from_where_it_was_asked(bound, ipv6, asked);
    }
}

#[test]
fn an_ipv6_answer_leaves_from_each_address_of_a_machine_that_has_several() {
    let name =
        "transmit::tests::an_ipv6_answer_leaves_from_each_address_of_a_machine_that_has_several";
    with_loopback_mtu(name, 65_536, || {
        for address in ["fd00::5", "fd00::9"] {
            add_loopback_address(address.parse().unwrap());
        }
        for asked in ["fd00::5", "fd00::9", "::1"] {
            answers_from_where_it_was_asked("[::]:0", true, asked);
        }
    });
}

#[test]
fn an_address_that_this_machine_lost_costs_its_own_path_alone() {
    // The kernel answers ENETUNREACH for the one family and EINVAL for the other.
    for (bound, loopback, lost) in [
        ("0.0.0.0:0", "127.0.0.1:0", "192.0.2.77"),
        ("[::]:0", "[::1]:0", "2001:db8::77"),
    ] {
        let server = socket::bind(bound.parse().unwrap()).unwrap();
        let to = socket::bind(loopback.parse().unwrap()).unwrap();
        let remote = to.local_addr().unwrap();
        let lost = Path::udp(Some(lost.parse().unwrap()), remote);
        let mut arena = Arena::new(1 << 16);
        for path in [lost, remote.into()] {
            for index in 0..3_u8 {
                let datagram = arena.open(path, 60);
                datagram.fill(index.wrapping_mul(31));
                datagram[0] = index;
                arena.commit(60);
            }
        }
        let mut transmitter = Transmitter::new(remote.is_ipv6(), true);
        transmitter.flush(server.as_fd(), &mut arena);
        assert_eq!(collect(&to, 3), (vec![(0, 60), (1, 60), (2, 60)], 1));
        assert_eq!(transmitter.stats.unreachable, 3, "{bound}");
        assert!(transmitter.gso());
    }
}
