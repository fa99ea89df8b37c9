//! Restarts in virtual time: what is good when, and where media goes.

use crate::transport::ice::tests::{CHECK, at, due, proven, transaction};
use crate::transport::ice::{CONSENT_TIMEOUT, Ice, Remote};
use std::time::{Duration, Instant};

const PWD: &str = "another secret";

/// Asks for a restart, which both sides know of at once.
fn restart(ice: &mut Ice, now: Instant, name: &str) {
    ice.restart(name.into(), PWD.into());
    name_peer(ice, now);
}

fn name_peer(ice: &mut Ice, now: Instant) {
    let remote = Remote {
        ufrag: "theirs-too".into(),
        pwd: "another password".into(),
    };
    ice.set_remote(now, remote);
}

/// A check under the credentials of that generation, from a peer that has earned ours.
fn check_under(ice: &mut Ice, now: Instant, generation: u32, port: u16, number: u32) {
    ice.on_check(
        now,
        at(port),
        CHECK,
        transaction(number),
        (generation, false),
    );
    ice.on_received(at(port), 10 * CHECK);
}

fn ufrags(ice: &Ice) -> Vec<&str> {
    ice.ufrags().collect()
}

#[test]
fn media_goes_on_over_the_old_path_until_one_is_proven_under_the_new_credentials() {
    let now = Instant::now();
    let mut ice = proven(now, 1);
    restart(&mut ice, now, "new");
    assert_eq!(ufrags(&ice), ["new", "ours"]);
    assert_eq!(ice.meant_by("ours:theirs"), Some((1, "secret")));
    assert_eq!(ice.meant_by("new:theirs-too"), Some((2, PWD)));
    assert_eq!(ice.meant_by("ours:theirs-too"), None);
    assert_eq!(ice.meant_by("new:theirs"), None);
    check_under(&mut ice, now, 2, 2, 10);
    assert_eq!(ice.path(), Some(at(1)));
    // Each address is asked under its own credentials.
    assert!(due(&mut ice, now, 2000).contains(&at(2)));
    let asked = ice.credentials_of_checks(at(2));
    assert_eq!(asked, Some(("theirs-too:new", "another password")));
    let asked = ice.credentials_of_checks(at(1));
    assert_eq!(asked, Some(("theirs:ours", "password")));
    assert!(ice.on_answer(now, 0.5, at(2), transaction(2000)));
    assert_eq!(ice.path(), Some(at(2)), "without a nomination");
    assert_eq!(ufrags(&ice), ["new"]);
    assert_eq!(ice.take_ended(), ["ours"]);
    assert!(!ice.has_consent(now, at(1)), "the old credentials are its");
    assert_eq!(ice.overlap_ends(), None);
}

#[test]
fn a_path_of_the_old_credentials_never_takes_the_place_of_a_new_one() {
    let now = Instant::now();
    let mut ice = proven(now, 1);
    restart(&mut ice, now, "new");
    check_under(&mut ice, now, 2, 2, 10);
    // Nominated last, under the old ones, and not answered yet.
    ice.on_check(now, at(3), CHECK, transaction(11), (1, true));
    ice.on_received(at(3), 10 * CHECK);
    due(&mut ice, now, 2000);
    assert!(ice.on_answer(now, 0.5, at(2), transaction(2000)));
    assert!(!ice.on_answer(now, 0.5, at(3), transaction(2000)));
    assert!(!ice.on_handshake(now, 0.5, at(3)));
    assert_eq!(ice.path(), Some(at(2)));
}

#[test]
fn the_same_address_under_new_credentials_is_proven_anew_and_media_never_stops() {
    let start = Instant::now();
    let mut ice = proven(start, 1);
    restart(&mut ice, start, "new");
    let now = start + Duration::from_millis(20);
    check_under(&mut ice, now, 2, 1, 10);
    assert_eq!(
        (ice.path(), ufrags(&ice)),
        (Some(at(1)), vec!["new", "ours"])
    );
    assert_eq!(due(&mut ice, now, 2000), [at(1)]);
    let asked = ice.credentials_of_checks(at(1));
    assert_eq!(asked, Some(("theirs-too:new", "another password")));
    // A late check under the old ones is one of the peer's still, and takes nothing back.
    check_under(&mut ice, now, 1, 1, 11);
    assert!(
        !ice.on_answer(now, 0.5, at(1), transaction(2000)),
        "it is there"
    );
    assert_eq!((ice.path(), ufrags(&ice)), (Some(at(1)), vec!["new"]));
}

#[test]
fn our_side_may_be_checked_before_the_peers_new_name_is_known_and_asks_as_soon_as_it_is() {
    let now = Instant::now();
    let mut ice = proven(now, 1);
    ice.restart("new".into(), PWD.into());
    assert_eq!(ice.meant_by("new:whoever"), Some((2, PWD)));
    assert_eq!(ice.overlap_ends(), None, "nobody answered yet");
    check_under(&mut ice, now, 2, 2, 10);
    assert!(!due(&mut ice, now, 2000).contains(&at(2)));
    name_peer(&mut ice, now);
    assert!(due(&mut ice, now, 2001).contains(&at(2)));
    assert!(ice.on_answer(now, 0.5, at(2), transaction(2001)));
}

