//! A picture that no viewer's path carries is asked for as the best of their paths carries it.

use super::stage::{Call, Got, MS, PACKET, PICTURE, SOUND, assert_unbroken, longest_wait};
use super::{narrow_for_20_seconds, narrows_at_once};
use parlour_media::{Command, ConsumerId};
use parlour_sim::Conditions;
use std::time::Duration;

/// 750 kbit/s of film, from a publisher who heeds what it is told.
const FILM: [usize; 2] = [3, 12];
const LATER: u32 = 5000;
/// What a publisher hears that may send all it can: what the router takes from it.
const ALL: u64 = 20_000_000;

fn heeding(links: Vec<Conditions>) -> Call {
    Call::with(links, FILM, false, true)
}

fn wide() -> Conditions {
    Conditions::steady(20_000_000)
}

/// The longest time without a packet of it, from a second on, in milliseconds.
fn longest_gap(got: &[Got]) -> u128 {
    let gaps = got.windows(2).map(|pair| pair[1].at - pair[0].at);
    gaps.max().unwrap()
}

fn bits(got: &[Got]) -> usize {
    got.iter().map(|it| 8 * it.payload).sum()
}

#[test]
fn a_picture_goes_on_over_a_path_that_narrows_at_once_and_is_whole_again_with_it() {
    let mut call = heeding(vec![Conditions {
        rates: vec![
            (Duration::ZERO, 20_000_000),
            (Duration::from_secs(10), 300_000),
            (Duration::from_secs(40), 20_000_000),
        ],
        ..narrows_at_once()
    }]);
    call.until(40);
    assert!(call.limited.is_empty(), "{:?}", call.limited);
    let film = call.viewers[0].of(PICTURE, 8);
    assert!(longest_gap(&film) < 700, "{} ms", longest_gap(&film));
    let (first, asked) = call.asked[0];
    assert!((10_000..10_500).contains(&first), "{first} ms");
    assert!((150_000..320_000).contains(&asked), "{asked}");

    // Once the queue has gone the path is well used, and little stands in front of it.
    let settled = call.viewers[0].of(PICTURE, 13);
    let used = bits(&settled) as u64 / 27;
    assert!((170_000..260_000).contains(&used), "{used} bit/s of film");
    assert_unbroken(&settled);
    let sound = call.viewers[0].of(SOUND, 13);
    assert_unbroken(&sound);
    let waited = longest_wait(&sound);
    assert!(waited < MS * 200, "{waited:?}");

    call.until(60);
    let film = bits(&call.viewers[0].of(PICTURE, 55)) / 5;
    assert!(film > 700_000, "{film} bit/s of film");
    let mut told = call.asked.iter().rev().map(|it| it.1);
    let last_words = told.by_ref().take_while(|told| *told == ALL).count();
    assert!(last_words >= 3 && told.all(|told| told < ALL));
}

#[test]
fn a_picture_fits_a_path_that_is_narrow_from_the_start() {
    let mut call = heeding(vec![Conditions::steady(300_000)]);
    call.until(30);
    let film = call.viewers[0].of(PICTURE, 5);
    assert!(longest_gap(&film) < 1_000, "{} ms", longest_gap(&film));
    let used = bits(&film) as u64 / 25;
    assert!((150_000..260_000).contains(&used), "{used} bit/s of film");
    let waited = longest_wait(&call.viewers[0].of(SOUND, 5));
    assert!(waited < MS * 200, "{waited:?}");
}

/// Encoders are late, and their pictures are as large as they are: what a path was seen to carry is asked for, not more,
/// for some seconds.
#[test]
fn a_narrow_path_is_used_and_next_to_nothing_stands_in_front_of_it() {
    for (rate, takes, swings) in [(300_000, 100, 0), (300_000, 400, 25), (600_000, 400, 25)] {
        let mut call = heeding(vec![Conditions {
            queue: 3_000_000,
            ..Conditions::steady(rate)
        }]);
        (call.takes, call.swings) = (takes, swings);
        call.until(60);
        let mut got = call.viewers[0].got.clone();
        got.retain(|it| it.at >= 5_000);
        // Header, extension and tag.
        let came = got.iter().map(|it| 8 * (it.payload as u64 + 12 + 8 + 16));
        let used = came.sum::<u64>() as f64 / (55 * rate) as f64;
        assert!(used > 0.93, "{used:.3} of {rate} bit/s");
        let mut waits: Vec<_> = got.iter().map(|it| it.waited).collect();
        waits.sort_unstable();
        let p95 = waits[waits.len() * 95 / 100];
        assert!(p95 < MS * 100, "{p95:?} at {rate} bit/s");
    }
}

#[test]
fn whoever_can_have_all_of_it_has_all_of_it_whatever_others_paths_carry() {
    let mut call = heeding(vec![narrow_for_20_seconds(), wide()]);
    call.until(20);
    assert_eq!(call.asked, []);
    let beside = call.viewers[1].of(PICTURE, 0);
    assert_unbroken(&beside);
    assert!(bits(&beside) > 19 * 720_000);
}

