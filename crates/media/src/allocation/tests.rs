use super::*;
use crate::wire::num::Rng;

fn video(choices: &[u64]) -> Video {
    let mut all = [0; MOST_CHOICES];
    all[..choices.len()].copy_from_slice(choices);
    Video {
        share: Share::default(),
        choices: all,
        count: choices.len(),
        adapts: false,
    }
}

fn means(available: f64, queued: bool) -> Means {
    Means {
        available,
        slack: SLACK,
        queued,
        probes: true,
    }
}

fn levels(videos: &[Video]) -> Vec<usize> {
    videos.iter().map(|it| it.share.level(it.count)).collect()
}

const SECOND: Duration = Duration::from_secs(1);

/// Divides for a time as it is done in a call; what there is depends on the seconds.
fn run(
    videos: &mut [Video],
    start: Instant,
    seconds: u64,
    available: impl Fn(f64) -> f64,
) -> Instant {
    let mut now = start;
    while now < start + SECOND * seconds as u32 {
        divide(
            now,
            means(available((now - start).as_secs_f64()), false),
            videos,
        );
        now += Duration::from_millis(100);
    }
    now
}

#[test]
fn all_begin_before_one_gets_more_and_the_first_gets_it_first() {
    let start = Instant::now();
    let layers = [100_000, 400_000, 900_000];
    for (available, expected) in [
        (4_000_000.0, [3, 3, 3]),
        (1_600_000.0, [3, 2, 1]),
        (700_000.0, [2, 1, 1]),
        (350_000.0, [1, 1, 1]),
        (230_000.0, [1, 1, 0]),
        (60_000.0, [0, 0, 0]),
    ] {
        let mut videos = [video(&layers); 3];
        run(&mut videos, start, 10, |_| available);
        assert_eq!(levels(&videos), expected, "{available}");
    }
}

#[test]
fn a_choice_is_kept_for_a_moment_and_while_it_is_a_little_too_much() {
    let start = Instant::now();
    let mut videos = [video(&[1_000_000])];
    run(&mut videos, start, 60, |_| 820_000.0);
    assert_eq!(levels(&videos), [1], "a little too much");
    // Too little for less than the patience, again and again.
    run(&mut videos, start, 60, |at| {
        if at % 1.5 < 0.8 {
            100_000.0
        } else {
            1_000_000.0
        }
    });
    assert_eq!(levels(&videos), [1], "for a moment");
    let at = start + SECOND * 100;
    for (after, expected) in [(0, 1), (1_199, 1), (1_200, 0)] {
        let now = at + Duration::from_millis(after);
        divide(now, means(100_000.0, false), &mut videos);
        assert_eq!(levels(&videos), [expected], "{after}");
    }
    let mut videos = [video(&[1_000_000])];
    for (after, expected) in [(0, 1), (299, 1), (300, 0)] {
        let now = at + Duration::from_millis(after);
        divide(now, means(100_000.0, true), &mut videos);
        assert_eq!(levels(&videos), [expected], "{after}, queued");
    }
}

#[test]
fn the_least_is_taken_before_a_pause_while_it_is_a_little_too_much() {
    let start = Instant::now();
    for (available, expected) in [(101_000.0, 1), (81_000.0, 1), (79_000.0, 0)] {
        let mut videos = [video(&[100_000, 200_000, 400_000])];
        run(&mut videos, start, 5, |at| {
            if at < 2.0 { 500_000.0 } else { available }
        });
        assert_eq!(levels(&videos), [expected], "{available}");
    }
}

#[test]
fn who_cannot_keep_what_it_is_given_waits_longer_each_time_and_not_for_ever() {
    let start = Instant::now();
    let mut videos = [video(&[500_000])];
    let mut now = start;
    let mut raised = Vec::new();
    // The path seems to carry it whenever nothing is sent, and does not.
    while now < start + SECOND * 200 {
        let before = levels(&videos)[0];
        let available = if before == 0 { 600_000.0 } else { 100_000.0 };
        divide(now, means(available, false), &mut videos);
        if levels(&videos)[0] > before {
            raised.push((now - start).as_secs());
        }
        now += Duration::from_millis(100);
    }
    let gaps: Vec<u64> = raised.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[..4].is_sorted(), "{gaps:?}");
    assert!(
        gaps[0] <= 6 && (32..36).contains(gaps.last().unwrap()),
        "{gaps:?}"
    );
    assert!(raised.len() < 12);
    // What lasted is begun anew.
    videos[0].share.not_before = None;
    run(&mut videos, now, 20, |_| 600_000.0);
    let lost = now + SECOND * 20;
    run(&mut videos, lost, 2, |_| 100_000.0);
    assert_eq!(levels(&videos), [0]);
    run(&mut videos, lost + SECOND * 2, 3, |_| 600_000.0);
    assert_eq!(levels(&videos), [1]);
}

