//! What one turn may spend on strangers and on whoever joins: a storm is bounded by what it costs, and neither the calls
//! next door nor an honest peer that joins in the middle of it are in its way.

use parlour_media::router::{MAX_WAITING, PER_TURN};
use parlour_media::stun::{self, BindingRequest};
use parlour_media::{DropReason, Kind, rtp};
use parlour_sim::{AUDIO_PT, Sim, ufrag};
use std::net::SocketAddr;
use std::time::Duration;

const JOINING: usize = 500;

/// A check for the transport of this number under a password.
fn check(number: u64, pwd: &str) -> Vec<u8> {
    let username = format!("{}:whoever", ufrag(number));
    let request = BindingRequest {
        username: &username,
        priority: 1,
        tie_breaker: 1,
        controlling: true,
        nominate: true,
    };
    let mut buffer = [0; 256];
    let len = stun::write_binding_request(&mut buffer, [9; 12], &request, pwd.as_bytes());
    buffer[..len].to_vec()
}

/// A peer joins in a storm of 50,000 wrong passwords a second from so many sources. Returns how long it took, and how
/// many of the storm were verified.
fn join_in_a_storm(sources: u64) -> (Duration, u64) {
    let mut sim = Sim::new(7);
    let peer = sim.add_unnamed_peer();
    let wrong = check(1, "password-that-is-a-wrong-one");
    let storm = |sim: &mut Sim| {
        for _ in 0..50 {
            let source = 0x0a00_0000 + sim.rng.below(sources) as u32;
            sim.inject(SocketAddr::from((source.to_be_bytes(), 6000)), &wrong);
        }
    };
    // The storm was there first.
    for _ in 0..2000 {
        storm(&mut sim);
        sim.now += parlour_sim::STEP;
    }
    let (began, fingerprint) = (sim.now, sim.peers[peer].fingerprint);
    sim.name_peer(peer, fingerprint);
    while !sim.peers[peer].connected {
        assert!(
            sim.now - began < Duration::from_secs(25),
            "it does not get in"
        );
        storm(&mut sim);
        sim.step();
    }
    let drops = sim.router.snapshot().drops;
    assert!(drops.get(DropReason::StunOverBudget) > 0);
    (sim.now - began, drops.get(DropReason::StunBadIntegrity))
}

#[test]
fn a_peer_joins_as_fast_as_ever_while_one_source_guesses_its_password() {
    let (took, verified) = join_in_a_storm(1);
    assert!(took < Duration::from_secs(2), "{took:?}");
    // Its own few, and then the common share of all that are suspect.
    let seconds = took.as_secs_f64() + 2.0;
    assert!((verified as f64) < 200.0 + 8000.0 * seconds, "{verified}");
}

#[test]
fn a_peer_joins_while_countless_made_up_sources_guess_its_password() {
    let (took, verified) = join_in_a_storm(1 << 24);
    let seconds = took.as_secs_f64() + 2.0;
    assert!((verified as f64) < 300.0 + 16_000.0 * seconds, "{verified}");
}

#[test]
fn junk_from_a_peers_own_address_takes_nothing_from_its_handshake() {
    let mut sim = Sim::new(3);
    let peer = sim.add_peer();
    let start = sim.now;
    // Its own handshake is late.
    sim.filter = Box::new(|_, datagram, _| !(20..64).contains(&datagram[0]));
    // A piece of a ClientHello whose rest never comes.
    let mut junk = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 22];
    junk.extend([1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 10]);
    junk.extend([7; 10]);
    while !sim.peers[peer].connected {
        let time = sim.now - start;
        assert!(time < Duration::from_secs(15), "it does not get in");
        if time >= Duration::from_secs(2) {
            sim.filter = Box::new(|_, _, _| true);
        }
        if time.as_millis().is_multiple_of(2) {
            sim.inject(sim.peers[peer].address, &junk);
        }
        sim.step();
    }
}

#[test]
fn handshakes_of_a_whole_class_at_once_leave_room_in_every_turn_for_the_call_next_door() {
    let mut sim = Sim::with_peers(5, 2);
    let producer = sim.publish(0, Kind::Audio, 1000);
    sim.subscribe(1, producer, Kind::Audio, 2000);
    let began = sim.now;
    for _ in 0..JOINING {
        sim.add_peer();
    }
    let (mut turns, mut most_waiting) = (0, 0);
    let mut before = sim.router.snapshot().handshakes;
    let subscriber = sim.peers[1].address;
    while !sim.peers.iter().all(|peer| peer.connected) {
        let joined = sim.peers.iter().filter(|peer| peer.connected).count() - 2;
        let time = sim.now - began;
        assert!(time < Duration::from_secs(20), "{joined} joined");
        sim.send(
            (0, 1000),
            AUDIO_PT,
            turns,
            turns as u32 * 48,
            false,
            vec![1; 80],
        );
        sim.sent = Some(Vec::new());
        sim.step();
        turns += 1;
        let now = sim.router.snapshot().handshakes;
        let worked = now.worked - before.worked;
        assert!(worked <= PER_TURN as u64, "{worked} in one turn");
        before = now;
        most_waiting = most_waiting.max(now.waiting);
        let sent = sim.sent.take().unwrap();
        let media = |(to, datagram): &&(SocketAddr, Vec<u8>)| {
            *to == subscriber && rtp::is_rtp_or_rtcp(datagram) && !rtp::is_rtcp(datagram)
        };
        // What was sent first is under way for ten turns.
        assert!(
            turns < 15 || sent.iter().filter(media).count() > 0,
            "turn {turns}"
        );
    }
    assert!(
        most_waiting > 100 && most_waiting <= MAX_WAITING,
        "{most_waiting}"
    );
    assert_eq!(before.waiting, 0);
}

#[test]
fn a_lone_handshake_waits_for_nobody() {
    let mut sim = Sim::new(1);
    let peer = sim.add_peer();
    while !sim.peers[peer].connected {
        sim.step();
        assert_eq!(sim.router.snapshot().handshakes.waiting, 0);
    }
}
