//! DTLS that an attacker sends from the peer's own address, who knows it but sees nothing of what is said: until the
//! handshake is done such records are all in clear. None of them ends anything.

use parlour_media::num::Rng;
use parlour_media::{DropReason, Event};
use parlour_sim::{Hop, Sim};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

fn record(kind: u8, epoch: u8, number: u16, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 254, 253, 0, epoch, 0, 0, 0, 0];
    out.extend(number.to_be_bytes());
    out.extend((body.len() as u16).to_be_bytes());
    out.extend(body);
    out
}

/// A fragment of a handshake message (RFC 6347 §4.2.2).
fn fragment(kind: u8, seq: u16, length: u32, offset: u32, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(&length.to_be_bytes()[1..]);
    out.extend(seq.to_be_bytes());
    out.extend(&offset.to_be_bytes()[1..]);
    out.extend(&(body.len() as u32).to_be_bytes()[1..]);
    out.extend(body);
    out
}

/// The plain alerts of every level and description.
fn alerts(rng: &mut Rng) -> Vec<u8> {
    let body = [1 + rng.below(2) as u8, rng.below(120) as u8];
    let body = [[2, 40], [2, 20], [1, 0], body][rng.below(4) as usize];
    record(21, 0, rng.below(50) as u16, &body)
}

/// Fragments of messages that no client sends then, and of none at all, with lengths that contradict each other.
fn fragments(rng: &mut Rng) -> Vec<u8> {
    let kinds = [0, 2, 3, 4, 12, 13, 14, 20, 99, 11, 16, 15];
    let kind = kinds[rng.below(12) as usize];
    let seq = if matches!(kind, 11 | 16 | 15) { 4 } else { 0 } + rng.below(9) as u16;
    let filling = vec![rng.next_u32() as u8; rng.below(60) as usize];
    let length = filling.len() as u32 + rng.below(90) as u32;
    let offset = rng.below(100) as u32;
    let message = fragment(kind, seq, length, offset, &filling);
    record(22, 0, rng.below(50) as u16, &message)
}

/// Pieces of a ClientHello that is not the peer's.
fn hello_pieces(rng: &mut Rng) -> Vec<u8> {
    let filling = vec![rng.next_u32() as u8; 1 + rng.below(60) as usize];
    let offset = rng.below(3) as u32 * rng.below(200) as u32;
    let length = offset + filling.len() as u32 + rng.below(200) as u32 + 1;
    let message = fragment(1, 0, length, offset, &filling);
    record(22, 0, rng.below(50) as u16, &message)
}

/// Records of any kind and epoch with any content.
fn garbage(rng: &mut Rng) -> Vec<u8> {
    let epoch = 1 + rng.below(3) as u8;
    let kind = 19 + rng.below(7) as u8;
    let body: Vec<u8> = (0..rng.below(90)).map(|_| rng.next_u32() as u8).collect();
    record(kind, epoch, rng.below(50) as u16, &body)
}

/// Pieces of the client's second flight, with numbers that are right and lengths that contradict each other.
fn flight_pieces(rng: &mut Rng) -> Vec<u8> {
    let (kind, seq) = [(11, 1), (16, 2), (15, 3)][rng.below(3) as usize];
    let filling = vec![rng.next_u32() as u8; 1 + rng.below(80) as usize];
    let offset = rng.below(2) as u32 * rng.below(300) as u32;
    let length = offset + filling.len() as u32 + rng.below(300) as u32;
    let message = fragment(kind, seq, length, offset, &filling);
    record(22, 0, rng.below(50) as u16, &message)
}

/// Whole messages of the second flight as they could be, alone and together, and what follows them.
fn flight_messages(rng: &mut Rng) -> Vec<u8> {
    let mut random = |len: usize| -> Vec<u8> { (0..len).map(|_| rng.next_u32() as u8).collect() };
    let certificate = [&[0, 1, 46, 0, 1, 43, 0x30, 0x82][..], &random(297)].concat();
    let key_exchange = [&[65, 4][..], &random(64)].concat();
    let verify = [&[4, 3, 0, 71, 0x30, 69, 2, 33, 0][..], &random(66)].concat();
    let sealed = record(22, 1, 0, &random(40));
    let whole = |kind, seq, number, body: &[u8]| {
        let message = fragment(kind, seq, body.len() as u32, 0, body);
        record(22, 0, number, &message)
    };
    let all = [
        whole(11, 1, 1, &certificate),
        whole(16, 2, 2, &key_exchange),
        whole(15, 3, 3, &verify),
        record(20, 0, 4, &[1]),
        sealed,
    ];
    match rng.below(8) as usize {
        one @ 0..5 => all[one].clone(),
        5 => all[1..3].concat(),
        6 => whole(11, 1, 1, &[0, 0, 0]), // no certificate at all
        _ => all.concat(),
    }
}

/// What ends the flight, and what follows it.
fn changes_of_cipher(rng: &mut Rng) -> Vec<u8> {
    let number = rng.below(50) as u16;
    let filling = vec![rng.next_u32() as u8; rng.below(60) as usize];
    match rng.below(3) {
        0 => record(20, 0, number, &[1]),
        1 => record(22, 1, number, &filling),
        _ => [record(20, 0, number, &[1]), record(22, 1, 0, &filling)].concat(),
    }
}

/// Anything of all these.
fn anything(rng: &mut Rng) -> Vec<u8> {
    let forgers = [
        alerts,
        fragments,
        garbage,
        hello_pieces,
        flight_pieces,
        flight_messages,
        changes_of_cipher,
    ];
    forgers[rng.below(forgers.len() as u64) as usize](rng)
}

