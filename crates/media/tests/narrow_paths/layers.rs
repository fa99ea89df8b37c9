//! A film in three temporal layers over paths that do not carry all of it: fewer frames come before none do.

use super::stage::{Call, Got, MS, PICTURE, SOUND, assert_unbroken, longest_wait};
use parlour_media::{Command, ConsumerId, DropReason, Event, Shortfall};
use parlour_sim::Conditions;
use std::time::Duration;

fn call(link: Conditions) -> Call {
    let mut call = Call::new(vec![link], [3, 3]);
    call.layered = Some(0);
    call
}

fn between(film: &[Got], from: u128, to: u128) -> Vec<Got> {
    let of = film.iter().filter(|it| (from..to).contains(&it.at));
    of.copied().collect()
}

fn longest_gap(got: &[Got]) -> u128 {
    let gaps = got.windows(2).map(|pair| pair[1].at - pair[0].at);
    gaps.max().unwrap_or(u128::MAX)
}

/// What the control plane was told: of which source, and why.
fn told(call: &Call) -> Vec<(Option<usize>, Option<Shortfall>)> {
    let told = call.limited.iter().map(|(_, event)| match event {
        Event::ConsumerSource { source, why, .. } => (*source, *why),
        other => panic!("{other:?}"),
    });
    told.collect()
}

/// 40 kbit/s of sound and 750 of film, of which a quarter is the lowest layer and a half the two lower ones: over a path
/// that carries all, 60 %, 40 % and all again.
#[test]
fn a_path_that_does_not_carry_all_frames_carries_half_or_a_quarter_of_them_and_all_when_it_does() {
    let rates = [(0, 3_000_000), (8, 474_000), (28, 320_000), (48, 3_000_000)];
    let rates = rates.map(|(second, rate)| (Duration::from_secs(second), rate));
    let mut call = call(Conditions {
        rates: rates.to_vec(),
        ..Conditions::steady(3_000_000)
    });
    call.until(75);
    let viewer = &call.viewers[0];
    let film = viewer.of(PICTURE, 0);
    for (from, to, highest, share) in [(3, 8, 2, 1), (16, 28, 1, 2), (34, 48, 0, 4), (66, 75, 2, 1)]
    {
        let part = between(&film, from * 1000, to * 1000);
        let layers = part.iter().map(|it| it.layer);
        assert_eq!(layers.max(), Some(Some(highest)), "from {from} s on");
        let packets = (to - from) as usize * 30 * 3 / share;
        assert!(
            part.len() * 100 >= packets * 97,
            "from {from} s on: {}",
            part.len()
        );
    }
    let gap = longest_gap(&film);
    assert!(gap < 400, "a break of {gap} ms");
    // What stood in the queue before it was known to stand there may have been lost.
    for got in [viewer.of(SOUND, 10), viewer.of(PICTURE, 10)] {
        assert_unbroken(&got);
    }
    let sound = viewer.of(SOUND, 0);
    for (from, to) in [(0, 8_000), (11_000, 28_000), (31_000, 75_000)] {
        let waited = longest_wait(&between(&sound, from, to));
        assert!(waited < MS * 250, "from {from} ms on: {waited:?}");
    }
    let limited = (Some(0), Some(Shortfall::Bandwidth));
    assert_eq!(told(&call), [limited, (Some(0), None)]);
    assert_eq!(call.keyframes, 1, "none is needed for it");
    assert_eq!(call.dropped(DropReason::NoRoom), 0);
}

/// What is wanted is less than all: that is what counts, and nobody lacks anything where the path carries it.
#[test]
fn layers_that_are_not_wanted_need_no_room() {
    let mut call = call(Conditions::steady(474_000));
    let want = |call: &mut Call, temporal| {
        call.sim.command(Command::SetConsumerSource {
            consumer: ConsumerId(20),
            source: 0,
            temporal,
        });
    };
    want(&mut call, Some(1));
    call.until(12);
    assert_eq!(told(&call), []);
    want(&mut call, None);
    call.until(24);
    let limited = (Some(0), Some(Shortfall::Bandwidth));
    assert_eq!(told(&call), [limited]);
    // Less is wanted than it may have: it is not paused for the choices that are gone.
    want(&mut call, Some(0));
    call.until(30);
    assert_eq!(told(&call), [limited, (Some(0), None)]);
    let film = call.viewers[0].of(PICTURE, 0);
    assert_unbroken(&film);
    let last = between(&film, 25_000, 30_000);
    assert!(last.iter().all(|it| it.layer == Some(0)));
    assert!(longest_gap(&film) < 400, "{}", longest_gap(&film));
}
