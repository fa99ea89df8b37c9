//! The estimate of what a path carries, on a virtual link with every kind of weather, and under every kind of lie.

use parlour_media::congestion::{Bandwidth, LEAST, MOST, START};
use parlour_media::num::Rng;
use parlour_sim::{Conditions, Flow, Run};
use std::time::{Duration, Instant};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const BEGINNING: Duration = Duration::ZERO;
/// Seconds of queue at any rate here.
const DEEP: usize = 1_000_000;

#[test]
fn a_path_is_filled_and_its_queue_stays_short() {
    for (rate, least) in [
        (150_000, 0.90),
        (300_000, 0.92),
        (1_000_000, 0.92),
        (3_000_000, 0.92),
        (10_000_000, 0.92),
    ] {
        for seed in 1..4 {
            let mut run = Run::alone(Conditions::steady(rate), seed);
            run.until(s(60));
            let used = run.utilisation(s(10), s(60), None);
            let waited = run.waited(s(10), s(60), 0.05);
            assert!(used >= least, "{rate}, seed {seed}: {used:.3} used");
            assert!(waited < ms(100), "{rate}, seed {seed}: {waited:?} waited");
        }
    }
}

#[test]
fn a_deep_buffer_is_not_filled_even_at_the_beginning() {
    for rate in [300_000, 1_500_000] {
        let conditions = Conditions {
            queue: DEEP,
            ..Conditions::steady(rate)
        };
        let mut run = Run::alone(conditions, 1);
        run.until(s(60));
        assert!(run.utilisation(BEGINNING, s(60), None) >= 0.9);
        let waited = run.waited(BEGINNING, s(60), 0.05);
        assert!(waited < ms(100), "{rate}: {waited:?} waited");
        assert_eq!(run.link.overflowed, 0);
    }
}

/// To a fifth at once, with a buffer that holds many seconds: the worst that there is.
#[test]
fn after_a_step_down_it_takes_two_seconds_until_nothing_waits_any_more() {
    let conditions = Conditions {
        rates: vec![(BEGINNING, 2_500_000), (s(20), 500_000)],
        queue: DEEP,
        ..Conditions::steady(0)
    };
    let mut run = Run::alone(conditions, 1);
    run.until(s(60));
    // Lowered as soon as feedback can tell.
    assert!(run.estimated(ms(20_400), s(21)).all(|it| it <= 500_000));
    assert!(run.waited(ms(22_050), s(60), 0.0) < ms(100));
    // And not for long: what it was lowered to empties the queue, what it goes on with fills the path.
    assert!(run.estimated(s(22), s(23)).max() > Some(430_000));
    assert!(run.utilisation(s(22), s(60), None) >= 0.9);
}

#[test]
fn after_a_step_up_it_is_found_out_within_seconds() {
    let conditions = || Conditions {
        rates: vec![(BEGINNING, 500_000), (s(20), 2_500_000)],
        queue: DEEP,
        ..Conditions::steady(0)
    };
    let reached = |run: &Run| {
        let mut of = run.estimates.iter().filter(|(at, _)| *at >= s(20));
        let first = of.find(|(_, estimate)| *estimate >= 2_250_000);
        first.map(|(at, _)| *at - s(20))
    };
    let mut alone = Run::alone(conditions(), 1);
    alone.until(s(60));
    assert!(reached(&alone) < Some(s(10)), "{:?}", reached(&alone));
    assert!(alone.waited(s(20), s(60), 0.05) < ms(100));
    // Whoever has something to try it with knows sooner, and does no harm to the queue by that.
    let mut probing = Flow::new(1);
    (probing.probes, probing.limit) = (true, 4_000_000);
    let mut probed = Run::new(conditions(), vec![(BEGINNING, probing)], 1);
    probed.until(s(60));
    assert!(reached(&probed) < reached(&alone), "{:?}", reached(&probed));
    assert!(probed.waited(BEGINNING, s(60), 0.05) < ms(100));
}

