//! Peers that wait for our ClientHello (`a=setup:passive`): str0m, and dimpl with and without cookies. Whoever can write
//! from their address, and sees nothing of what is said, ends none of it.

use parlour_media::dtls::DtlsRole;
use parlour_media::num::Rng;
use parlour_media::{CloseReason, DropReason, Event, Kind};
use parlour_sim::raw::{RawPeer, producer, rtp_packet};
use parlour_sim::{Camera, Hop, Sim};
use std::time::Duration;

fn record(kind: u8, epoch: u8, number: u16, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 254, 253, 0, epoch, 0, 0, 0, 0];
    out.extend(number.to_be_bytes());
    out.extend((body.len() as u16).to_be_bytes());
    out.extend(body);
    out
}

/// A whole handshake message in a record.
fn message(kind: u8, seq: u16, number: u16, body: &[u8]) -> Vec<u8> {
    let length = &(body.len() as u32).to_be_bytes()[1..];
    let header = [&[kind][..], length, &seq.to_be_bytes(), &[0; 3], length].concat();
    record(22, 0, number, &[&header, body].concat())
}

fn connected(sim: &Sim) -> bool {
    let connected = |event: &Event| matches!(event, Event::TransportConnected { .. });
    sim.events.iter().any(connected)
}

fn closed(sim: &Sim) -> Vec<CloseReason> {
    let closed = sim.events.iter().filter_map(|event| match event {
        Event::TransportClosed { reason, .. } => Some(*reason),
        _ => None,
    });
    closed.collect()
}