/// A handshake during which every millisecond a few forged datagrams come.
fn join_under(seed: u64, forge: fn(&mut Rng) -> Vec<u8>) {
    join_under_many(seed, 4, forge);
}

fn join_under_many(seed: u64, many: usize, forge: fn(&mut Rng) -> Vec<u8>) {
    let mut sim = Sim::new(seed);
    sim.delay = Duration::from_millis(5 + 13 * (seed % 4));
    sim.add_peer();
    let source = sim.peers[0].address;
    let mut rng = Rng::new(seed);
    for _ in 0..3000 {
        for _ in 0..many {
            let forged = forge(&mut rng);
            sim.inject(source, &forged);
        }
        sim.step();
    }
    let closed = |event: &&Event| matches!(event, Event::TransportClosed { .. });
    let closed: Vec<_> = sim.events.iter().filter(closed).collect();
    assert!(closed.is_empty(), "seed {seed}: {closed:?}");
    let connected = |event: &Event| matches!(event, Event::TransportConnected { .. });
    assert!(sim.events.iter().any(connected), "seed {seed}");
    assert!(sim.peers[0].connected, "seed {seed}");
    let drops = sim.router.snapshot().drops;
    assert!(drops.get(DropReason::DtlsOutOfTurn) > 0);
}

#[test]
fn plain_alerts_from_the_peers_address_end_no_join() {
    (0..8).for_each(|seed| join_under(seed, alerts));
}

#[test]
fn forged_fragments_from_the_peers_address_end_no_join() {
    (0..8).for_each(|seed| join_under(seed, fragments));
}

#[test]
fn garbage_of_every_kind_and_epoch_from_the_peers_address_ends_no_join() {
    (0..8).for_each(|seed| join_under(seed, garbage));
}

#[test]
fn forged_pieces_of_the_second_flight_end_no_join() {
    (0..8).for_each(|seed| join_under(seed, flight_pieces));
}

#[test]
fn forged_certificates_key_exchanges_and_signatures_end_no_join() {
    (0..8).for_each(|seed| join_under(seed, flight_messages));
}

#[test]
fn forged_changes_of_cipher_and_sealed_records_end_no_join() {
    (0..8).for_each(|seed| join_under(seed, changes_of_cipher));
}

#[test]
fn a_flood_of_everything_that_can_be_forged_leaves_the_peer_its_budget() {
    (0..8).for_each(|seed| join_under_many(seed, 20, anything));
}

#[test]
fn ten_forged_pieces_of_a_client_hello_do_not_keep_the_real_one_out() {
    for seed in 0..20 {
        let mut sim = Sim::new(seed);
        sim.add_peer();
        let source = sim.peers[0].address;
        // The address is known once a check came from it.
        sim.run(sim.delay + Duration::from_millis(2));
        let mut rng = Rng::new(seed);
        for _ in 0..10 {
            let forged = hello_pieces(&mut rng);
            sim.inject(source, &forged);
        }
        sim.run(Duration::from_secs(2));
        let closed = |event: &&Event| matches!(event, Event::TransportClosed { .. });
        assert_eq!(sim.events.iter().filter(closed).count(), 0);
        assert!(sim.peers[0].connected, "seed {seed}");
    }
}

#[test]
fn an_honest_peer_is_connected_one_round_trip_after_its_hello() {
    for delay in [20, 50, 200].map(Duration::from_millis) {
        let mut sim = Sim::new(1);
        sim.delay = delay;
        sim.add_peer();
        // The first DTLS that reaches us is the ClientHello, the next its second flight.
        let mut hello_at = None;
        let connected = |event: &Event| matches!(event, Event::TransportConnected { .. });
        while !sim.events.iter().any(connected) {
            let begun = sim.router.snapshot().transports[0].state == "handshaking";
            if begun {
                hello_at.get_or_insert(sim.now);
            }
            assert!(sim.now - sim.started < 20 * delay + Duration::from_secs(1));
            sim.step();
        }
        let took = sim.now - hello_at.expect("there was a ClientHello");
        let most = 2 * delay + Duration::from_millis(4);
        assert!(took <= most, "{took:?} at {delay:?}");
    }
}

#[test]
fn whole_hellos_with_another_random_after_the_peers_own_change_nothing() {
    for seed in 0..8 {
        let mut sim = Sim::new(seed);
        sim.delay = Duration::from_millis(5 + 13 * (seed % 4));
        let hello = Rc::new(RefCell::new(Vec::new()));
        let seen = hello.clone();
        sim.filter = Box::new(move |hop, datagram, _| {
            if matches!(hop, Hop::Up(_)) && datagram[0] == 22 && seen.borrow().is_empty() {
                seen.borrow_mut().extend_from_slice(datagram);
            }
            true
        });
        sim.add_peer();
        let source = sim.peers[0].address;
        for _ in 0..3000 {
            if sim.router.snapshot().transports[0].state == "handshaking" {
                let mut forged = hello.borrow().clone();
                // The random, behind both headers and the version.
                forged[27..59].fill(sim.rng.next_u32() as u8);
                sim.inject(source, &forged);
            }
            sim.step();
        }
        let closed = |event: &&Event| matches!(event, Event::TransportClosed { .. });
        assert_eq!(sim.events.iter().filter(closed).count(), 0);
        assert!(sim.peers[0].connected, "seed {seed}");
    }
}
