//! The publisher of sound is told what those who hear it miss, so that its encoder puts what is lost into the packet after.

use super::stage::{Call, MS};
use parlour_media::{Command, ConsumerId};
use parlour_sim::Conditions;

const FILM: u32 = 1000;
const SPEECH: u32 = 2000;

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
