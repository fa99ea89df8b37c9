use super::*;
use std::net::SocketAddr;

pub(super) const CHECK: usize = 100;

pub(super) fn at(port: u16) -> Path {
    SocketAddr::from(([192, 0, 2, 1], port)).into()
}

pub(super) fn transaction(number: u32) -> [u8; 12] {
    let mut id = [0; 12];
    id[..4].copy_from_slice(&number.to_be_bytes());
    id
}

pub(super) fn nameless() -> Ice {
    Ice::new("ours".into(), "secret".into())
}

pub(super) fn ice(now: Instant) -> Ice {
    let mut ice = nameless();
    ice.set_remote(
        now,
        Remote {
            ufrag: "theirs".into(),
            pwd: "password".into(),
        },
    );
    ice
}

/// A check from a peer that has sent enough for one of ours to go back.
pub(super) fn check(ice: &mut Ice, now: Instant, port: u16, number: u32, nominate: bool) -> Check {
    let check = ice.on_check(now, at(port), CHECK, transaction(number), (1, nominate));
    ice.on_received(at(port), 10 * CHECK);
    check
}

/// What is due of our checks.
pub(super) fn due(ice: &mut Ice, now: Instant, number: u32) -> Vec<Path> {
    let taken = std::iter::from_fn(|| ice.take_check(now, 0.5, || transaction(number)));
    taken.map(|(address, _)| address).collect()
}

/// A peer whose address was proven.
pub(super) fn proven(now: Instant, port: u16) -> Ice {
    let mut ice = ice(now);
    check(&mut ice, now, port, 1, true);
    assert_eq!(due(&mut ice, now, 1000), [at(port)]);
    assert!(ice.on_answer(now, 0.5, at(port), transaction(1000)));
    ice
}

#[test]
fn an_address_becomes_the_path_when_it_is_proven_and_not_before() {
    let now = Instant::now();
    let mut ice = ice(now);
    check(&mut ice, now, 1, 1, true);
    assert_eq!((ice.path(), ice.consent_deadline()), (None, None));
    assert_eq!(due(&mut ice, now, 1000), [at(1)]);
    assert_eq!(ice.path(), None);
    assert!(!ice.on_answer(now, 0.5, at(1), transaction(1001)));
    assert!(!ice.on_answer(now, 0.5, at(2), transaction(1000)));
    assert!(ice.on_answer(now, 0.5, at(1), transaction(1000)));
    assert_eq!(ice.path(), Some(at(1)));
    assert_eq!(ice.proof(), Some(Proof::Answer));
}

#[test]
fn a_nomination_moves_the_path_once_it_is_proven_and_the_old_one_goes_on_meanwhile() {
    let now = Instant::now();
    let mut ice = proven(now, 1);
    // It may have moved: both places are asked, and as long as it is where it was nothing moves.
    check(&mut ice, now, 2, 2, false);
    assert_eq!(due(&mut ice, now, 1999), [at(1), at(2)]);
    assert!(!ice.on_answer(now, 0.5, at(2), transaction(1999)));
    assert!(!ice.on_answer(now, 0.5, at(1), transaction(1999)));
    check(&mut ice, now, 2, 3, true);
    assert_eq!(ice.path(), Some(at(1)));
    assert_eq!(due(&mut ice, now, 2000), [at(2)]);
    check(&mut ice, now, 1, 4, false);
    assert_eq!(ice.path(), Some(at(1)));
    assert!(ice.on_answer(now, 0.5, at(2), transaction(2000)));
    assert_eq!(ice.path(), Some(at(2)));
    // And back: a proof of long ago does not count for a nomination of today.
    check(&mut ice, now, 1, 5, true);
    assert_eq!(ice.path(), Some(at(2)));
    assert_eq!(due(&mut ice, now, 3000), [at(1)]);
    assert!(ice.on_answer(now, 0.5, at(1), transaction(3000)));
    assert_eq!(ice.path(), Some(at(1)));
}

#[test]
fn a_peer_whose_nat_gave_it_another_address_is_followed_there_without_a_new_nomination() {
    let start = Instant::now();
    let mut ice = proven(start, 1);
    let (mut number, mut moved) = (100, None);
    for second in 1..60 {
        let now = start + Duration::from_secs(second);
        // From its first second on it is at the other address alone, and answers what reaches it there.
        check(&mut ice, now, 2, number, false);
        number += 1;
        for to in due(&mut ice, now, 1000 + number) {
            if to == at(2) {
                ice.on_answer(now, 0.5, to, transaction(1000 + number));
            }
        }
        if ice.consent_deadline().is_some_and(|at| at <= now) {
            assert!(ice.keep_consent(now, 0.5), "given up after {second} s");
        }
        moved = moved.or((ice.path() == Some(at(2))).then_some(second));
    }
    // After three checks that nobody answered, and long before the consent ends.
    assert!(moved.is_some_and(|second| second <= 20), "{moved:?}");
}

