//! Subscribers whose paths carry less than they asked for: sound goes through, pictures wait or are left out, others
//! notice nothing, and all comes back when the path carries it.

use parlour_media::num::Ssrc;
use parlour_media::rtcp::Rtcp;
use parlour_media::rtp::{RtpView, is_rtcp, is_rtp_or_rtcp};
use parlour_media::twcc::TwccRecorder;
use parlour_media::{
    Command, ConsumerId, ConsumerSpec, DropReason, Event, Kind, PayloadType, ProducerId,
    ProducerSpec,
};
use parlour_sim::raw::{RAW_PASSWORD, RawPeer, consumer, producer, rtp_packet};
use parlour_sim::{
    AUDIO_PT, Bottleneck, Conditions, Sim, TWCC_EXTENSION, VIDEO_PT, VIDEO_RTX_PT, vp8,
};
use std::collections::VecDeque;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const FEEDBACK: Duration = Duration::from_millis(50);
const WAY_BACK: Duration = Duration::from_millis(20);
const PACKET: usize = 1000;
const SMALL_PACKET: usize = 280;
const SOUND: u32 = 4000;
const PICTURE: u32 = 3000;

/// What came to a viewer: when in milliseconds, how long it stood in the queue, of which stream, under which number.
#[derive(Clone, Copy, Debug)]
struct Got {
    at: u128,
    waited: Duration,
    ssrc: u32,
    seq: u16,
    payload: usize,
}

struct Viewer {
    peer: RawPeer,
    link: Bottleneck<Vec<u8>>,
    recorder: TwccRecorder,
    /// Whether it reports at all.
    reports: bool,
    next_feedback: Duration,
    back: VecDeque<(Duration, Vec<u8>)>,
    got: Vec<Got>,
}

impl Viewer {
    /// What it got of a stream from that second on.
    fn of(&self, ssrc: u32, from: u128) -> Vec<Got> {
        let of = self.got.iter().filter(|it| it.ssrc == ssrc);
        of.filter(|it| it.at >= from * 1000).copied().collect()
    }
}

/// One who talks and shows a film, and who look at it.
struct Call {
    sim: Sim,
    speaker: RawPeer,
    viewers: Vec<Viewer>,
    time: Duration,
    seq: [u16; 2],
    /// Packets of a picture, and of a keyframe.
    sizes: [usize; 2],
    keyframe: bool,
    /// The same of the small picture, and its next number: it is one packet.
    small_keyframe: bool,
    small_seq: u16,
    in_two_sizes: bool,
    keyframes: usize,
    said: u16,
    limited: Vec<(u128, Event)>,
}

fn tracks(speaker: &RawPeer) -> [ProducerSpec; 3] {
    let sound = ProducerSpec {
        producer: ProducerId(2),
        mid: "1".into(),
        ssrc: Some(Ssrc(2000)),
        ..producer(speaker.transport, Kind::Audio)
    };
    let film = producer(speaker.transport, Kind::Video);
    let small = ProducerSpec {
        producer: ProducerId(3),
        mid: "2".into(),
        ssrc: Some(Ssrc(1010)),
        ..film.clone()
    };
    [film, sound, small]
}

impl Call {
    /// A call with a link to each viewer; the film has pictures and keyframes of so many packets.
    fn new(links: Vec<Conditions>, sizes: [usize; 2]) -> Call {
        Call::with(links, sizes, false)
    }