#[test]
fn pictures_cross_between_a_peer_that_says_hello_and_one_that_waits_for_it_in_both_directions() {
    let mut sim = Sim::new(1);
    sim.add_peer();
    sim.add_passive_peer();
    sim.run_until(Duration::from_secs(5), |sim| {
        sim.peers.iter().all(|peer| peer.connected)
    });
    assert!(
        sim.peers.iter().all(|peer| peer.connected),
        "{:?}",
        sim.events
    );
    for (from, to, ssrc) in [(0, 1, 1000), (1, 0, 2000)] {
        let video = sim.publish(from, Kind::Video, ssrc);
        sim.subscribe(to, video, Kind::Video, 3000 + ssrc);
        let mut camera = Camera::new(from, ssrc, 500, 90_000);
        for number in 0..30 {
            camera.frame(&mut sim, number == 0);
        }
        sim.run(Duration::from_millis(200));
        let received = sim.peers[to].received.iter();
        let pictures = received.filter(|packet| packet.header.ssrc == (3000 + ssrc).into());
        let pictures: Vec<&[u8]> = pictures.map(|packet| &packet.payload[..]).collect();
        assert_eq!(
            pictures,
            camera.sent.iter().map(|sent| &sent[..]).collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_server_that_asks_for_a_cookie_is_brought_it_and_one_that_does_not_is_not() {
    for asks in [false, true] {
        let mut sim = Sim::new(7);
        let mut peer = RawPeer::connect_passive(&mut sim, 1, asks);
        assert!(connected(&sim), "{:?}", sim.events);
        let spec = producer(peer.transport, Kind::Audio);
        sim.command(parlour_media::Command::AddProducer(spec));
        peer.send_rtp(&mut sim, &rtp_packet(111, 1, 960, 1000, b"sound"));
        let snapshot = sim.router.snapshot();
        assert_eq!(
            snapshot.producers[0].packets, 1,
            "what it sealed was opened"
        );
    }
}

#[test]
fn nothing_is_said_to_a_peer_before_it_is_proven_to_be_there() {
    let mut sim = Sim::new(3);
    sim.filter = Box::new(|hop, datagram, _| {
        let is_answer = matches!(hop, Hop::Up(_)) && datagram[..2] == [1, 1];
        assert!(
            !matches!(hop, Hop::Down(_)) || datagram[0] != 22,
            "a hello to anybody"
        );
        !is_answer
    });
    sim.add_passive_peer();
    sim.run(Duration::from_secs(10));
    assert!(!connected(&sim));
}

#[test]
fn what_is_lost_of_the_handshake_is_said_again_by_the_timer() {
    for seed in 0..20 {
        let mut sim = Sim::new(seed);
        let mut lost = 0;
        // Of the first dozen DTLS datagrams half get lost, in both directions.
        sim.filter = Box::new(move |_, datagram, rng| {
            let is_dtls = (20..64).contains(&datagram[0]);
            let loses = is_dtls && lost < 6 && rng.below(2) == 0;
            lost += i32::from(loses);
            !loses
        });
        sim.add_passive_peer();
        sim.run(Duration::from_secs(25));
        assert!(
            connected(&sim) && sim.peers[0].connected,
            "seed {seed}: {:?}",
            sim.events
        );
        assert_eq!(closed(&sim), [], "seed {seed}");
    }
}

#[test]
fn a_peer_with_another_certificate_than_the_announced_one_gets_no_keys_and_is_named_by_it() {
    let mut sim = Sim::new(5);
    let index = sim.add_unnamed_passive_peer();
    sim.name_peer_as(index, [7; 32], DtlsRole::Client);
    sim.run(Duration::from_secs(35));
    assert!(!connected(&sim));
    assert_eq!(closed(&sim), [CloseReason::FingerprintMismatch]);
}

/// What a server may say, forged by somebody who saw nothing of ours.
fn forged(rng: &mut Rng) -> Vec<u8> {
    let mut random = |len: usize| -> Vec<u8> { (0..len).map(|_| rng.next_u32() as u8).collect() };
    let hello = [
        &[254, 253][..],
        &random(32),
        &[
            0, 192, 43, 0, 0, 14, 0, 23, 0, 0, 0, 14, 0, 5, 0, 2, 0, 8, 0,
        ],
        &[255, 1, 0, 1, 0],
    ]
    .concat();
    let certificate = [&[0, 1, 46, 0, 1, 43, 0x30, 0x82][..], &random(297)].concat();
    let exchange = [
        &[3, 0, 29, 32][..],
        &random(32),
        &[4, 3, 0, 71, 0x30, 69, 2, 33, 0],
        &random(66),
    ]
    .concat();
    let request = [1, 64, 0, 4, 4, 3, 5, 3, 0, 0];
    let seq = rng.below(2) as u16;
    let number = rng.below(50) as u16;
    let garbage: Vec<u8> = (0..rng.below(90)).map(|_| rng.next_u32() as u8).collect();
    match rng.below(12) {
        0 => message(2, seq, number, &hello),
        1 => message(11, seq + 1, number, &certificate),
        2 => message(12, seq + 2, number, &exchange),
        3 => message(13, seq + 3, number, &request),
        4 => message(14, seq + 4, number, &[]),
        5 => [
            message(2, seq, 0, &hello),
            message(11, seq + 1, 1, &certificate),
            message(12, seq + 2, 2, &exchange),
            message(13, seq + 3, 3, &request),
            message(14, seq + 4, 4, &[]),
        ]
        .concat(),
        6 => record(21, 0, number, &[2, 40]),
        7 => record(21, 0, number, &[1, 0]),
        8 => record(20, 0, number, &[1]),
        9 => record(22, 1, number, &garbage),
        10 => message(rng.below(30) as u8, rng.below(6) as u16, number, &garbage),
        _ => record(
            20 + rng.below(5) as u8,
            rng.below(3) as u8,
            number,
            &garbage,
        ),
    }
}

#[test]
fn forged_answers_to_our_hello_end_no_join() {
    for seed in 0..8 {
        let mut sim = Sim::new(seed);
        sim.delay = Duration::from_millis(5 + 13 * (seed % 4));
        sim.add_passive_peer();
        let source = sim.peers[0].address;
        let mut rng = Rng::new(seed);
        for _ in 0..3000 {
            for _ in 0..4 {
                let datagram = forged(&mut rng);
                sim.inject(source, &datagram);
            }
            sim.step();
        }
        assert_eq!(closed(&sim), [], "seed {seed}");
        assert!(connected(&sim) && sim.peers[0].connected, "seed {seed}");
        assert!(sim.router.snapshot().drops.get(DropReason::DtlsOutOfTurn) > 0);
    }
}

#[test]
fn a_request_for_a_cookie_among_odd_things_is_followed_when_no_answer_comes_and_not_before() {
    // A forged one, while the peer wants none: the peer would take our second hello for a fault.
    for seed in 0..8 {
        let mut sim = Sim::new(seed);
        sim.delay = Duration::from_millis(40);
        sim.add_passive_peer();
        let source = sim.peers[0].address;
        for number in 0..3000 {
            if number % 5 == 0 {
                sim.inject(source, &record(21, 0, 3, &[2, 40]));
                let cookie = [&[254, 255, 20][..], &[number as u8; 20]].concat();
                sim.inject(source, &message(3, 0, 0, &cookie));
            }
            sim.step();
        }
        assert!(connected(&sim) && sim.peers[0].connected, "seed {seed}");
        assert_eq!(closed(&sim), [], "seed {seed}");
    }
}

#[test]
fn a_peer_that_was_to_wait_and_says_hello_itself_is_not_answered() {
    let mut sim = Sim::new(9);
    let index = sim.add_unnamed_peer();
    let fingerprint = sim.peers[index].fingerprint;
    sim.name_peer_as(index, fingerprint, DtlsRole::Client);
    sim.run(Duration::from_secs(5));
    assert!(!connected(&sim));
    assert!(sim.router.snapshot().drops.get(DropReason::DtlsOutOfTurn) > 0);
}

#[test]
fn the_role_may_not_change_and_a_refusal_says_so() {
    let mut sim = Sim::new(11);
    sim.add_passive_peer();
    let fingerprint = sim.peers[0].fingerprint;
    sim.name_peer_as(0, fingerprint, DtlsRole::Client);
    sim.name_peer_as(0, fingerprint, DtlsRole::Server);
    let refused = |event: &&Event| matches!(event, Event::CommandRefused { .. });
    assert_eq!(
        sim.events.iter().filter(refused).count(),
        1,
        "{:?}",
        sim.events
    );
    sim.run(Duration::from_secs(5));
    assert!(connected(&sim));
}