#[test]
fn a_ramp_is_followed_down_and_up() {
    let rate = |at: u64| 300_000 + 90_000 * at.abs_diff(30);
    let conditions = Conditions {
        rates: (0..60).map(|at| (s(at), rate(at))).collect(),
        queue: DEEP,
        ..Conditions::steady(0)
    };
    let mut run = Run::alone(conditions, 1);
    run.until(s(60));
    assert!(run.utilisation(s(3), s(60), None) >= 0.88);
    assert!(run.waited(s(3), s(60), 0.05) < ms(100));
}

/// Radio loses whatever is sent. That is no reason to send less.
#[test]
fn random_loss_costs_little_more_than_what_is_lost() {
    for (loss, least) in [(20, 0.9), (50, 0.85), (100, 0.75)] {
        for seed in 1..4 {
            let conditions = Conditions {
                loss,
                ..Conditions::steady(2_000_000)
            };
            let mut run = Run::alone(conditions, seed);
            run.until(s(60));
            let used = run.utilisation(s(10), s(60), None);
            assert!(used >= least, "{loss}, seed {seed}: {used:.3} used");
            assert!(run.waited(s(10), s(60), 0.05) < ms(100));
        }
    }
}

/// A policer has no queue to speak of: what is too much is lost at once, and delays say nothing.
#[test]
fn loss_of_what_is_too_much_lowers_it() {
    let conditions = Conditions {
        rates: vec![(BEGINNING, 3_000_000), (s(20), 600_000)],
        queue: 5_000,
        ..Conditions::steady(0)
    };
    let mut run = Run::alone(conditions, 1);
    run.until(s(60));
    let most = run.estimated(s(23), s(60)).max();
    assert!(most < Some(900_000), "{most:?}");
    assert!(run.utilisation(s(23), s(60), None) >= 0.75);
}

#[test]
fn a_path_that_swings_by_itself_is_not_a_full_one() {
    for jitter in [10, 30, 60] {
        let conditions = Conditions {
            jitter: ms(jitter),
            ..Conditions::steady(2_000_000)
        };
        let mut run = Run::alone(conditions, 1);
        run.until(s(60));
        let used = run.utilisation(s(10), s(60), None);
        assert!(used >= 0.88, "{jitter} ms: {used:.3} used");
        assert!(run.waited(s(10), s(60), 0.05) < ms(100));
    }
}

#[test]
fn two_of_ours_share_a_path_and_whoever_was_first_does_not_keep_it() {
    for seed in 1..4 {
        let conditions = Conditions {
            queue: DEEP,
            ..Conditions::steady(3_000_000)
        };
        let flows = vec![(BEGINNING, Flow::new(seed)), (s(15), Flow::new(seed + 9))];
        let mut run = Run::new(conditions, flows, seed);
        run.until(s(120));
        assert!(run.utilisation(s(60), s(120), None) >= 0.9);
        assert!(run.waited(s(60), s(120), 0.05) < ms(100));
        for flow in [0, 1] {
            let share = run.utilisation(s(60), s(120), Some(flow));
            assert!((0.3..0.65).contains(&share), "seed {seed}: {share:.2}");
        }
    }
}

/// Who sends little learns little: the estimate neither runs away nor falls.
#[test]
fn what_was_never_tried_is_not_claimed_and_silence_is_no_reason_to_lower_it() {
    let mut little = Flow::new(1);
    little.limit = 300_000;
    let mut run = Run::new(Conditions::steady(3_000_000), vec![(BEGINNING, little)], 1);
    run.until(s(40));
    assert!(run.estimated(s(2), s(40)).all(|it| it == START));
    // Then more, so that it rises, and then nothing at all for a minute.
    run.flows[0].1.limit = 2_000_000;
    run.until(s(60));
    let tried = run.flows[0].1.bandwidth.estimate();
    assert!((2_000_000..=3_100_000).contains(&tried), "{tried}");
    run.flows[0].1.limit = 0;
    run.until(s(120));
    assert_eq!(run.flows[0].1.bandwidth.estimate(), tried);
}