#[test]
fn two_narrow_paths_get_what_the_wider_one_carries() {
    let links = [200_000, 500_000].map(Conditions::steady);
    let mut call = heeding(Vec::from(links));
    call.until(40);
    let [narrow, wider] = [0, 1].map(|at| bits(&call.viewers[at].of(PICTURE, 20)) / 20);
    assert!((300_000..440_000).contains(&wider), "{wider} bit/s of film");
    assert!(narrow < 100_000, "{narrow} bit/s of film");
    let heard = call.viewers[0].of(SOUND, 20);
    assert_unbroken(&heard);
}

#[test]
fn it_is_over_when_those_who_needed_less_have_left() {
    let mut call = heeding(vec![Conditions::steady(300_000)]);
    call.until(10);
    assert!(call.asked.last().unwrap().1 < 400_000);
    call.sim.command(Command::RemoveConsumer {
        consumer: ConsumerId(20),
    });
    call.until(15);
    let told: Vec<_> = call.asked.iter().rev().take(3).map(|it| it.1).collect();
    assert_eq!(told, [ALL; 3]);
}

#[test]
fn a_publisher_who_sends_a_smaller_one_as_well_is_asked_for_nothing_less() {
    let mut call = Call::with(vec![Conditions::steady(300_000)], FILM, true, true);
    call.until(20);
    assert_eq!(call.asked, []);
}

/// It is told each second all the same, and the picture pauses as any does for which there is no room.
#[test]
fn a_publisher_who_heeds_nothing_costs_the_sound_nothing() {
    let mut call = heeding(vec![Conditions::steady(300_000)]);
    call.heeds = false;
    call.until(30);
    let per_second = call.asked.len() as f64 / 30.0;
    assert!((0.8..3.0).contains(&per_second), "{per_second}");
    let sound = call.viewers[0].of(SOUND, 5);
    assert_unbroken(&sound);
    assert!(longest_wait(&sound) < MS * 200);
    assert!(call.viewers[0].of(PICTURE, 5).len() < 60 * PACKET / 1000);
}

/// A queue on the publisher's own way, which stands and does not grow: its congestion control sees nothing of it.
#[test]
fn a_publisher_whose_packets_stand_on_their_way_is_asked_for_less_until_they_do_not() {
    let mut call = heeding(vec![wide()]);
    call.heeds = false;
    call.until(5);
    assert_eq!(call.asked, []);
    call.stands = [700; 2];
    call.until(10);
    let (first, asked) = call.asked[0];
    assert!((5_000..6_500).contains(&first), "{first} ms");
    // 780 kbit/s came.
    assert!((450_000..650_000).contains(&asked), "{asked}");
    call.stands = [30; 2];
    call.until(20);
    let told: Vec<_> = call.asked.iter().rev().take(3).collect();
    assert!(told.iter().all(|it| it.1 == ALL), "{told:?}");
    assert!(told[0].0 < 15_000, "{told:?}");
    assert!(call.limited.is_empty(), "{:?}", call.limited);
}

/// Both come later from now on, whatever is sent: no sender can mend that, and none is held down for it.
#[test]
fn a_way_that_became_longer_is_tried_for_a_moment_and_is_no_queue() {
    let mut call = heeding(vec![wide()]);
    call.until(5);
    call.stands = [400; 2];
    call.until(30);
    let held = call.asked.iter().filter(|it| it.1 < ALL);
    let (first, last) = (call.asked[0].0, held.clone().next_back().unwrap().0);
    assert!(
        (5_000..6_500).contains(&first) && last < first + 5_000,
        "{first} to {last} ms"
    );
    let film = bits(&call.viewers[0].of(PICTURE, 20)) / 10;
    assert!(film > 700_000, "{film} bit/s of film");
}

#[test]
fn sound_or_a_picture_that_is_late_by_itself_is_no_queue() {
    for stands in [[700, 0], [0, 700]] {
        let mut call = heeding(vec![wide()]);
        call.until(5);
        call.stands = stands;
        call.until(10);
        assert_eq!(call.asked, [], "{stands:?}");
    }
}

/// Somebody else comes, whose path carries all of it: until that is known it gets what there is.
#[test]
fn who_comes_later_gets_what_the_others_get_until_its_path_is_known() {
    let mut call = heeding(vec![Conditions::steady(300_000), wide()]);
    call.sim.command(Command::RemoveConsumer {
        consumer: ConsumerId(30),
    });
    call.until(15);
    assert!(call.asked.last().unwrap().1 < 400_000);
    call.watch(1, LATER);
    call.until(25);
    let sound = longest_wait(&call.viewers[0].of(SOUND, 15));
    assert!(sound < MS * 300, "{sound:?}");
    let film = bits(&call.viewers[1].of(LATER, 20)) / 5;
    assert!(film > 700_000, "{film} bit/s of film");
    assert_eq!(call.asked.last().unwrap().1, ALL);
}
