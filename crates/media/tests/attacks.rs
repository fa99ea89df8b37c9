//! What others may send to our port, and what must not come of it.

use parlour_media::num::Rng;
use parlour_media::stun::{self, BindingRequest};
use parlour_media::{CloseReason, DropReason, Event, TransportId};
use parlour_sim::{AUDIO_PT, Hop, Sim, password, ufrag};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

const STRANGER: &str = "203.0.113.66:6666";

fn stranger() -> SocketAddr {
    STRANGER.parse().unwrap()
}

fn drops(sim: &Sim, reason: DropReason) -> u64 {
    sim.router.snapshot().drops.get(reason)
}

fn closed(sim: &Sim) -> Vec<(TransportId, CloseReason)> {
    let closed = sim.events.iter().filter_map(|event| match event {
        Event::TransportClosed { transport, reason } => Some((*transport, *reason)),
        _ => None,
    });
    closed.collect()
}

fn connected(sim: &Sim) -> usize {
    sim.events
        .iter()
        .filter(|event| matches!(event, Event::TransportConnected { .. }))
        .count()
}

/// Every datagram that set out, in order.
type Recording = Rc<RefCell<Vec<(Hop, Vec<u8>)>>>;

/// A call of two, with sound, and all that the router receives and sends.
struct Call {
    sim: Sim,
    seq: u64,
    recorded: Recording,
}

impl Call {
    fn new(seed: u64) -> Call {
        let mut sim = Sim::call_of_two(seed);
        let recorded = Rc::new(RefCell::new(Vec::new()));
        let record = recorded.clone();
        sim.filter = Box::new(move |hop, datagram, _| {
            record.borrow_mut().push((hop, datagram.to_vec()));
            true
        });
        Call {
            sim,
            seq: 0,
            recorded,
        }
    }

    fn talk(&mut self, packets: u64) {
        for _ in 0..packets {
            let payload = vec![self.seq as u8; 40];
            self.sim.send(
                (0, 2000),
                AUDIO_PT,
                self.seq,
                self.seq as u32 * 960,
                false,
                payload,
            );
            self.seq += 1;
            self.sim.run(Duration::from_millis(20));
        }
    }

    /// All that was said was heard, once, and nothing else; nobody was hung up on.
    fn assert_undisturbed(&mut self) {
        self.sim.run(Duration::from_millis(100));
        let heard: Vec<u8> = self.sim.peers[1]
            .received
            .iter()
            .map(|packet| packet.payload[0])
            .collect();
        assert_eq!(
            heard,
            (0..self.seq).map(|seq| seq as u8).collect::<Vec<_>>()
        );
        assert_eq!(closed(&self.sim), []);
    }

    /// What peer 0 sent that looks like media.
    fn recorded_media(&self) -> Vec<Vec<u8>> {
        let recorded = self.recorded.borrow();
        let media = recorded
            .iter()
            .filter(|(hop, datagram)| *hop == Hop::Up(0) && datagram[0] >= 128);
        media.map(|(_, datagram)| datagram.clone()).collect()
    }
}

/// The first DTLS datagram of a peer that is about to connect. It is held back.
fn hold_client_hello(sim: &mut Sim, peer: usize) -> Vec<u8> {
    let held = Rc::new(RefCell::new(None));
    let hold = held.clone();
    sim.filter = Box::new(move |hop, datagram, _| {
        let is_hello = hop == Hop::Up(peer) && datagram[0] == 22 && hold.borrow().is_none();
        if is_hello {
            *hold.borrow_mut() = Some(datagram.to_vec());
        }
        !is_hello
    });
    for _ in 0..2000 {
        sim.step();
        if held.borrow().is_some() {
            break;
        }
    }
    let hello = held.borrow().clone();
    hello.expect("the peer shakes hands")
}

#[test]
fn v17_2_6_a_client_hello_from_another_address_changes_nothing() {
    let mut sim = Sim::new(1);
    sim.add_peer();
    let hello = hold_client_hello(&mut sim, 0);
    // Hers and a broken one, from elsewhere, before, while and after she shakes hands.
    let mut null_cipher = hello.clone();
    null_cipher[59..].fill(0);
    for round in 0..2000 {
        sim.inject(
            stranger(),
            if round % 2 == 0 { &hello } else { &null_cipher },
        );
        sim.step();
    }
    assert_eq!(connected(&sim), 1);
    assert!(sim.peers[0].connected);
    assert_eq!(closed(&sim), []);
    assert_eq!(drops(&sim, DropReason::UnknownSource), 2000);
    assert!(sim.sink.is_empty());
}