/// What it would be without any of this, as the judge of lies.
fn with_feedback(
    seconds: u64,
    change: impl FnMut(Vec<u8>, &mut Rng) -> Vec<Vec<u8>> + 'static,
) -> Run {
    let mut flow = Flow::new(1);
    flow.feedback = Box::new(change);
    let mut run = Run::new(Conditions::steady(1_000_000), vec![(BEGINNING, flow)], 1);
    run.until(s(seconds));
    let bounds = LEAST..=MOST;
    assert!(run.estimates.iter().all(|(_, it)| bounds.contains(it)));
    // Never far above what was sent, which was no more than the path could take for long.
    assert!(run.estimated(BEGINNING, s(seconds)).max() < Some(6_000_000));
    run
}

#[test]
fn feedback_that_is_lost_repeated_or_late_costs_little() {
    let mut held = Vec::new();
    let used = |run: &Run| run.utilisation(s(10), s(60), None);
    let lost = with_feedback(60, |one, rng| match rng.below(10) < 3 {
        true => Vec::new(),
        false => vec![one],
    });
    assert!(used(&lost) > 0.9 && lost.waited(s(10), s(60), 0.05) < ms(100));
    let repeated = with_feedback(60, |one, _| vec![one.clone(), one.clone(), one]);
    assert!(used(&repeated) > 0.9 && repeated.waited(s(10), s(60), 0.05) < ms(100));
    let reversed = with_feedback(60, move |one, _| {
        held.push(one);
        if held.len() < 4 {
            return Vec::new();
        }
        held.reverse();
        std::mem::take(&mut held)
    });
    assert!(used(&reversed) > 0.9 && reversed.waited(s(10), s(60), 0.05) < ms(150));
}

#[test]
fn feedback_about_what_was_never_sent_is_counted_and_changes_nothing() {
    let honest = with_feedback(20, |one, _| vec![one]);
    let lying = with_feedback(20, |one, _| {
        let mut other = one.clone();
        // The first number that it tells of, half of all numbers away.
        other[12] ^= 0x40;
        vec![one, other]
    });
    assert!(lying.flows[0].1.never_sent > 1_000);
    assert_eq!(honest.flows[0].1.never_sent, 0);
    assert!(lying.estimates == honest.estimates);
}

#[test]
fn arrival_times_that_jump_by_hours_and_back_leave_it_bounded_and_it_recovers() {
    let mut count = 0;
    let run = with_feedback(90, move |mut one, rng| {
        count += 1;
        if count < 600 {
            // The highest byte of the reference time: steps of 70 minutes.
            one[16] ^= rng.next_u32() as u8;
        }
        vec![one]
    });
    assert!(run.utilisation(s(60), s(90), None) > 0.9);
    assert!(run.waited(s(60), s(90), 0.05) < ms(100));
}

#[test]
fn all_lost_and_all_well_by_turns_is_a_bad_path_that_recovers() {
    let mut count = 0;
    let run = with_feedback(90, move |mut one, _| {
        count += 1;
        if count < 600 && count % 40 < 20 {
            // Every packet it tells of: not received, in one run.
            let told = u16::from_be_bytes([one[14], one[15]]);
            one.truncate(24);
            one[20..22].copy_from_slice(&told.to_be_bytes());
            one[22..24].copy_from_slice(&[0, 0]);
            one[2..4].copy_from_slice(&5_u16.to_be_bytes());
        }
        vec![one]
    });
    assert!(run.estimated(s(2), s(30)).min() < Some(300_000));
    assert!(run.utilisation(s(60), s(90), None) > 0.9);
}

