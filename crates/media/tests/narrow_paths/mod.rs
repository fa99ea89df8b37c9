//! Subscribers whose paths carry less than they asked for: sound goes through, pictures wait or are left out, others
//! notice nothing, and all comes back when the path carries it.

mod demand;
mod layers;
mod missing_sound;
mod speakers;
mod stage;

use parlour_media::{ConsumerId, DropReason, Event};
use parlour_sim::Conditions;
use stage::{Call, Got, MS, PACKET, PICTURE, SOUND, assert_unbroken, longest_wait};
use std::time::Duration;

/// 300 kbit/s, and ten times as much after twenty seconds.
fn narrow_for_20_seconds() -> Conditions {
    Conditions {
        rates: vec![
            (Duration::ZERO, 300_000),
            (Duration::from_secs(20), 3_000_000),
        ],
        ..Conditions::steady(300_000)
    }
}

/// More than enough for ten seconds, then 300 kbit/s behind a deep queue.
fn narrows_at_once() -> Conditions {
    Conditions {
        rates: vec![
            (Duration::ZERO, 20_000_000),
            (Duration::from_secs(10), 300_000),
        ],
        queue: 110_000,
        ..Conditions::steady(300_000)
    }
}

/// 40 kbit/s of sound and 750 of film, over a path of 300: the picture pauses, and comes back with the path.
#[test]
fn sound_goes_through_a_path_too_narrow_for_the_picture_and_the_picture_comes_back_with_the_path() {
    let mut call = Call::new(
        vec![narrow_for_20_seconds(), Conditions::steady(20_000_000)],
        [3, 12],
    );
    call.until(20);
    let spoiled = &call.viewers[0];
    let sound = spoiled.of(SOUND, 3);
    assert_unbroken(&sound);
    assert!(sound.len() >= 840, "{}", sound.len());
    assert!(
        longest_wait(&sound) < MS * 200,
        "{:?}",
        longest_wait(&sound)
    );
    // It is tried seldom, and what is tried is padding.
    let pictures = spoiled.of(PICTURE, 3);
    assert!(pictures.len() < 60, "{}", pictures.len());
    let (at, event) = &call.limited[0];
    let Event::ConsumerSource {
        consumer,
        source,
        needed,
        available,
        ..
    } = event
    else {
        panic!("{event:?}");
    };
    assert!(*at < 2_500, "{at} ms");
    assert_eq!((*consumer, *source), (ConsumerId(20), None));
    assert!((700_000..900_000).contains(needed), "{needed}");
    assert!(*available < 320_000, "{available}");
    let kept = call.dropped(DropReason::NoRoom);
    assert!(kept > 1000, "{kept}");

    call.until(40);
    let pictures = call.viewers[0].of(PICTURE, 20);
    let back = pictures.first().expect("the picture comes back").at;
    assert!(back < 33_000, "{back} ms");
    let since = call.viewers[0].of(PICTURE, 34);
    assert_unbroken(&since);
    assert!(since.len() >= 6 * 85, "{}", since.len());
    assert!(call.limited.iter().any(|(_, event)| matches!(
        event,
        Event::ConsumerSource {
            source: Some(0),
            ..
        }
    )));

    // The other one noticed nothing, but for keyframes.
    let film = call.viewers[1].of(PICTURE, 0);
    assert_unbroken(&film);
    assert!(longest_wait(&film) < MS * 10);
    assert!(call.keyframes < 8, "{}", call.keyframes);
}

/// A film that just fits, with keyframes of 60 kB: they take their time, and sound does not wait behind them.
#[test]
fn a_keyframe_waits_for_the_path_and_sound_does_not_wait_for_the_keyframe() {
    let mut call = Call::new(vec![Conditions::steady(1_100_000)], [3, 3]);
    call.until(10);
    call.sizes[1] = 60;
    for second in [13, 16, 19, 22] {
        call.keyframe = true;
        call.until(second);
    }
    let viewer = &call.viewers[0];
    let sound = viewer.of(SOUND, 4);
    assert_unbroken(&sound);
    assert!(
        longest_wait(&sound) < MS * 250,
        "{:?}",
        longest_wait(&sound)
    );
    let film = viewer.of(PICTURE, 4);
    assert_unbroken(&film);
    assert!(call.limited.is_empty(), "{:?}", call.limited);
    assert_eq!(call.dropped(DropReason::WaitedTooLong), 0);
}

/// What is sent to try whether there is more is padding under the numbers of the retransmissions, each once, and only
/// while somebody lacks something.
#[test]
fn a_path_is_probed_with_padding_and_only_while_somebody_lacks_something() {
    let mut call = Call::new(vec![Conditions::steady(5_000_000)], [3, 12]);
    call.until(10);
    assert!(call.viewers[0].of(PICTURE + 1, 0).is_empty());
    let mut call = Call::new(vec![Conditions::steady(300_000)], [3, 12]);
    call.until(30);
    let padding = call.viewers[0].of(PICTURE + 1, 0);
    assert!(padding.iter().all(|it| it.payload == 0));
    assert!((20..600).contains(&padding.len()), "{}", padding.len());
}