    fn with(links: Vec<Conditions>, sizes: [usize; 2], in_two_sizes: bool) -> Call {
        let mut sim = Sim::new(3);
        let speaker = RawPeer::connect(&mut sim, 1);
        let [film, sound, small] = tracks(&speaker);
        sim.command(Command::AddProducer(film.clone()));
        sim.command(Command::AddProducer(sound.clone()));
        let mut producers = vec![film.producer];
        if in_two_sizes {
            producers.push(small.producer);
            sim.command(Command::AddProducer(small));
        }
        let mut viewers = Vec::new();
        for (link, number) in links.into_iter().zip(2..) {
            let peer = RawPeer::connect(&mut sim, number);
            sim.command(Command::AddConsumer(ConsumerSpec {
                consumer: ConsumerId(10 * number),
                producers: producers.clone(),
                rtx_payload_type: Some(PayloadType(VIDEO_RTX_PT)),
                rtx_ssrc: Some(Ssrc(PICTURE + 1)),
                twcc_extension: Some(TWCC_EXTENSION),
                pads: false,
                ..consumer(peer.transport, &film, PICTURE)
            }));
            sim.command(Command::AddConsumer(ConsumerSpec {
                consumer: ConsumerId(10 * number + 1),
                mid: "1".into(),
                twcc_extension: Some(TWCC_EXTENSION),
                ..consumer(peer.transport, &sound, SOUND)
            }));
            viewers.push(Viewer {
                peer,
                link: Bottleneck::new(link, number),
                recorder: TwccRecorder::new(),
                reports: true,
                next_feedback: Duration::ZERO,
                back: VecDeque::new(),
                got: Vec::new(),
            });
        }
        Call {
            sim,
            speaker,
            viewers,
            time: Duration::ZERO,
            seq: [10, 10],
            sizes,
            keyframe: true,
            small_keyframe: true,
            small_seq: 500,
            in_two_sizes,
            keyframes: 0,
            said: 0,
            limited: Vec::new(),
        }
    }

    /// The call goes on until that second.
    fn until(&mut self, second: u64) {
        while self.time < Duration::from_secs(second) {
            self.time += MS;
            let milli = self.time.as_millis();
            if milli.is_multiple_of(33) {
                self.film();
                if self.in_two_sizes {
                    self.small_film();
                }
            }
            if milli.is_multiple_of(20) {
                self.said += 1;
                let packet = rtp_packet(AUDIO_PT, self.seq[1], milli as u32 * 48, 2000, &[9; 100]);
                self.seq[1] = self.seq[1].wrapping_add(1);
                let sent = self.speaker.send_rtp(&mut self.sim, &packet);
                self.launch(sent);
            }
            self.sim.sent = Some(Vec::new());
            self.sim.run(MS);
            let sent = self.sim.sent.take().unwrap();
            self.launch(sent);
            self.receive();
            for event in self.sim.events.drain(..) {
                if matches!(event, Event::ConsumerSource { .. }) {
                    self.limited.push((milli, event));
                }
            }
        }
    }

    fn film(&mut self) {
        let keyframe = std::mem::take(&mut self.keyframe);
        self.keyframes += usize::from(keyframe);
        let count = self.sizes[usize::from(keyframe)];
        let time = self.time.as_millis() as u32 * 90;
        for number in 0..count {
            let payload = vp8(keyframe, number == 0, &[7; PACKET]);
            let packet = rtp_packet(VIDEO_PT, self.seq[0], time, 1000, &payload);
            self.seq[0] = self.seq[0].wrapping_add(1);
            let sent = self.speaker.send_rtp(&mut self.sim, &packet);
            self.launch(sent);
        }
    }

    /// The film once more, small: 75 kbit/s.
    fn small_film(&mut self) {
        let keyframe = std::mem::take(&mut self.small_keyframe);
        let payload = vp8(keyframe, true, &[8; SMALL_PACKET]);
        let time = self.time.as_millis() as u32 * 90 + 12_345;
        let packet = rtp_packet(VIDEO_PT, self.small_seq, time, 1010, &payload);
        self.small_seq = self.small_seq.wrapping_add(1);
        let sent = self.speaker.send_rtp(&mut self.sim, &packet);
        self.launch(sent);
    }

    /// Puts what the router sent on the links, and answers what it asks.
    fn launch(&mut self, sent: Vec<(std::net::SocketAddr, Vec<u8>)>) {
        for (to, datagram) in sent {
            if to == self.speaker.address {
                self.answer_speaker(&datagram);
                continue;
            }
            let viewer = self.viewers.iter_mut().find(|it| it.peer.address == to);
            let viewer = viewer.expect("a viewer's address");
            if is_rtp_or_rtcp(&datagram) {
                viewer.link.send(self.time, datagram.len(), datagram);
            } else {
                viewer.peer.answer(&mut self.sim, &datagram, RAW_PASSWORD);
            }
        }
    }