#[test]
fn the_latest_nomination_wins_in_whatever_order_answers_come() {
    let now = Instant::now();
    let mut ice = proven(now, 1);
    check(&mut ice, now, 2, 2, true);
    assert_eq!(due(&mut ice, now, 2000), [at(2)]);
    check(&mut ice, now, 3, 3, true);
    assert_eq!(due(&mut ice, now, 3000), [at(3)]);
    assert!(ice.on_answer(now, 0.5, at(3), transaction(3000)));
    assert!(!ice.on_answer(now, 0.5, at(2), transaction(2000)));
    assert_eq!(ice.path(), Some(at(3)));
}

#[test]
fn a_replayed_check_from_another_address_makes_nothing_known() {
    let now = Instant::now();
    let mut ice = proven(now, 1);
    assert_eq!(check(&mut ice, now, 1, 1, true), Check::Known);
    assert_eq!(check(&mut ice, now, 9, 1, true), Check::Replayed);
    assert_eq!(ice.last_check(at(9)), None);
    assert!(due(&mut ice, now, 2000).is_empty());
}

#[test]
fn an_unproven_address_is_asked_seven_times_with_growing_pauses_and_given_up() {
    let start = Instant::now();
    let mut ice = ice(start);
    check(&mut ice, start, 1, 1, true);
    let mut asked = Vec::new();
    let mut now = start;
    while let Some(next) = ice.next_check(now) {
        now = next;
        for _ in due(&mut ice, now, 1000) {
            asked.push((now - start).as_millis());
        }
    }
    assert_eq!(asked, [0, 500, 1500, 3500, 7500, 15_500, 31_500]);
    assert_eq!((now - start).as_millis(), 39_500);
    // Another sign of the peer begins anew.
    check(&mut ice, now, 1, 2, true);
    assert_eq!(due(&mut ice, now, 2000), [at(1)]);
}

#[test]
fn an_unproven_address_gets_no_more_than_it_earned() {
    let now = Instant::now();
    let mut ice = ice(now);
    let len = ice.generations.newest().check_len().unwrap();
    ice.on_check(now, at(1), CHECK, transaction(1), (1, true));
    ice.on_answered(at(1), 64);
    assert!(due(&mut ice, now, 1000).is_empty());
    assert_eq!(ice.next_check(now), None, "it would spin");
    ice.on_check(now, at(1), CHECK, transaction(2), (1, true));
    ice.on_answered(at(1), 64);
    assert_eq!(due(&mut ice, now, 1000), [at(1)]);
    assert!(5 * (128 + len) <= 6 * 2 * CHECK);
    // Of a handshake it gets up to three times as much.
    let left = 3 * 2 * CHECK - 128 - len;
    assert!(!ice.admit_handshake(now, at(1), left + 1));
    assert!(ice.admit_handshake(now, at(1), left));
    assert!(!ice.admit_handshake(now, at(1), 1));
    assert!(!ice.admit_handshake(now, at(2), 1));
}

#[test]
fn consent_lasts_thirty_seconds_from_the_last_answered_question_whatever_checks_come() {
    let start = Instant::now();
    let mut ice = proven(start, 1);
    for second in 1..30 {
        let now = start + Duration::from_secs(second);
        check(&mut ice, now, 1, 100 + second as u32, true);
        due(&mut ice, now, 1000 + second as u32);
        assert!(ice.keep_consent(now, 0.5));
    }
    assert_eq!(ice.consent_deadline(), Some(start + CONSENT_TIMEOUT));
    let now = start + Duration::from_secs(29);
    // The answer to a question of the tenth second counts from there.
    assert!(!ice.on_answer(now, 0.5, at(1), transaction(1010)));
    let asked = start + Duration::from_secs(10);
    assert_eq!(ice.consent_deadline(), Some(asked + CONSENT_TIMEOUT));
    assert!(!ice.keep_consent(asked + CONSENT_TIMEOUT, 0.5));
    assert_eq!(ice.path(), None);
}