#[test]
fn who_is_served_first_now_takes_what_those_behind_have_and_both_are_never_sent_together() {
    let start = Instant::now();
    let film = [500_000];
    let mut videos = [video(&film); 2];
    let now = run(&mut videos, start, 10, |_| 600_000.0);
    assert_eq!(levels(&videos), [1, 0]);
    videos.reverse();
    videos[0].share.prefer();
    let division = divide(now, means(600_000.0, false), &mut videos);
    assert_eq!(levels(&videos), [1, 0], "the other one");
    assert_eq!(division.given, 500_000.0);
    // Who could not be given more for lack of room pushes nobody out.
    let mut videos = [video(&film), video(&[100_000])];
    videos[0].share.give_up(now, 1);
    videos[0].share.prefer();
    run(&mut videos, now, 5, |_| 400_000.0);
    assert_eq!(levels(&videos), [0, 1]);
}

#[test]
fn what_did_not_get_through_is_lowered_at_once() {
    let now = Instant::now();
    let mut one = video(&[100_000, 300_000]);
    for expected in [1, 0, 0] {
        one.share.give_up(now, one.count);
        assert_eq!(one.share.level(one.count), expected);
    }
    let division = divide(
        now + SECOND,
        means(1_000_000.0, false),
        std::slice::from_mut(&mut one),
    );
    assert_eq!(one.share.level(one.count), 0, "not at once");
    let wanted = division.wanted.map(|bits| bits as u64);
    assert_eq!((division.given, wanted), (0.0, Some(110_000)));
}

#[test]
fn without_probes_a_video_that_lacks_room_is_tried_and_tried_less_often_each_time() {
    let start = Instant::now();
    let mut videos = [video(&[500_000])];
    let mut raised = Vec::new();
    for tenth in 0..1500 {
        let now = start + SECOND * tenth / 10;
        let before = levels(&videos)[0];
        let rough = Means {
            slack: ROUGH_SLACK,
            probes: false,
            ..means(200_000.0, false)
        };
        divide(now, rough, &mut videos);
        if levels(&videos)[0] > before {
            raised.push(tenth / 10);
        }
    }
    assert!((4..8).contains(&raised.len()), "{raised:?}");
    assert!(raised[0] <= 4);
}

/// Choices that come and go, needs and means that jump, from zero to absurd: what is given never needs more than the slack
/// for longer than the patience, levels stay in range, and what is wanted is more than what is given.
#[test]
fn whatever_is_needed_and_there_no_more_is_given_than_the_slack_for_longer_than_the_patience() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let mut videos: Vec<Video> = (0..1 + rng.below(6)).map(|_| video(&[1])).collect();
        let mut now = Instant::now();
        let mut over_since = None;
        let mut available = 500_000.0;
        for _ in 0..2000 {
            now += Duration::from_millis(20 + rng.below(300));
            if rng.below(40) == 0 {
                available = [0.0, 50_000.0, 800_000.0, 5e6, 1e18][rng.below(5) as usize];
                over_since = None;
            }
            if rng.below(60) == 0 {
                let at = rng.below(videos.len() as u64) as usize;
                let mut needs = [0; MOST_CHOICES];
                let mut need = 0;
                let count = rng.below(MOST_CHOICES as u64 + 1) as usize;
                for place in needs.iter_mut().take(count) {
                    need += rng.below(500_000);
                    *place = need;
                }
                (videos[at].choices, videos[at].count) = (needs, count);
                over_since = None;
            }
            let queued = rng.below(4) == 0;
            let division = divide(now, means(available, queued), &mut videos);
            for (level, one) in levels(&videos).into_iter().zip(&videos) {
                assert!(level <= one.count);
            }
            let over = division.given > available * SLACK + 1.0;
            match (over, over_since) {
                (false, _) => over_since = None,
                (true, None) => over_since = Some(now),
                (true, Some(since)) => {
                    let most = PATIENCE * videos.len() as u32 + Duration::from_millis(700);
                    assert!(now - since <= most, "seed {seed}: {:?}", now - since);
                }
            }
            if let Some(wanted) = division.wanted {
                assert!(wanted >= division.given, "seed {seed}");
            }
        }
    }
}

#[test]
fn who_is_to_need_less_soon_is_waited_for_once_and_not_for_ever() {
    let start = Instant::now();
    let mut videos = [video(&[800_000])];
    videos[0].share.settle(1, 1);
    videos[0].adapts = true;
    let lowered = (0..100).find(|tenth| {
        divide(
            start + Duration::from_millis(100) * *tenth,
            means(300_000.0, true),
            &mut videos,
        );
        levels(&videos) == [0]
    });
    assert_eq!(lowered, Some(16), "tenths of a second");
}
