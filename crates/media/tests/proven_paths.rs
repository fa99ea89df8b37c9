//! Where media goes: to addresses that the peer proved to have, and nowhere else.

use parlour_media::stun::{self, BindingRequest, StunMessage};
use parlour_media::{CloseReason, Command, DropReason, Event, Kind, TransportId};
use parlour_sim::raw::{RAW_PASSWORD, RawPeer, consumer, producer, rtp_packet};
use parlour_sim::{AUDIO_PT, Hop, Sim, password, ufrag};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

const FRAME: Duration = Duration::from_millis(20);
/// Remembered transactions are fewer than this.
const MANY_CHECKS: usize = 80;

fn victim() -> SocketAddr {
    "203.0.113.66:6666".parse().unwrap()
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

/// What peers sent, and which.
type Recording = Rc<RefCell<Vec<(usize, Vec<u8>)>>>;

/// A call of two with sound; what came to the router, and what went to the victim.
struct Call {
    sim: Sim,
    seq: u64,
    up: Recording,
    to_victim: Vec<Vec<u8>>,
    from_victim: usize,
}

impl Call {
    fn new(seed: u64) -> Call {
        let mut sim = Sim::call_of_two(seed);
        let up = Rc::new(RefCell::new(Vec::new()));
        let record = up.clone();
        sim.filter = Box::new(move |hop, datagram, _| {
            if let Hop::Up(peer) = hop {
                record.borrow_mut().push((peer, datagram.to_vec()));
            }
            true
        });
        sim.sent = Some(Vec::new());
        Call {
            sim,
            seq: 0,
            up,
            to_victim: Vec::new(),
            from_victim: 0,
        }
    }

    /// One packet of sound.
    fn talk(&mut self) {
        let payload = (self.seq as u16).to_be_bytes().repeat(20);
        let time = self.seq as u32 * 960;
        self.sim
            .send((0, 2000), AUDIO_PT, self.seq, time, false, payload);
        self.seq += 1;
        self.sim.run(FRAME);
        self.collect();
    }

    fn collect(&mut self) {
        for (to, datagram) in self.sim.sent.replace(Vec::new()).unwrap() {
            if to == victim() {
                self.to_victim.push(datagram);
            }
        }
    }

    /// Somebody writes the victim's address into a datagram.
    fn spoof(&mut self, datagram: &[u8]) {
        self.from_victim += datagram.len();
        self.sim.inject(victim(), datagram);
        self.collect();
    }

    fn checks_of(&self, peer: usize) -> Vec<Vec<u8>> {
        let up = self.up.borrow();
        let checks = up.iter().filter(|(from, datagram)| {
            *from == peer
                && StunMessage::parse(datagram).is_ok_and(|check| check.is_binding_request())
        });
        checks.map(|(_, datagram)| datagram.clone()).collect()
    }

    fn heard(&self) -> usize {
        self.sim.peers[1].received.len()
    }

    /// All that was said was heard, once, in order.
    fn assert_all_heard(&mut self) {
        self.sim.run(Duration::from_millis(100));
        let heard: Vec<u16> = self.sim.peers[1]
            .received
            .iter()
            .map(|packet| u16::from_be_bytes([packet.payload[0], packet.payload[1]]))
            .collect();
        assert_eq!(heard, (0..self.seq as u16).collect::<Vec<_>>());
        assert_eq!(closed(&self.sim), []);
    }

    /// The victim got neither media nor DTLS, and no more bytes than were sent in its name.
    fn assert_victim_spared(&self) {
        let all_stun = self
            .to_victim
            .iter()
            .all(|it| StunMessage::parse(it).is_ok());
        assert!(all_stun, "media or DTLS went to the victim");
        let bytes: usize = self.to_victim.iter().map(Vec::len).sum();
        assert!(
            bytes * 10 <= self.from_victim * 12,
            "{bytes} bytes went to the victim for {}",
            self.from_victim
        );
    }
}

#[test]
fn a_check_replayed_from_elsewhere_diverts_not_one_packet_however_old_it_is() {
    let mut call = Call::new(1);
    while call.checks_of(1).len() < MANY_CHECKS {
        call.talk();
    }
    let captured = call.checks_of(1);
    let nominates = |it: &&Vec<u8>| StunMessage::parse(it).unwrap().use_candidate();
    let captured = captured
        .iter()
        .find(nominates)
        .expect("a nomination")
        .clone();
    call.sim.run(Duration::from_millis(100));
    let heard = call.heard();
    for _ in 0..500 {
        call.spoof(&captured);
        call.talk();
    }
    call.assert_all_heard();
    assert_eq!(call.heard() - heard, 500, "every packet of the ten seconds");
    call.assert_victim_spared();
    assert!(
        !call.to_victim.is_empty(),
        "the replay was older than what is remembered"
    );
    assert_eq!(drops(&call.sim, DropReason::StunReplayed), 0);
}

#[test]
fn a_member_that_names_a_victim_as_its_own_address_sends_no_media_there() {
    let mut call = Call::new(2);
    call.talk();
    let theirs = call.sim.peers[1].rtc.direct_api().local_ice_credentials();
    let username = format!("{}:{}", ufrag(2), theirs.ufrag);
    for round in 0..2000u32 {
        call.spoof(&fresh_check(&username, &password(2), round));
        // Answers that it forges, since it knows its password but not what we asked.
        let mut forged = [0; 160];
        let mut transaction = [0; 12];
        transaction[..4].copy_from_slice(&round.to_be_bytes());
        let pwd = theirs.pass.as_bytes();
        let len = stun::write_binding_success(&mut forged, transaction, victim(), pwd);
        call.spoof(&forged[..len]);
        call.talk();
    }
    call.assert_all_heard();
    call.assert_victim_spared();
    assert_eq!(drops(&call.sim, DropReason::StunUnasked), 2000);
}

fn fresh_check(username: &str, pwd: &str, number: u32) -> Vec<u8> {
    let mut transaction = [9; 12];
    transaction[..4].copy_from_slice(&number.to_be_bytes());
    let request = BindingRequest {
        username,
        priority: 1,
        tie_breaker: 1,
        controlling: true,
        nominate: true,
    };
    let mut buffer = [0; 200];
    let len = stun::write_binding_request(&mut buffer, transaction, &request, pwd.as_bytes());
    buffer[..len].to_vec()
}

#[test]
fn a_handshake_in_a_victims_name_sends_it_three_times_the_bytes_at_most() {
    let mut sim = Sim::new(3);
    sim.add_peer();
    let hello = Rc::new(RefCell::new(None));
    let held = hello.clone();
    sim.filter = Box::new(move |hop, datagram, _| {
        let is_hello = hop == Hop::Up(0) && datagram[0] == 22;
        if is_hello {
            held.borrow_mut().get_or_insert_with(|| datagram.to_vec());
        }
        !is_hello
    });
    sim.run_until(Duration::from_secs(5), |_| hello.borrow().is_some());
    let hello = hello.borrow().clone().expect("a ClientHello");
    // The same member again, from the address of somebody else, on a transport that was never reached.
    let third = sim.add_peer();
    sim.peers[third].dead = true;
    let theirs = sim.peers[third].rtc.direct_api().local_ice_credentials();
    let username = format!("{}:{}", ufrag(2), theirs.ufrag);
    sim.sent = Some(Vec::new());
    let mut from = 0;
    for round in 0..300 {
        for datagram in [&fresh_check(&username, &password(2), round), &hello] {
            from += datagram.len();
            sim.inject(victim(), datagram);
        }
        sim.run(Duration::from_millis(100));
        let sent = sim.sent.as_ref().unwrap().iter();
        let to: usize = sent
            .filter(|(to, _)| *to == victim())
            .map(|(_, it)| it.len())
            .sum();
        assert!(to <= 3 * from, "{to} bytes for {from}");
    }
    let sent = sim.sent.take().unwrap();
    assert!(sent.iter().any(|(to, it)| *to == victim() && it[0] == 22));
    assert!(sent.iter().all(|(to, it)| *to != victim() || it[0] < 128));
}

#[test]
fn media_to_a_peer_that_is_gone_stops_within_thirty_seconds_whatever_is_sent_in_its_name() {
    let mut call = Call::new(4);
    while call.checks_of(1).len() < MANY_CHECKS {
        call.talk();
    }
    call.sim.peers[1].dead = true;
    let (gone, address) = (call.sim.now, call.sim.peers[1].address);
    let recorded: Vec<_> = call
        .up
        .borrow()
        .iter()
        .filter(|(of, _)| *of == 1)
        .cloned()
        .collect();
    let theirs = call.sim.peers[1].rtc.direct_api().local_ice_credentials();
    let username = format!("{}:{}", ufrag(2), theirs.ufrag);
    let mut round = 0;
    while closed(&call.sim).is_empty() && call.sim.now < gone + Duration::from_secs(40) {
        // Everything it ever sent, and checks that it might have sent.
        call.sim
            .inject(address, &recorded[round % recorded.len()].1);
        call.sim
            .inject(address, &fresh_check(&username, &password(2), round as u32));
        round += 1;
        call.talk();
    }
    let expired = [(TransportId(2), CloseReason::ConsentExpired)];
    assert_eq!(closed(&call.sim), expired);
    assert!(call.sim.now - gone <= Duration::from_millis(30_100));
    call.sim.sent = Some(Vec::new());
    for _ in 0..50 {
        call.talk();
    }
}

/// A publisher, and a subscriber whose every word is the test's.
struct Pair {
    sim: Sim,
    publisher: RawPeer,
    subscriber: RawPeer,
    seq: u16,
}

impl Pair {
    fn new(answers_checks: bool) -> Pair {
        let mut sim = Sim::new(5);
        let publisher = RawPeer::connect(&mut sim, 1);
        let subscriber = RawPeer::connect_as(&mut sim, 2, answers_checks);
        let track = producer(publisher.transport, Kind::Audio);
        sim.command(Command::AddProducer(track.clone()));
        sim.command(Command::AddConsumer(consumer(
            subscriber.transport,
            &track,
            3000,
        )));
        Pair {
            sim,
            publisher,
            subscriber,
            seq: 0,
        }
    }

    /// Where a packet of the publisher goes.
    fn destinations(&mut self) -> Vec<SocketAddr> {
        self.seq += 1;
        let packet = rtp_packet(AUDIO_PT, self.seq, 0, 1000, b"sound");
        let sent = self.publisher.send_rtp(&mut self.sim, &packet);
        let media = sent.into_iter().filter(|(_, it)| it[0] >= 128);
        media.map(|(to, _)| to).collect()
    }

    /// The subscriber checks from where it is now, twice; returns our checks that came back.
    fn check_twice(&mut self) -> Vec<Vec<u8>> {
        let mut came = self.subscriber.check(&mut self.sim, true, true);
        came.extend(self.subscriber.check(&mut self.sim, true, true));
        came.retain(|it| StunMessage::parse(it).is_ok_and(|it| it.is_binding_request()));
        came
    }
}

fn elsewhere() -> SocketAddr {
    "198.51.100.77:7777".parse().unwrap()
}

#[test]
fn a_peer_that_moved_is_served_at_the_new_address_as_soon_as_it_answers_there() {
    let mut pair = Pair::new(true);
    let old = pair.subscriber.address;
    assert_eq!(pair.destinations(), [old]);
    pair.subscriber.address = elsewhere();
    let asked = pair.check_twice();
    assert_eq!(asked.len(), 1);
    assert_eq!(pair.destinations(), [old], "the old path goes on meanwhile");
    for wrong in ["another-password-of-22-", &password(2)] {
        assert!(pair.subscriber.answer(&mut pair.sim, &asked[0], wrong));
    }
    pair.subscriber.address = victim();
    pair.subscriber
        .answer(&mut pair.sim, &asked[0], RAW_PASSWORD);
    assert_eq!(pair.destinations(), [old], "none of these was a proof");
    pair.subscriber.address = elsewhere();
    pair.subscriber
        .answer(&mut pair.sim, &asked[0], RAW_PASSWORD);
    assert_eq!(pair.destinations(), [elsewhere()]);
    let snapshot = pair.sim.router.snapshot();
    // Both peers joined by an answer, and one moved by another.
    assert_eq!(snapshot.paths.by_answer, 3);
    assert_eq!(snapshot.transports[1].proof, Some("answer"));
    assert_eq!(snapshot.drops.get(DropReason::StunBadIntegrity), 2);
    assert_eq!(snapshot.drops.get(DropReason::StunUnasked), 1);
}

#[test]
fn a_peer_that_answers_no_checks_proves_a_new_address_by_fresh_packets_and_not_by_old_ones() {
    let mut pair = Pair::new(false);
    let old = pair.subscriber.address;
    let report = |ssrc: u32| {
        let mut report = vec![0x80, 201, 0, 1];
        report.extend(ssrc.to_be_bytes());
        report
    };
    pair.subscriber.send_rtcp(&mut pair.sim, &report(1));
    let held_back = pair.subscriber.seal_rtcp(&report(1));
    pair.subscriber.send_rtcp(&mut pair.sim, &report(1));
    pair.subscriber.address = elsewhere();
    assert_eq!(pair.check_twice().len(), 1);
    pair.subscriber.send_rtcp(&mut pair.sim, &report(1));
    assert_eq!(pair.destinations(), [old], "it may still answer");
    for _ in 0..4 {
        pair.sim.run(Duration::from_millis(1000));
        pair.subscriber.check(&mut pair.sim, true, true);
    }
    pair.sim.inject(elsewhere(), &held_back);
    assert_eq!(pair.destinations(), [old], "somebody held it back");
    pair.subscriber.send_rtcp(&mut pair.sim, &report(1));
    assert_eq!(pair.destinations(), [elsewhere()]);
    let snapshot = pair.sim.router.snapshot();
    let paths = snapshot.paths;
    assert_eq!(
        (paths.by_answer, paths.by_handshake, paths.by_media),
        (1, 1, 1),
        "the publisher, the subscriber, and then it again"
    );
    assert_eq!(snapshot.transports[1].proof, Some("media"));
}

#[test]
fn a_silent_peers_address_is_not_taken_before_its_consent_ends() {
    let mut call = Call::new(6);
    call.talk();
    // It goes on listening and answers what it is asked, and says nothing by itself.
    let silent = call.sim.peers[1].address;
    let address_of = |hop| matches!(hop, Hop::Up(1));
    call.sim.filter = Box::new(move |hop, datagram, _| {
        !address_of(hop) || StunMessage::parse(datagram).is_ok_and(|it| !it.is_binding_request())
    });
    let third = call.sim.add_peer();
    call.sim.peers[third].dead = true;
    let theirs = call.sim.peers[third]
        .rtc
        .direct_api()
        .local_ice_credentials();
    let username = format!("{}:{}", ufrag(3), theirs.ufrag);
    for round in 0..1400u32 {
        call.sim
            .inject(silent, &fresh_check(&username, &password(3), round));
        call.talk();
    }
    assert_eq!(drops(&call.sim, DropReason::StunAddressTaken), 1400);
    let heard = call.heard();
    assert_eq!(
        heard as u64,
        call.seq - 1 + u64::from(heard as u64 == call.seq)
    );
    assert!(
        closed(&call.sim)
            .iter()
            .all(|(transport, _)| *transport == TransportId(3))
    );
}

#[test]
fn an_address_goes_to_the_next_peer_once_the_one_before_is_gone() {
    let mut pair = Pair::new(true);
    let old = pair.subscriber.address;
    // A NAT gives the port of one user to another while the first one's consent lasts, and after it.
    let mut heir = RawPeer::connect(&mut pair.sim, 3);
    heir.address = old;
    assert!(heir.check(&mut pair.sim, true, true).is_empty());
    assert_eq!(drops(&pair.sim, DropReason::StunAddressTaken), 1);
    pair.sim.command(Command::RemoveTransport {
        transport: pair.subscriber.transport,
    });
    let mut came = heir.check(&mut pair.sim, true, true);
    came.extend(heir.check(&mut pair.sim, true, true));
    let answered = came
        .iter()
        .any(|it| heir.answer(&mut pair.sim, it, RAW_PASSWORD));
    assert!(answered);
    let snapshot = pair.sim.router.snapshot();
    let paths: Vec<_> = snapshot.transports.iter().map(|it| it.path).collect();
    assert!(paths.contains(&Some(old.into())), "{paths:?}");
}

#[test]
fn an_address_that_was_only_named_goes_to_whoever_proves_to_be_there() {
    let mut sim = Sim::new(7);
    let squatter = sim.add_peer();
    sim.peers[squatter].dead = true;
    let theirs = sim.peers[squatter].rtc.direct_api().local_ice_credentials();
    let username = format!("{}:{}", ufrag(1), theirs.ufrag);
    let joiner = sim.add_peer();
    let address = sim.peers[joiner].address;
    let mut round = 0;
    while !sim.peers[joiner].connected && round < 5000 {
        sim.inject(address, &fresh_check(&username, &password(1), round));
        sim.step();
        round += 1;
    }
    assert!(sim.peers[joiner].connected, "{round} checks kept it out");
}