#[test]
fn the_path_in_use_is_asked_every_five_seconds_a_fifth_more_or_less() {
    for (jitter, millis) in [(0.0, 4000), (0.5, 5000), (1.0, 6000)] {
        let now = Instant::now();
        let mut ice = ice(now);
        check(&mut ice, now, 1, 1, true);
        ice.take_check(now, jitter, || transaction(1000)).unwrap();
        assert!(ice.on_answer(now, jitter, at(1), transaction(1000)));
        let next = now + Duration::from_millis(millis);
        assert_eq!(ice.next_check(now), Some(next));
        ice.take_check(next, jitter, || transaction(1001)).unwrap();
        assert_eq!(
            ice.next_check(next),
            Some(next + Duration::from_millis(millis))
        );
    }
}

#[test]
fn media_proves_an_address_of_a_peer_that_answers_nothing_and_of_no_other() {
    let start = Instant::now();
    let mut silent = ice(start);
    check(&mut silent, start, 1, 1, true);
    assert!(silent.on_handshake(start, 0.5, at(1)));
    let mut answering = proven(start, 1);
    for (ice, proves) in [(&mut silent, true), (&mut answering, false)] {
        check(ice, start, 2, 2, true);
        assert!(!ice.on_media(start, 0.5, at(2)), "it was not asked yet");
        let mut now = start;
        for _ in 0..3 {
            now = ice.next_check(now).unwrap();
            assert_eq!(due(ice, now, 2000), [at(2)]);
        }
        assert!(!ice.on_media(now, 0.5, at(3)));
        assert_eq!(ice.on_media(now, 0.5, at(2)), proves);
        assert_eq!(ice.path(), Some(at(if proves { 2 } else { 1 })));
    }
    assert_eq!(silent.proof(), Some(Proof::Media));
    let later = start + Duration::from_secs(20);
    silent.on_media(later, 0.5, at(2));
    assert_eq!(silent.consent_deadline(), Some(later + CONSENT_TIMEOUT));
    answering.on_media(later, 0.5, at(1));
    assert_eq!(answering.consent_deadline(), Some(start + CONSENT_TIMEOUT));
}

#[test]
fn a_peer_whose_only_path_was_taken_is_given_up_as_well() {
    let now = Instant::now();
    let mut ice = proven(now, 1);
    ice.forget(now, at(1));
    assert_eq!(ice.path(), None);
    assert_eq!(ice.consent_deadline(), Some(now + CONSENT_TIMEOUT));
    assert!(!ice.keep_consent(now + CONSENT_TIMEOUT, 0.5));
}

#[test]
fn a_flood_of_addresses_pushes_out_the_longest_silent_and_never_the_path() {
    let start = Instant::now();
    let mut ice = proven(start, 1);
    for port in 2..=200 {
        let now = start + Duration::from_millis(port.into());
        let replaced = (port > 20).then(|| at(port - 19));
        assert_eq!(
            check(&mut ice, now, port, port.into(), true),
            Check::New { replaced }
        );
    }
    assert_eq!(ice.addresses().count(), MAX_ADDRESSES);
    assert_eq!(ice.path(), Some(at(1)));
}

#[test]
fn a_username_must_name_both_sides_once_both_are_known() {
    let mut ice = nameless();
    assert_eq!(ice.meant_by("ours:anyone"), Some((1, "secret")));
    assert_eq!(ice.meant_by("ours"), None);
    assert_eq!(ice.meant_by("other:anyone"), None);
    ice.set_remote(
        Instant::now(),
        Remote {
            ufrag: "theirs".into(),
            pwd: "password".into(),
        },
    );
    assert_eq!(ice.meant_by("ours:theirs"), Some((1, "secret")));
    assert_eq!(ice.meant_by("ours:anyone"), None);
}

/// A connection from there.
fn tcp(port: u16) -> Path {
    Path::tcp(None, at(port).remote)
}

/// The peer checks from there and answers what it is asked there. True: media goes elsewhere from then on.
fn checked(ice: &mut Ice, now: Instant, path: Path, number: u32, nominate: bool) -> bool {
    ice.on_check(now, path, CHECK, transaction(number), (1, nominate));
    ice.on_received(path, 10 * CHECK);
    let asked = due(ice, now, 1000 + number);
    asked.contains(&path) && ice.on_answer(now, 0.5, path, transaction(1000 + number))
}