#[test]
fn the_old_credentials_end_after_a_consent_of_which_nothing_came_and_with_them_a_dead_path() {
    let start = Instant::now();
    let mut ice = proven(start, 1);
    let restarted = start + Duration::from_secs(10);
    restart(&mut ice, restarted, "new");
    let end = restarted + CONSENT_TIMEOUT;
    assert_eq!(ice.overlap_ends(), Some(end));
    ice.end_overlap(end - Duration::from_millis(1));
    assert_eq!(ufrags(&ice), ["new", "ours"]);
    ice.end_overlap(end);
    assert_eq!((ufrags(&ice), ice.path()), (vec!["new"], None));
    assert_eq!(ice.take_ended(), ["ours"]);
    assert_eq!(ice.consent_deadline(), Some(end + CONSENT_TIMEOUT));
}

#[test]
fn a_call_whose_old_path_still_answers_does_not_end_with_the_overlap() {
    let start = Instant::now();
    let mut ice = proven(start, 1);
    restart(&mut ice, start, "new");
    for second in 1..100 {
        let now = start + Duration::from_secs(second);
        for to in due(&mut ice, now, 1000 + second as u32) {
            ice.on_answer(now, 0.5, to, transaction(1000 + second as u32));
        }
        ice.end_overlap(now);
        assert!(ice.keep_consent(now, 0.5), "after {second} s");
    }
    assert_eq!(
        (ice.path(), ufrags(&ice)),
        (Some(at(1)), vec!["new", "ours"])
    );
}

/// The peer took our new credentials and checks with them from where it is; its answer that names its own is lost.
#[test]
fn a_call_goes_on_while_a_restart_is_answered_to_nobody() {
    let start = Instant::now();
    let mut ice = proven(start, 1);
    ice.restart("new".into(), PWD.into());
    for second in 1..100 {
        let now = start + Duration::from_secs(second);
        check_under(&mut ice, now, 2, 1, 3000 + second as u32);
        for to in due(&mut ice, now, 1000 + second as u32) {
            ice.on_answer(now, 0.5, to, transaction(1000 + second as u32));
        }
        ice.end_overlap(now);
        assert!(ice.keep_consent(now, 0.5), "after {second} s");
    }
    assert_eq!(ice.path(), Some(at(1)));
}

#[test]
fn a_storm_of_restarts_leaves_two_generations_and_the_path_that_was_proven() {
    let start = Instant::now();
    let mut ice = proven(start, 1);
    for number in 0..1000 {
        restart(&mut ice, start, &format!("new{number}"));
        // The address in use is checked under credentials that end before it is proven under them.
        check_under(&mut ice, start, 2 + number, 1, 10 + number);
        assert_eq!(ice.ufrags().count(), 2);
    }
    assert_eq!(ice.take_ended().len(), 999);
    assert_eq!(
        (ice.path(), ufrags(&ice)),
        (Some(at(1)), vec!["new999", "ours"])
    );
    // It is asked again, and its consent lasts as ever.
    let later = start + Duration::from_secs(5);
    assert!(due(&mut ice, later, 5000).contains(&at(1)));
    ice.on_answer(later, 0.5, at(1), transaction(5000));
    assert_eq!(ice.consent_deadline(), Some(later + CONSENT_TIMEOUT));
    assert_eq!(ufrags(&ice), ["new999"]);
}

#[test]
fn a_peer_that_turns_up_elsewhere_is_followed_when_it_answers_there_and_no_more_where_it_was() {
    let before = Instant::now();
    let mut ice = proven(before, 1);
    let start = before + Duration::from_secs(1);
    // Behind a NAT that gave it another address, which it does not know: one check, and no nomination.
    ice.on_check(start, at(2), CHECK, transaction(10), (1, false));
    ice.on_received(at(2), 10 * CHECK);
    let (mut now, mut moved) = (start, None);
    while moved.is_none() {
        for to in due(&mut ice, now, 2000) {
            if to == at(2) {
                ice.on_answer(now, 0.5, to, transaction(2000));
            }
        }
        moved = ice.leave_silent(now, 0.5).then_some(now - start);
        now = ice.next_check(now).expect("it is asked where it was");
        assert!(now < start + Duration::from_secs(5), "it is not followed");
    }
    assert_eq!(moved, Some(Duration::from_millis(1500)));
    assert_eq!(ice.path(), Some(at(2)));
}

#[test]
fn silence_is_told_once_and_again_after_an_answer() {
    let start = Instant::now();
    let mut ice = proven(start, 1);
    let mut told = Vec::new();
    let mut now = start;
    for check in 1..=8 {
        now = ice.next_check(now).unwrap();
        assert_eq!(due(&mut ice, now, 1000 + check), [at(1)]);
        if ice.take_silence() {
            told.push(check);
        }
        if check == 4 {
            ice.on_answer(now, 0.5, at(1), transaction(1000 + check));
            assert!(!ice.take_silence());
        }
    }
    assert_eq!(told, [3, 7]);
}
