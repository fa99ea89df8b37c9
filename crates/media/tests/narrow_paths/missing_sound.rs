//! The publisher of sound is told what those who hear it miss, so that its encoder puts what is lost into the packet after;
//! and the copies that it sends of what was before go to who misses some of it.

use super::stage::{Call, Got, MS, SOUND, SPOKEN, assert_unbroken};
use parlour_media::{Command, ConsumerId, ConsumerSpec, Kind, PayloadType, ProducerId, Ssrc};
use parlour_sim::raw::{consumer, producer};
use parlour_sim::{AUDIO_PT, Conditions, TWCC_EXTENSION};

const FILM: u32 = 1000;
const SPEECH: u32 = 2000;

/// What viewers call sound without and with copies, which is not what the publisher calls it.
const THEIR_PT: u8 = 96;
const THEIR_RED_PT: u8 = 97;

fn losing(per_mille: u64) -> Conditions {
    Conditions {
        loss: per_mille,
        delay: MS * 50,
        ..Conditions::steady(8_000_000)
    }
}

/// The shares that the publisher was told of a stream in some seconds.
fn told(call: &Call, ssrc: u32, seconds: std::ops::Range<u128>) -> Vec<f64> {
    let within = |at: u128| (seconds.start * 1000..seconds.end * 1000).contains(&at);
    let of = call
        .reported
        .iter()
        .filter(|(at, of, _)| *of == ssrc && within(*at));
    of.map(|(_, _, share)| f64::from(*share) / 256.0).collect()
}

#[test]
fn what_one_listener_misses_is_told_of_sound_alone_and_no_longer_than_it_is_missed() {
    let mut call = Call::new(vec![losing(0), losing(50)], [3, 12]);
    call.until(40);
    let of_sound = told(&call, SPEECH, 10..40);
    let mean = of_sound.iter().sum::<f64>() / of_sound.len() as f64;
    assert!(of_sound.len() >= 25, "{}", of_sound.len());
    assert!((0.04..0.06).contains(&mean), "{mean}: {of_sound:?}");
    assert!(of_sound.iter().all(|it| *it > 0.02), "{of_sound:?}");
    assert!(told(&call, FILM, 0..40).iter().all(|it| *it == 0.0));

    call.sim.command(Command::RemoveConsumer {
        consumer: ConsumerId(31),
    });
    call.until(45);
    let since = told(&call, SPEECH, 42..45);
    assert!(
        since.len() >= 2 && since.iter().all(|it| *it == 0.0),
        "{since:?}"
    );
}

#[test]
fn one_listener_on_a_hopeless_path_costs_the_sound_of_others_a_tenth_at_the_most() {
    let mut call = Call::new(vec![losing(400)], [3, 12]);
    call.until(30);
    let of_sound = told(&call, SPEECH, 10..30);
    assert!(
        of_sound.iter().all(|it| (0.09..=0.1).contains(it)),
        "{of_sound:?}"
    );
}

/// Lets a viewer take sound with copies, in place of what it had.
fn take_copies(call: &mut Call, viewer: usize) {
    let of = ConsumerId(10 * (viewer as u64 + 2) + 1);
    call.sim.command(Command::RemoveConsumer { consumer: of });
    let sound = producer(call.speaker.transport, Kind::Audio);
    let transport = call.viewers[viewer].peer.transport;
    call.sim.command(Command::AddConsumer(ConsumerSpec {
        producers: vec![ProducerId(2)],
        mid: "1".into(),
        payload_type: PayloadType(THEIR_PT),
        red_payload_type: Some(PayloadType(THEIR_RED_PT)),
        twcc_extension: Some(TWCC_EXTENSION),
        consumer: ConsumerId(1000 + of.0),
        ssrc: Ssrc(SOUND + 1),
        ..consumer(transport, &sound, SOUND + 1)
    }));
}

fn assert_all(got: &[Got], payload_type: u8, payload: usize) {
    let same = |it: &&Got| (it.payload_type, it.payload) == (payload_type, payload);
    let other = got.iter().find(|it| !same(it));
    assert!(other.is_none(), "{other:?}");
    assert!(got.len() > 150, "{}", got.len());
}

#[test]
fn copies_of_what_was_before_go_to_who_loses_some_of_it_and_takes_them_and_to_nobody_else() {
    let mut call = Call::new(vec![losing(50), losing(0), losing(50)], [3, 12]);
    call.copies = true;
    take_copies(&mut call, 0);
    take_copies(&mut call, 1);
    call.until(20);
    let whole = 2 * SPOKEN + 5;
    let with_copies = call.viewers[0].of(SOUND + 1, 15);
    assert_all(&with_copies, THEIR_RED_PT, whole);
    let says_theirs = |it: &Got| it.first == 0x80 | THEIR_PT;
    assert!(with_copies.iter().all(says_theirs), "the blocks' own type");
    assert_all(&call.viewers[1].of(SOUND + 1, 15), THEIR_PT, SPOKEN);
    assert_all(&call.viewers[2].of(SOUND, 15), AUDIO_PT, SPOKEN);

    call.viewers[0].link.conditions.loss = 0;
    call.until(60);
    assert_all(&call.viewers[0].of(SOUND + 1, 55), THEIR_PT, SPOKEN);
    assert_unbroken(&call.viewers[0].of(SOUND + 1, 22));
    assert_unbroken(&call.viewers[1].of(SOUND + 1, 0));
}

#[test]
fn a_path_that_loses_sound_because_it_is_full_gets_no_copies() {
    let full = Conditions {
        loss: 50,
        delay: MS * 50,
        ..Conditions::steady(150_000)
    };
    let mut call = Call::new(vec![full], [3, 12]);
    call.copies = true;
    take_copies(&mut call, 0);
    call.until(30);
    assert_all(&call.viewers[0].of(SOUND + 1, 20), THEIR_PT, SPOKEN);
}