#[test]
fn a_client_hello_arrives_in_pieces_in_any_order() {
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for order in orders {
        let mut sim = Sim::new(2);
        sim.add_peer();
        let hello = hold_client_hello(&mut sim, 0);
        // Nothing of the held datagram is sent again until all pieces are there.
        sim.filter = Box::new(|_, _, _| true);
        let pieces = split_hello(&hello, 3);
        let source = sim.peers[0].address;
        for piece in order {
            sim.inject(source, &pieces[piece]);
        }
        let answered = sim.now;
        sim.run_until(Duration::from_millis(400), |sim| connected(sim) == 1);
        assert_eq!(connected(&sim), 1, "order {order:?}: {:?}", closed(&sim));
        assert!(
            sim.now - answered < Duration::from_millis(400),
            "without a retransmission"
        );
    }
}

/// Cuts a handshake message into fragments, each in a record and a datagram of its own (RFC 6347 §4.2.3).
fn split_hello(datagram: &[u8], count: usize) -> Vec<Vec<u8>> {
    let (record, message) = datagram.split_at(13);
    let (header, body) = message.split_at(12);
    let size = body.len().div_ceil(count);
    let pieces = body.chunks(size).enumerate().map(|(index, piece)| {
        let mut out = record[..11].to_vec();
        // Sequence numbers that the peer's own records do not have.
        out[9] = 0;
        out[10] = 40 + index as u8;
        out.extend(((12 + piece.len()) as u16).to_be_bytes());
        out.extend(&header[..6]);
        out.extend(&((index * size) as u32).to_be_bytes()[1..]);
        out.extend(&(piece.len() as u32).to_be_bytes()[1..]);
        out.extend(piece);
        out
    });
    pieces.collect()
}

#[test]
fn garbage_before_the_hello_does_not_cost_the_peer_its_turn() {
    let mut sim = Sim::new(3);
    sim.add_peer();
    let hello = hold_client_hello(&mut sim, 0);
    // Even from her own address, as a forger could make it look.
    let source = sim.peers[0].address;
    let mut rng = Rng::new(3);
    for _ in 0..40 {
        let mut junk = hello.clone();
        for _ in 0..20 {
            let at = 13 + rng.below(junk.len() as u64 - 13) as usize;
            junk[at] = rng.next_u32() as u8;
        }
        junk.truncate(14 + rng.below(junk.len() as u64 - 14) as usize);
        sim.inject(source, &junk);
    }
    sim.filter = Box::new(|_, _, _| true);
    sim.run(Duration::from_secs(5));
    assert_eq!(connected(&sim), 1, "{:?}", closed(&sim));
}

#[test]
fn a_flood_of_dtls_is_cut_off_at_a_budget() {
    let mut sim = Sim::with_peers(4, 1);
    let source = sim.peers[0].address;
    // A ClientHello of four bytes, as far as its headers say.
    let mut junk = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 1, 0, 0, 16];
    junk.extend([1, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4, 7, 7, 7, 7]);
    for _ in 0..10_000 {
        sim.inject(source, &junk);
    }
    assert!(drops(&sim, DropReason::DtlsOutOfTurn) > 9_800);
    // What is sealed has to be opened before it is known to be nothing.
    let mut sealed = vec![22, 254, 253, 0, 1, 0, 0, 0, 0, 1, 0, 0, 64];
    sealed.extend([7; 64]);
    for _ in 0..20_000 {
        sim.inject(source, &sealed);
    }
    assert!(drops(&sim, DropReason::DtlsTooMany) > 9_800);
    sim.run(Duration::from_secs(2));
    assert_eq!(closed(&sim), []);
}

#[test]
fn v17_2_8_another_certificate_than_the_announced_one_ends_it_all() {
    // Announced before the handshake, and after it.
    for late in [false, true] {
        let mut sim = Sim::new(5);
        sim.add_unnamed_peer();
        sim.sent = Some(Vec::new());
        let mut wrong = sim.peers[0].fingerprint;
        wrong[31] ^= 1;
        if late {
            sim.run(Duration::from_secs(2));
            assert_eq!(connected(&sim), 0, "nobody knows yet who it is");
            assert_eq!(sim.router.snapshot().transports[0].srtp_profile, None);
        }
        sim.name_peer(0, wrong);
        sim.run_until(Duration::from_secs(5), |sim| !closed(sim).is_empty());
        assert_eq!(
            closed(&sim),
            [(TransportId(1), CloseReason::FingerprintMismatch)]
        );
        assert_eq!(connected(&sim), 0);
        sim.run(Duration::from_secs(1));
        let sent = sim.sent.take().unwrap();
        assert!(
            sent.iter().all(|(_, datagram)| datagram[0] < 128),
            "media or RTCP was sent"
        );
        assert!(sim.router.snapshot().transports.is_empty());
    }
}