    fn answer_speaker(&mut self, datagram: &[u8]) {
        if self.speaker.answer(&mut self.sim, datagram, RAW_PASSWORD) {
            return;
        }
        let Some(plain) = self.speaker.open(datagram) else {
            return;
        };
        let parts = parlour_media::rtcp::parse_compound(&plain);
        for part in parts.flatten() {
            if let Rtcp::Pli { media, .. } = part {
                match media.0 {
                    1000 => self.keyframe = true,
                    _ => self.small_keyframe = true,
                }
            }
        }
    }

    fn receive(&mut self) {
        let now = self.time;
        for viewer in &mut self.viewers {
            while let Some(arrival) = viewer.link.receive(now) {
                let Some(plain) = viewer.peer.open(&arrival.packet) else {
                    continue;
                };
                if is_rtcp(&plain) {
                    continue;
                }
                let view = RtpView::parse(&plain).unwrap();
                let number = view.extension(TWCC_EXTENSION).unwrap();
                let number = u16::from_be_bytes([number[0], number[1]]);
                let at = Duration::from_secs(1) + arrival.at;
                viewer.recorder.on_packet(number, at);
                viewer.got.push(Got {
                    at: arrival.at.as_millis(),
                    waited: arrival.waited,
                    ssrc: view.ssrc().0,
                    seq: view.seq().0,
                    payload: view.payload().len(),
                });
            }
            if now >= viewer.next_feedback {
                viewer.next_feedback = now + FEEDBACK;
                let mut buf = [0; 1200];
                while let Some(len) = viewer.recorder.build(&mut buf, Ssrc(1), Ssrc(PICTURE)) {
                    let packet = buf[..len].to_vec();
                    if viewer.reports {
                        viewer.back.push_back((now + WAY_BACK, packet));
                    }
                }
            }
        }
        for at in 0..self.viewers.len() {
            while let Some((due, _)) = self.viewers[at].back.front()
                && *due <= now
            {
                let (_, packet) = self.viewers[at].back.pop_front().unwrap();
                let address = self.viewers[at].peer.address;
                let sealed = self.viewers[at].peer.seal_rtcp(&packet);
                self.sim.sent = Some(Vec::new());
                self.sim.inject(address, &sealed);
                let sent = self.sim.sent.take().unwrap();
                self.launch(sent);
            }
        }
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.sim.router.snapshot().drops.get(reason)
    }
}

/// Numbers go on by one each, in their order.
fn assert_unbroken(got: &[Got]) {
    for pair in got.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq.wrapping_add(1), "{pair:?}");
    }
}

fn longest_wait(got: &[Got]) -> Duration {
    got.iter().map(|it| it.waited).max().unwrap()
}

/// 40 kbit/s of sound and 750 of film, over a path of 300: the picture pauses, and comes back with the path.
#[test]
fn sound_goes_through_a_path_too_narrow_for_the_picture_and_the_picture_comes_back_with_the_path() {
    let narrow = Conditions {
        rates: vec![
            (Duration::ZERO, 300_000),
            (Duration::from_secs(20), 3_000_000),
        ],
        ..Conditions::steady(300_000)
    };
    let mut call = Call::new(vec![narrow, Conditions::steady(20_000_000)], [3, 12]);
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
    let narrow = Conditions {
        rates: vec![
            (Duration::ZERO, 300_000),
            (Duration::from_secs(20), 3_000_000),
        ],
        ..Conditions::steady(300_000)
    };
    let mut call = Call::with(vec![narrow], [3, 12], true);
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
        let narrow = Conditions {
            rates: vec![
                (Duration::ZERO, 20_000_000),
                (Duration::from_secs(10), 300_000),
            ],
            queue: 110_000,
            ..Conditions::steady(300_000)
        };
        let mut call = Call::with(vec![narrow], [6, 12], true);
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