/// A viewer that says nothing any more of what it gets: what it is sent shrinks, and the one beside it loses nothing.
#[test]
fn who_acknowledges_nothing_is_sent_less_and_costs_nobody_else() {
    let links = || Conditions::steady(5_000_000);
    let mut call = Call::new(vec![links(), links()], [8, 12]);
    call.until(5);
    call.viewers[0].reports = false;
    call.until(30);
    let last = call.viewers[0].of(PICTURE, 25);
    assert!(last.len() < 100, "{}", last.len());
    assert!(call.viewers[0].of(SOUND, 25).len() >= 245);
    let beside = call.viewers[1].of(PICTURE, 0);
    assert_unbroken(&beside);
    assert!(beside.len() > 30 * 230, "{}", beside.len());
}

/// Random loss is no narrow path: the film goes on.
#[test]
fn a_lossy_path_that_is_wide_enough_carries_the_film() {
    for loss in [20, 50, 80, 120, 150] {
        let lossy = Conditions {
            loss,
            delay: MS * 50,
            ..Conditions::steady(8_000_000)
        };
        let mut call = Call::new(vec![lossy], [3, 12]);
        call.until(60);
        assert!(call.limited.is_empty(), "{loss}: {:?}", call.limited);
    }
}

/// A way that becomes longer is no narrow path either.
#[test]
fn a_way_that_becomes_longer_carries_the_film_on() {
    for longer in [20, 50, 100] {
        let link = Conditions::steady(8_000_000);
        let mut call = Call::new(vec![link], [3, 12]);
        for turn in 1..6 {
            call.until(turn * 8);
            call.viewers[0].link.conditions.delay =
                MS * if turn % 2 == 1 { 20 + longer } else { 20 };
        }
        assert!(call.limited.is_empty(), "{longer}: {:?}", call.limited);
        let film = call.viewers[0].of(PICTURE, 0);
        assert_unbroken(&film);
        assert!(film.len() > 40 * 85, "{}", film.len());
    }
}

/// A film that comes in two sizes: over a narrow path the small one runs without a gap, and the big one comes back.
#[test]
fn a_narrow_path_carries_the_small_picture_and_the_big_one_when_it_is_wide_again() {
    let mut call = Call::with(vec![narrow_for_20_seconds()], [3, 12], true, false);
    call.until(40);
    let viewer = &call.viewers[0];
    let is_small = |it: &&Got| it.payload < PACKET;
    let film = viewer.of(PICTURE, 3);
    assert_unbroken(&film);
    let narrow: Vec<_> = film.iter().filter(|it| it.at < 20_000).collect();
    assert!(narrow.iter().all(is_small), "{:?}", call.limited);
    assert!(narrow.len() >= 17 * 29, "{}", narrow.len());
    let gaps = film.windows(2).map(|pair| pair[1].at - pair[0].at);
    assert!(gaps.max() < Some(500), "a freeze");
    let sound = viewer.of(SOUND, 3);
    assert_unbroken(&sound);
    assert!(
        longest_wait(&sound) < MS * 200,
        "{:?}",
        longest_wait(&sound)
    );
    let wide: Vec<_> = film.iter().filter(|it| it.at >= 34_000).collect();
    assert!(wide.iter().all(|it| !is_small(it)), "{:?}", call.limited);
    assert!(wide.len() >= 6 * 85, "{}", wide.len());
}

/// A path that carries far less from one moment to the next, with a deep queue, and becomes longer with it: less is sent
/// while the queue empties, and that is taken neither for what the path carries nor for a queue that stays.
#[test]
fn a_path_that_narrows_at_once_gets_the_small_picture_as_soon_as_its_queue_is_empty() {
    for longer in [0, 25] {
        let mut call = Call::with(vec![narrows_at_once()], [6, 12], true, false);
        call.until(10);
        call.viewers[0].link.conditions.delay += MS * longer;
        call.until(30);
        let paused =
            |event: &&(u128, Event)| matches!(event.1, Event::ConsumerSource { source: None, .. });
        assert_eq!(call.limited.iter().find(paused), None, "+{longer} ms");
        let viewer = &call.viewers[0];
        let film: Vec<_> = viewer.of(PICTURE, 0);
        let small = film
            .iter()
            .filter(|it| it.payload < PACKET && it.at > 10_000);
        let first = small.map(|it| it.at).min().unwrap();
        assert!(first < 13_000, "+{longer} ms: {first} ms");
        let since: Vec<_> = film.iter().filter(|it| it.at >= first).collect();
        let gaps = since.windows(2).map(|pair| pair[1].at - pair[0].at);
        assert!(gaps.max() < Some(500), "+{longer} ms: a freeze");
        let sound = viewer.of(SOUND, 14);
        assert_unbroken(&sound);
        assert!(
            longest_wait(&sound) < MS * 200,
            "{:?}",
            longest_wait(&sound)
        );
    }
}

/// What stands on the way when a path narrows is what was sent before feedback could tell of it, and little more: nothing
/// that was saved up follows it, and once it is gone the path carries what it carries.
#[test]
fn sound_waits_for_less_than_half_a_second_where_a_path_narrows_at_once() {
    let mut call = Call::new(vec![narrows_at_once()], [3, 12]);
    call.until(14);
    let sound = call.viewers[0].of(SOUND, 0);
    assert_unbroken(&sound);
    let longest = longest_wait(&sound);
    assert!(longest < MS * 420, "{longest:?}");
    let late = sound.iter().filter(|it| it.waited > MS * 100);
    let last = late.map(|it| it.at).max().unwrap();
    assert!(last < 11_100, "{last} ms");
    let shot = call.sim.router.snapshot();
    let known = shot.transports.iter().find_map(|it| it.bandwidth).unwrap();
    assert!(
        (240_000..330_000).contains(&known.estimate),
        "{}",
        known.estimate
    );
}
