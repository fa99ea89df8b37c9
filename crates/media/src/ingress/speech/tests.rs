use super::*;
use crate::wire::num::Rng;

const MS: Duration = Duration::from_millis(1);

/// Says of each 20 ms whether it is a speaker, of levels that last so many milliseconds each.
fn follow(levels: &[(u8, u32)]) -> Vec<bool> {
    hear(levels).into_iter().map(|level| level.speaks).collect()
}

/// Says of each 20 ms how loud it is.
fn hear(levels: &[(u8, u32)]) -> Vec<Level> {
    let (start, mut at) = (Instant::now(), Duration::ZERO);
    let mut speech = Speech::default();
    let mut heard = Vec::new();
    for (level, lasts) in levels {
        for _ in 0..lasts / 20 {
            at += 20 * MS;
            speech.on_level(start + at, &[*level]);
            heard.push(speech.level(start + at));
        }
    }
    heard
}

#[test]
fn a_word_makes_a_speaker_and_a_click_does_not() {
    assert!(follow(&[(30, 1000)]).contains(&true));
    let clicks = [(20, 100), (70, 300)].repeat(50);
    assert!(!follow(&clicks).contains(&true));
    assert!(!follow(&[(46, 10_000)]).contains(&true), "a quiet room");
    assert!(!follow(&[(127, 10_000)]).contains(&true), "muted");
}

#[test]
fn the_bit_for_voice_says_nothing_of_the_level() {
    assert!(!follow(&[(0x80 | 60, 5_000)]).contains(&true));
    assert!(follow(&[(0x80 | 30, 1_000)]).contains(&true));
}

#[test]
fn a_speaker_is_one_between_sentences_and_not_for_ever() {
    let heard = follow(&[(30, 2000), (70, 2400)]);
    let first = heard.iter().position(|speaks| *speaks).unwrap();
    assert!(heard[first..].iter().all(|speaks| *speaks));
    assert_eq!(follow(&[(30, 2000), (70, 2600)]).last(), Some(&false));
    // One that says nothing at all any more, not even that it is quiet.
    let (start, mut speech) = (Instant::now(), Speech::default());
    for at in 0..20 {
        speech.on_level(start + MS * 20 * at, &[30]);
    }
    let last = start + MS * 20 * 19;
    assert!(speech.speaks(last + HOLD - MS));
    assert!(!speech.speaks(last + HOLD));
}

#[test]
fn what_is_no_level_says_nothing_and_a_clock_that_stands_adds_nothing() {
    let (start, mut speech) = (Instant::now(), Speech::default());
    for at in 0..1000 {
        speech.on_level(start + MS * at, &[]);
        speech.on_level(start + MS * at, &[10, 10]);
        speech.on_level(start + MS * at, &[0; 16]);
    }
    assert_eq!(speech.level(start), Level::default());
    for _ in 0..1000 {
        speech.on_level(start, &[10]);
    }
    assert_eq!(speech.level(start), Level::default());
}

/// It does not matter how loud: a fan, a tone, and a client that always says that nothing is louder.
#[test]
fn what_stays_as_loud_as_it_was_is_a_speaker_for_a_while_and_never_again() {
    for level in [0, 10, 30, 40] {
        let heard = hear(&[(level, 120_000)]);
        let last = heard.iter().rposition(|it| it.speaks).unwrap();
        assert!(last < 18_000 / 20, "{level}: {last}");
        // Nothing is as steady as that.
        let mut rng = Rng::new(u64::from(level));
        let noise: Vec<_> = (0..3000)
            .map(|_| (level + rng.below(5) as u8, 20))
            .collect();
        let last = follow(&noise).iter().rposition(|speaks| *speaks).unwrap();
        assert!(last < 18_000 / 20, "{level}: {last}");
    }
}

#[test]
fn who_pauses_as_people_do_is_a_speaker_for_as_long_as_it_speaks_over_noise_too() {
    for (voice, room) in [(20, 70), (30, 60), (38, 55), (15, 32)] {
        let sentences = [(voice, 400), (room, 60), (voice, 1_600), (room, 350)].repeat(60);
        let heard = follow(&sentences);
        let first = heard.iter().position(|speaks| *speaks).unwrap();
        assert!(first < 40, "{voice} {first}");
        assert!(
            heard[first..].iter().all(|speaks| *speaks),
            "{voice} in {room}"
        );
    }
}

#[test]
fn a_volume_rises_fast_falls_slowly_and_ends_at_what_is_heard() {
    let rising = hear(&[(127, 1000), (30, 200)]);
    assert_eq!(rising[49].volume, 0);
    assert!(rising[54].volume >= 30, "{:?}", rising[54]);
    assert!(rising.last().unwrap().volume >= 45, "{:?}", rising.last());
    let falling = hear(&[(30, 1000), (127, 1000)]);
    assert!((45..=50).contains(&falling[49].volume));
    assert!(falling[50].volume > 30, "not at once: {:?}", falling[50]);
    assert_eq!(falling.last().unwrap().volume, 0);
    for (level, volume) in [(0, 100), (10, 100), (30, 50), (45, 12), (50, 0), (127, 0)] {
        let heard = hear(&[(level, 5_000)]).last().unwrap().volume;
        assert!(heard.abs_diff(volume) <= 1, "{level}: {heard}");
    }
}

/// Whatever comes, as fast as it likes: a volume is one, and nobody spoke for longer than it lasted.
#[test]
fn no_levels_break_a_bound() {
    for seed in 0..200 {
        let (mut rng, start) = (Rng::new(seed), Instant::now());
        let (mut speech, mut now) = (Speech::default(), start);
        let mut watch = Watch::new(Duration::from_millis(rng.below(300)));
        let mut told = 0;
        for _ in 0..3000 {
            now += Duration::from_micros(rng.below(3) * rng.below(40_000));
            let value = [rng.next_u32() as u8, rng.next_u32() as u8];
            speech.on_level(now, &value[..1 + usize::from(rng.below(10) == 0)]);
            let level = speech.level(now);
            assert!(level.volume <= 100 && !speech.loudness.is_nan());
            assert!((QUIET_ROOM..=127.0).contains(&speech.floor));
            assert!(u128::from(level.spoken_ms) <= (now - start).as_millis());
            told += u32::from(watch.take(now, &speech).is_some());
        }
        let most = (now - start).as_millis() / SHORTEST_REPORT.as_millis() + 1;
        assert!(u128::from(told) <= most, "seed {seed}: {told} of {most}");
    }
}

#[test]
fn a_watch_tells_while_there_is_something_to_hear_and_the_end_of_it_once() {
    let (start, mut speech) = (Instant::now(), Speech::default());
    let mut watch = Watch::new(MS * 100);
    let mut told = Vec::new();
    let levels = [(127, 2000), (25, 1000), (127, 5000)];
    let mut at = Duration::ZERO;
    for (level, lasts) in levels {
        // A thousand levels a second.
        for _ in 0..lasts {
            at += MS;
            speech.on_level(start + at, &[level]);
            told.extend(watch.take(start + at, &speech).map(|level| (at, level)));
        }
    }
    assert!(told[0].0 > MS * 2000, "of silence nothing is told");
    assert!(told.windows(2).all(|two| two[1].0 - two[0].0 >= MS * 100));
    assert!((10..=45).contains(&told.len()), "{}", told.len());
    let (last, ended) = told.last().unwrap();
    assert_eq!((ended.volume, ended.speaks), (0, false));
    assert!(*last < MS * 6000, "{last:?}");
}