#[test]
fn a_subscriber_that_acknowledges_nothing_gets_the_least_and_one_that_speaks_again_its_due() {
    let mut count = 0;
    let run = with_feedback(60, move |one, _| {
        count += 1;
        match (200..600).contains(&count) {
            true => Vec::new(),
            false => vec![one],
        }
    });
    assert!(run.estimated(s(18), s(30)).all(|it| it == LEAST));
    assert!(run.utilisation(s(40), s(60), None) > 0.9);
    // One that never says anything is waited for longer: some report every few seconds only.
    let run = with_feedback(30, |_, _| Vec::new());
    assert!(run.estimated(BEGINNING, s(11)).all(|it| it == START));
    assert!(run.estimated(s(16), s(30)).all(|it| it == LEAST));
}

/// The last packet before a pause may be lost, and nobody tells of it.
#[test]
fn a_pause_after_a_packet_that_was_lost_is_not_taken_for_silence() {
    let mut run = Run::alone(Conditions::steady(1_000_000), 1);
    run.until(s(20));
    let bandwidth = &mut run.flows[0].1.bandwidth;
    let (before, mut now) = (bandwidth.estimate(), Instant::now() + s(60));
    for _ in 0..3 {
        let number = bandwidth.next_number();
        bandwidth.on_sent(now, Some(number), 100, None);
        for _ in 0..60 {
            bandwidth.on_tick(now);
            now += s(1);
        }
    }
    assert_eq!(bandwidth.estimate(), before);
}

#[test]
fn noise_for_feedback_never_leaves_the_bounds() {
    for seed in 0..20 {
        let mut noise = Rng::new(seed);
        with_feedback(10, move |mut one, _| {
            let from = 12 + noise.below(10) as usize;
            for byte in one.iter_mut().skip(from) {
                *byte = noise.next_u32() as u8;
            }
            vec![one]
        });
    }
}

/// Sends `rate` for so many seconds to a peer that has no transport-wide feedback, and lets it answer each second.
fn without_feedback(
    bandwidth: &mut Bandwidth,
    now: &mut Instant,
    seconds: u64,
    rate: usize,
    mut answer: impl FnMut(&mut Bandwidth, Instant),
) {
    for _ in 0..seconds {
        for _ in 0..100 {
            *now += ms(10);
            bandwidth.on_sent(*now, None, rate / 800, None);
        }
        answer(bandwidth, *now);
        bandwidth.on_tick(*now);
    }
}

#[test]
fn the_peers_own_estimate_is_taken_within_bounds_and_not_beyond_what_was_tried() {
    let (mut bandwidth, mut now) = (Bandwidth::default(), Instant::now());
    let mut told = |bits, rate| {
        let remb = |it: &mut Bandwidth, now| it.on_remb(now, bits);
        without_feedback(&mut bandwidth, &mut now, 5, rate, remb);
        bandwidth.estimate()
    };
    assert_eq!(told(450_000, 600_000), 450_000);
    assert_eq!(told(0, 600_000), LEAST);
    let beyond = told(1 << 63, 600_000);
    assert!((900_000..1_000_000).contains(&beyond), "{beyond}");
    assert!(told(u64::MAX, 600_000_000) == MOST);
}

#[test]
fn reports_of_loss_are_what_is_left_when_there_is_nothing_better() {
    let (mut bandwidth, mut now) = (Bandwidth::default(), Instant::now());
    let mut reported = |fraction, rate| {
        let report = |it: &mut Bandwidth, now| it.on_report(now, fraction, 100, Some(ms(80)));
        without_feedback(&mut bandwidth, &mut now, 20, rate, report);
        (bandwidth.estimate(), bandwidth.loss())
    };
    let (risen, none) = reported(0, 800_000);
    assert!(
        (1_100_000..=1_210_000).contains(&risen) && none == 0.0,
        "{risen}"
    );
    assert_eq!(reported(12, 800_000).0, risen, "5 % say nothing");
    let (fallen, half) = reported(128, 800_000);
    assert!(fallen < 100_000 && half == 0.5, "{fallen}");
    assert_eq!(bandwidth.round_trip(), Some(ms(80)));
}
