//! Whole ClientHellos that an attacker sends in the peer's name before the peer's own: well-formed, each with another
//! random, from the peer's own address, without seeing what is said to it. The peer's join goes on.

use parlour_media::num::Rng;
use parlour_media::{DropReason, Event};
use parlour_sim::{Hop, Sim};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// Type and number of the handshake message that a datagram begins with.
fn message(datagram: &[u8]) -> Option<(u8, u8)> {
    (datagram.first() == Some(&22) && datagram[4] == 0).then(|| (datagram[13], datagram[18]))
}

fn connected(sim: &Sim) -> bool {
    let connected = |event: &Event| matches!(event, Event::TransportConnected { .. });
    sim.events.iter().any(connected)
}

fn none_closed(sim: &Sim) -> bool {
    let closed = |event: &Event| matches!(event, Event::TransportClosed { .. });
    !sim.events.iter().any(closed)
}

/// A ClientHello as the peers send it, and how long such a peer takes to connect when nobody disturbs it.
fn undisturbed(delay: Duration) -> (Vec<u8>, Duration) {
    let mut sim = Sim::new(1);
    sim.delay = delay;
    let hello = Rc::new(RefCell::new(Vec::new()));
    let seen = hello.clone();
    sim.filter = Box::new(move |hop, datagram, _| {
        if matches!(hop, Hop::Up(_)) && message(datagram) == Some((1, 0)) {
            *seen.borrow_mut() = datagram.to_vec();
        }
        true
    });
    sim.add_peer();
    sim.run_until(Duration::from_secs(9), connected);
    assert!(connected(&sim));
    let hello = hello.borrow().clone();
    (hello, sim.now - sim.started)
}

/// The same with another random, behind both headers and the version.
fn with_another_random(hello: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut forged = hello.to_vec();
    forged[27..59].fill_with(|| rng.next_u32() as u8);
    forged
}

fn delay(seed: u64) -> Duration {
    Duration::from_millis(5 + 13 * (seed % 4))
}

/// So many forged hellos a millisecond, from before the peer's address is known until it is connected. Returns the
/// simulation and how much longer that took than undisturbed.
fn join_under(seed: u64, many: usize, change: fn(&mut Vec<u8>, &mut Rng)) -> (Sim, Duration) {
    let (hello, usual) = undisturbed(delay(seed));
    let mut sim = Sim::new(seed);
    sim.delay = delay(seed);
    sim.sent = Some(Vec::new());
    sim.add_peer();
    let source = sim.peers[0].address;
    let mut rng = Rng::new(seed);
    while !connected(&sim) {
        assert!(
            sim.now - sim.started < Duration::from_secs(9),
            "seed {seed}"
        );
        for _ in 0..many {
            let mut forged = with_another_random(&hello, &mut rng);
            change(&mut forged, &mut rng);
            sim.inject(source, &forged);
        }
        sim.step();
    }
    assert!(none_closed(&sim));
    let took = sim.now - sim.started;
    sim.run(sim.delay + Duration::from_millis(3));
    assert!(sim.peers[0].connected, "seed {seed}");
    (sim, took.saturating_sub(usual))
}

#[test]
fn whole_hellos_with_another_random_before_the_peers_own_cost_its_join_one_round_trip_at_most() {
    for seed in 0..8 {
        for many in [1, 3, 20] {
            let (sim, longer) = join_under(seed, many, |_, _| {});
            let most = 2 * sim.delay + Duration::from_millis(4);
            assert!(longer <= most, "seed {seed}, {many}: {longer:?} longer");
        }
    }
}

#[test]
fn a_peer_in_whose_name_nobody_speaks_is_asked_for_no_cookie() {
    for seed in 0..8 {
        let mut sim = Sim::new(seed);
        sim.delay = delay(seed);
        sim.sent = Some(Vec::new());
        sim.add_peer();
        sim.run_until(Duration::from_secs(9), connected);
        assert!(connected(&sim));
        let mut sent = sim.sent.iter().flatten();
        assert!(sent.all(|(_, sent)| message(sent) != Some((3, 0))));
    }
}