#[test]
fn a_connection_that_is_nominated_with_all_the_others_does_not_take_the_place_of_udp() {
    let start = Instant::now();
    let mut ice = ice(start);
    assert!(checked(&mut ice, start, at(1), 1, true));
    let soon = start + Duration::from_millis(300);
    assert!(!checked(&mut ice, soon, tcp(2), 2, true));
    assert_eq!(ice.path(), Some(at(1)));
    // The peer goes on with UDP and checks the connection once in a while, without meaning it.
    for second in 1..20 {
        let now = start + Duration::from_secs(second);
        checked(&mut ice, now, at(1), 100 + second as u32, true);
        checked(&mut ice, now, tcp(2), 200 + second as u32, false);
        assert_eq!(ice.path(), Some(at(1)));
    }
}

#[test]
fn a_connection_that_is_nominated_after_udp_was_left_takes_its_place_and_gives_it_back() {
    let start = Instant::now();
    let mut ice = ice(start);
    assert!(checked(&mut ice, start, at(1), 1, true));
    let later = start + NOMINATED_TOGETHER;
    assert!(checked(&mut ice, later, tcp(2), 2, true));
    assert_eq!(ice.path(), Some(tcp(2)));
    // UDP works again: at once.
    assert!(checked(&mut ice, later, at(1), 3, true));
    assert_eq!(ice.path(), Some(at(1)));
    // The first nomination came too soon, as the peer did not know yet that UDP is gone. It is repeated.
    let soon = later + NOMINATED_TOGETHER / 2;
    assert!(!checked(&mut ice, soon, tcp(2), 4, true));
    assert!(checked(
        &mut ice,
        soon + NOMINATED_TOGETHER,
        tcp(2),
        5,
        true
    ));
    // Between connections the later nomination counts, as between paths over UDP.
    assert!(checked(
        &mut ice,
        soon + NOMINATED_TOGETHER,
        tcp(3),
        6,
        true
    ));
}

#[test]
fn a_connection_works_without_udp_and_is_asked_once_and_not_again_and_again() {
    let start = Instant::now();
    let mut ice = ice(start);
    ice.on_check(start, tcp(1), CHECK, transaction(1), (1, true));
    ice.on_received(tcp(1), 10 * CHECK);
    assert_eq!(due(&mut ice, start, 1000), [tcp(1)]);
    let later = start + Duration::from_secs(4);
    assert_eq!(due(&mut ice, later, 1001), []);
    // A late answer is one.
    assert!(ice.on_answer(later, 0.5, tcp(1), transaction(1000)));
    assert_eq!(
        (ice.path(), ice.proof()),
        (Some(tcp(1)), Some(Proof::Answer))
    );
}

#[test]
fn a_peer_that_checks_again_by_a_connection_is_asked_again_once_nothing_came_for_a_while() {
    let start = Instant::now();
    let mut ice = ice(start);
    ice.on_received(tcp(1), 10 * CHECK);
    ice.on_check(start, tcp(1), CHECK, transaction(1), (1, true));
    assert_eq!(due(&mut ice, start, 1000), [tcp(1)]);
    let (soon, later) = (
        start + Duration::from_secs(2),
        start + Duration::from_secs(6),
    );
    ice.on_check(soon, tcp(1), CHECK, transaction(2), (1, true));
    assert_eq!(due(&mut ice, soon, 1001), []);
    assert_eq!(due(&mut ice, later, 1002), [], "the first one is given up");
    ice.on_check(later, tcp(1), CHECK, transaction(3), (1, true));
    assert_eq!(due(&mut ice, later, 1003), [tcp(1)]);
}

#[test]
fn a_connection_that_is_gone_leaves_its_place_at_once_to_what_was_proven_and_else_to_who_comes() {
    let start = Instant::now();
    let mut ice = ice(start);
    assert!(checked(&mut ice, start, at(1), 1, true));
    let now = start + Duration::from_secs(5);
    assert!(checked(&mut ice, now, tcp(2), 2, true));
    assert!(ice.on_closed(now, 0.5, tcp(2)));
    assert_eq!(ice.path(), Some(at(1)));
    assert!(!ice.on_closed(now, 0.5, tcp(2)), "it is known no more");

    let mut ice = self::ice(start);
    assert!(checked(&mut ice, start, tcp(2), 1, true));
    ice.on_check(start, at(1), CHECK, transaction(2), (1, false));
    ice.on_received(at(1), 10 * CHECK);
    assert!(ice.on_closed(now, 0.5, tcp(2)));
    assert_eq!(ice.path(), None);
    assert_eq!(ice.consent_deadline(), Some(now + CONSENT_TIMEOUT));
    // What was known and never needed is asked now; and a connection that is made again is taken as well.
    assert_eq!(due(&mut ice, now, 2000), [at(1)]);
    assert!(checked(&mut ice, now, tcp(3), 3, false));
    assert_eq!(ice.path(), Some(tcp(3)));
}