#[test]
fn a_handshake_that_ends_before_the_peer_is_named_connects_when_it_is() {
    let mut sim = Sim::new(6);
    sim.add_unnamed_peer();
    sim.run(Duration::from_secs(2));
    assert_eq!(connected(&sim), 0);
    let fingerprint = sim.peers[0].fingerprint;
    sim.name_peer(0, fingerprint);
    assert_eq!(connected(&sim), 1);
}

#[test]
fn v17_2_3_bad_tags_replays_and_cut_packets_change_nothing() {
    let mut call = Call::new(7);
    call.talk(30);
    let (source, genuine) = (call.sim.peers[0].address, call.recorded_media());
    assert!(genuine.len() > 30);
    let mut rng = Rng::new(7);
    for datagram in &genuine {
        call.sim.inject(source, datagram);
        for _ in 0..30 {
            let mut changed = datagram.clone();
            let at = rng.below(changed.len() as u64) as usize;
            changed[at] ^= 1 << rng.below(8);
            call.sim.inject(source, &changed);
            // A number that was not there yet gets as far as the tag.
            let ahead = u16::from_be_bytes([datagram[2], datagram[3]]).wrapping_add(1000);
            changed[2..4].copy_from_slice(&ahead.to_be_bytes());
            call.sim.inject(source, &changed);
            call.sim.inject(
                source,
                &datagram[..rng.below(datagram.len() as u64) as usize],
            );
            call.sim.inject(stranger(), datagram);
        }
        call.talk(1);
    }
    call.assert_undisturbed();
    assert!(drops(&call.sim, DropReason::Replayed) >= genuine.len() as u64);
    assert!(drops(&call.sim, DropReason::BadTag) > 900);
    assert!(drops(&call.sim, DropReason::UnknownSource) >= 30 * genuine.len() as u64);
}

#[test]
fn random_datagrams_change_nothing_from_any_address() {
    let mut call = Call::new(8);
    call.talk(5);
    let before = call.sim.router.snapshot();
    let sources = [
        call.sim.peers[0].address,
        call.sim.peers[1].address,
        stranger(),
    ];
    let mut rng = Rng::new(8);
    for round in 0..30_000usize {
        let mut datagram = vec![0; rng.below(200) as usize];
        datagram
            .iter_mut()
            .for_each(|byte| *byte = rng.next_u32() as u8);
        // Mostly of the ranges that get further than the first byte; not DTLS, which has a budget of its own.
        if let Some(first) = datagram.first_mut() {
            *first = [0, 1, 128, 129, 144, 160, 176, *first & 0x0f][round % 8];
        }
        call.sim.inject(sources[round % 3], &datagram);
        if round % 1000 == 0 {
            call.talk(1);
        }
    }
    call.assert_undisturbed();
    let after = call.sim.router.snapshot();
    assert_eq!(before.transports.len(), after.transports.len());
    assert!(call.sim.sink.is_empty());
}

fn check(user: &str, password: &str, transaction: u8, nominate: bool) -> Vec<u8> {
    let mut buffer = [0; 200];
    let request = BindingRequest {
        username: user,
        priority: 1,
        tie_breaker: 1,
        controlling: true,
        nominate,
    };
    let len = stun::write_binding_request(
        &mut buffer,
        [transaction; 12],
        &request,
        password.as_bytes(),
    );
    buffer[..len].to_vec()
}

/// Bytes that go to where a datagram says it comes from.
fn answers(sim: &mut Sim, source: SocketAddr, datagram: &[u8]) -> usize {
    sim.sent = Some(Vec::new());
    sim.inject(source, datagram);
    let sent = sim.sent.take().unwrap();
    // A peer that seems to be elsewhere is asked where it was as well: that goes to nobody else.
    let peers: Vec<SocketAddr> = sim.peers.iter().map(|peer| peer.address).collect();
    assert!(
        sent.iter()
            .all(|(to, _)| *to == source || peers.contains(to))
    );
    let back = sent.iter().filter(|(to, _)| *to == source);
    back.map(|(_, datagram)| datagram.len()).sum()
}