#[test]
fn a_flood_of_whole_hellos_makes_us_work_once_and_say_no_more_than_was_said() {
    for seed in 0..4 {
        let (sim, _) = join_under(seed, 20, |_, _| {});
        let snapshot = sim.router.snapshot();
        // The peer's hello and its second flight.
        assert_eq!(snapshot.handshakes.worked, 2);
        let requests = sim.sent.as_ref().expect("what was sent").iter();
        let requests = requests
            .filter(|(_, sent)| message(sent) == Some((3, 0)))
            .count();
        let time = (sim.now - sim.started).as_secs_f64();
        assert!(
            requests > 0 && (requests as f64) < 65.0 + 500.0 * time,
            "{requests}"
        );
        assert!(snapshot.drops.get(DropReason::DtlsTooMany) > 0);
    }
}

#[test]
fn forged_hellos_that_guess_a_cookie_are_not_answered() {
    for seed in 0..4 {
        let (sim, _) = join_under(seed, 5, |forged, rng| {
            // Number 1, and a cookie behind the empty session.
            let cookie: Vec<u8> = (0..32).map(|_| rng.next_u32() as u8).collect();
            forged[18] = 1;
            forged[60] = 32;
            forged.splice(61..61, cookie);
            for at in [11, 15, 23] {
                let len = u16::from_be_bytes([forged[at], forged[at + 1]]) + 32;
                forged[at..at + 2].copy_from_slice(&len.to_be_bytes());
            }
        });
        assert_eq!(sim.router.snapshot().handshakes.worked, 2);
        let drops = sim.router.snapshot().drops;
        assert!(drops.get(DropReason::DtlsOutOfTurn) > 10);
    }
}

/// A hello in two datagrams, as Chromium and Firefox send theirs.
fn halves(hello: &[u8]) -> [Vec<u8>; 2] {
    let (header, body) = (&hello[13..25], &hello[25..]);
    let cut = body.len() * 4 / 5;
    [(0, &body[..cut]), (cut, &body[cut..])].map(|(offset, piece)| {
        let number = |it: usize| (it as u32).to_be_bytes()[1..].to_vec();
        let message = [&header[..6], &number(offset), &number(piece.len()), piece].concat();
        let len = (message.len() as u16).to_be_bytes();
        [&hello[..11], &len, &message].concat()
    })
}

#[test]
fn v17_2_6_a_hello_in_two_datagrams_in_any_order_gets_through_a_flood_of_whole_ones_and_halves() {
    for (seed, order) in [[0, 1], [1, 0]].into_iter().cycle().enumerate().take(8) {
        let (hello, usual) = undisturbed(delay(seed as u64));
        let mut sim = Sim::new(seed as u64);
        sim.delay = delay(seed as u64);
        let said = Rc::new(RefCell::new(Vec::new()));
        let kept = said.clone();
        sim.filter = Box::new(move |hop, datagram, _| {
            let is_hello =
                matches!(hop, Hop::Up(_)) && message(datagram).is_some_and(|(kind, _)| kind == 1);
            if is_hello {
                kept.borrow_mut().push(datagram.to_vec());
            }
            !is_hello
        });
        sim.add_peer();
        let source = sim.peers[0].address;
        let mut rng = Rng::new(seed as u64);
        while !connected(&sim) {
            assert!(sim.now - sim.started < Duration::from_secs(9), "{order:?}");
            let hellos = std::mem::take(&mut *said.borrow_mut());
            for hello in hellos {
                for half in order {
                    sim.inject(source, &halves(&hello)[half]);
                }
            }
            for half in halves(&with_another_random(&hello, &mut rng)) {
                sim.inject(source, &half);
            }
            sim.inject(source, &with_another_random(&hello, &mut rng));
            sim.step();
        }
        assert!(none_closed(&sim));
        let longer = (sim.now - sim.started).saturating_sub(usual);
        let most = 2 * sim.delay + Duration::from_millis(4);
        assert!(order == [1, 0] || longer <= most, "{longer:?} longer");
        sim.run(sim.delay + Duration::from_millis(3));
        assert!(sim.peers[0].connected);
    }
}

#[test]
fn a_forged_hello_right_behind_the_first_check_does_not_have_us_spoil_the_peers_handshake() {
    for seed in 0..8 {
        let (hello, _) = undisturbed(delay(seed));
        let mut sim = Sim::new(seed);
        sim.delay = delay(seed);
        sim.add_peer();
        let source = sim.peers[0].address;
        sim.run(sim.delay + Duration::from_millis(2));
        let forged = with_another_random(&hello, &mut Rng::new(seed));
        sim.inject(source, &forged);
        sim.run(Duration::from_secs(2));
        assert!(none_closed(&sim) && sim.peers[0].connected, "seed {seed}");
    }
}