#[test]
fn checks_that_do_not_authenticate_get_silence_and_answers_are_not_larger_than_checks() {
    let mut sim = Sim::with_peers(9, 1);
    let theirs = sim.peers[0].rtc.direct_api().local_ice_credentials().ufrag;
    let user = format!("{}:{theirs}", ufrag(1));
    for (user, password) in [
        ("nobody:here", &password(1)),
        (&user, &password(2)),
        (&ufrag(1), &password(1)),
        ("", &password(1)),
    ] {
        assert_eq!(
            answers(&mut sim, stranger(), &check(user, password, 1, true)),
            0,
            "{user}"
        );
    }
    let good = check(&user, &password(1), 2, false);
    let answer = answers(&mut sim, stranger(), &good);
    assert!(
        answer > 0 && answer <= good.len(),
        "{answer} bytes for {}",
        good.len()
    );
    assert_eq!(drops(&sim, DropReason::StunBadIntegrity), 1);
    assert_eq!(drops(&sim, DropReason::StunUnknownUser), 3);
}

#[test]
fn a_captured_check_does_not_move_the_media() {
    let mut call = Call::new(10);
    call.talk(200);
    let recorded = call.recorded.borrow().clone();
    let checks: Vec<_> = recorded
        .iter()
        .filter(|(hop, it)| *hop == Hop::Up(1) && it[0] < 4)
        .collect();
    assert!(!checks.is_empty());
    for (_, datagram) in checks {
        assert_eq!(answers(&mut call.sim, stranger(), datagram), 0);
    }
    call.talk(10);
    call.assert_undisturbed();
    assert!(drops(&call.sim, DropReason::StunReplayed) > 0);
}

#[test]
fn a_peer_that_falls_silent_is_closed_after_thirty_seconds_and_gets_nothing_more() {
    let mut call = Call::new(11);
    call.talk(200);
    call.sim.peers[1].dead = true;
    let silent = call.sim.now;
    call.recorded.borrow_mut().clear();
    while closed(&call.sim).is_empty() && call.sim.now < silent + Duration::from_secs(40) {
        call.talk(1);
    }
    let waited = call.sim.now - silent;
    assert_eq!(
        closed(&call.sim),
        [(TransportId(2), CloseReason::ConsentExpired)]
    );
    assert!(
        (23_900..=30_100).contains(&waited.as_millis()),
        "{waited:?}"
    );
    call.recorded.borrow_mut().clear();
    call.talk(50);
    assert!(
        call.recorded
            .borrow()
            .iter()
            .all(|(hop, _)| *hop != Hop::Down(1))
    );
}

#[test]
fn a_peer_that_never_comes_and_one_that_never_shakes_hands_are_given_up() {
    let mut sim = Sim::new(12);
    sim.add_peer();
    sim.add_peer();
    sim.peers[0].dead = true;
    sim.filter = Box::new(|hop, datagram, _| hop != Hop::Up(1) || datagram[0] != 22);
    sim.run(Duration::from_secs(31));
    let mut closed = closed(&sim);
    closed.sort_by_key(|(transport, _)| *transport);
    assert_eq!(
        closed,
        [
            (TransportId(1), CloseReason::IceTimeout),
            (TransportId(2), CloseReason::HandshakeTimeout)
        ]
    );
}

#[test]
fn a_goodbye_closes_at_once() {
    let mut sim = Sim::with_peers(13, 2);
    sim.peers[0].rtc.close().unwrap();
    sim.run(Duration::from_millis(100));
    assert_eq!(closed(&sim), [(TransportId(1), CloseReason::PeerClosed)]);
}

#[test]
fn an_address_in_use_is_not_given_to_another_transport() {
    let mut call = Call::new(14);
    call.talk(5);
    let third = call.sim.add_peer();
    let theirs = call.sim.peers[third]
        .rtc
        .direct_api()
        .local_ice_credentials()
        .ufrag;
    call.sim.peers[third].dead = true;
    let user = format!("{}:{theirs}", ufrag(3));
    let victim = call.sim.peers[1].address;
    assert_eq!(
        answers(&mut call.sim, victim, &check(&user, &password(3), 9, true)),
        0
    );
    call.talk(10);
    assert_eq!(drops(&call.sim, DropReason::StunAddressTaken), 1);
    call.assert_undisturbed();
}
