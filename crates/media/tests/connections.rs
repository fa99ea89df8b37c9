//! Media over TCP (RFC 6544) as the router sees it: a path that is a connection, that may be full, and that may go.

use parlour_media::num::Rng;
use parlour_media::rtcp::{self, Rtcp};
use parlour_media::rtp::{RtpView, is_rtcp, is_rtp_or_rtcp};
use parlour_media::twcc::TwccRecorder;
use parlour_media::{
    CloseReason, Command, ConsumerId, DropReason, Event, Kind, MOST_WAITING, Path, PayloadType,
    ProducerId, ProducerSpec, Router, Ssrc, TransmitSink,
};
use parlour_sim::{
    AUDIO_PT, Header, KeyedClient, TWCC_EXTENSION, VIDEO_PT, keyed_router, packet, vp8,
};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const PICTURE: u32 = 3000;
const SOUND: u32 = 4000;
const LEN: usize = 1000;

/// Takes datagrams, and has those to one connection wait until its system takes them.
#[derive(Default)]
struct Outbox {
    sent: VecDeque<(Path, Vec<u8>)>,
    open: Option<(Path, Vec<u8>)>,
    /// The connection, how much it takes in a millisecond, what waits for it, and how much did at most.
    connection: Option<Path>,
    takes: f64,
    credit: f64,
    waits: VecDeque<Vec<u8>>,
    waiting: usize,
    most: usize,
}

impl TransmitSink for Outbox {
    fn buffer(&mut self, path: Path, max_len: usize) -> &mut [u8] {
        &mut self.open.insert((path, vec![0; max_len])).1
    }

    fn commit(&mut self, len: usize) {
        let (path, mut datagram) = self.open.take().unwrap();
        datagram.truncate(len);
        if self.connection == Some(path) {
            self.waiting += len;
            self.most = self.most.max(self.waiting);
            self.waits.push_back(datagram);
        } else {
            self.sent.push_back((path, datagram));
        }
    }

    fn waiting(&mut self, path: Path) -> usize {
        if self.connection == Some(path) {
            self.waiting
        } else {
            0
        }
    }
}

impl Outbox {
    /// A millisecond passes.
    fn pass(&mut self) {
        self.credit += self.takes;
        while let Some(first) = self.waits.front()
            && first.len() as f64 <= self.credit
        {
            let datagram = self.waits.pop_front().unwrap();
            self.credit -= datagram.len() as f64;
            self.waiting -= datagram.len();
            self.sent.push_back((self.connection.unwrap(), datagram));
        }
        if self.waits.is_empty() {
            self.credit = self.credit.min(self.takes);
        }
    }
}

/// Somebody who looks on.
struct Viewer {
    client: KeyedClient,
    path: Path,
    reports: bool,
    recorder: TwccRecorder,
    /// When in milliseconds, and under which number.
    sound: Vec<(u128, u16)>,
    pictures: Vec<(u128, u16)>,
    asked: usize,
}

/// Somebody who talks and shows a film of 490 kbit/s.
struct Call {
    now: Instant,
    started: Instant,
    router: Router,
    sink: Outbox,
    rng: Rng,
    speaker: KeyedClient,
    tracks: [ProducerSpec; 2],
    keyframe: bool,
    numbers: [u64; 2],
    wide: u16,
    viewers: Vec<Viewer>,
    events: Vec<Event>,
}

impl Call {
    fn new() -> Call {
        let now = Instant::now();
        let mut router = keyed_router(1, now, true);
        let (mut sink, mut rng) = (Outbox::default(), Rng::new(1));
        let speaker = KeyedClient::join(&mut router, now, &mut sink, 1, &mut rng);
        let tracks = [
            speaker.producer(ProducerId(1), Kind::Video),
            speaker.producer(ProducerId(2), Kind::Audio),
        ];
        let mut call = Call {
            now,
            started: now,
            router,
            sink,
            rng,
            speaker,
            tracks,
            keyframe: true,
            numbers: [10, 10],
            wide: 0,
            viewers: Vec::new(),
            events: Vec::new(),
        };
        // The second one has earned the check that goes back.
        for _ in 0..2 {
            let check = call.speaker.check();
            call.give(call.speaker.address.into(), check);
        }
        call.speaker.connect(&mut call.router, call.now);
        for track in call.tracks.clone() {
            call.command(Command::AddProducer(track));
        }
        call
    }

    fn command(&mut self, command: Command) {
        self.router
            .handle_command(self.now, command, &mut self.sink);
        self.settle();
    }

    /// A viewer comes by that path.
    fn join(&mut self, path: impl Fn(SocketAddr) -> Path, reports: bool) -> usize {
        let number = 2 + self.viewers.len() as u64;
        let client = KeyedClient::join(
            &mut self.router,
            self.now,
            &mut self.sink,
            number,
            &mut self.rng,
        );
        let path = path(client.address);
        self.viewers.push(Viewer {
            client,
            path,
            reports,
            recorder: TwccRecorder::new(),
            sound: Vec::new(),
            pictures: Vec::new(),
            asked: 0,
        });
        let at = self.viewers.len() - 1;
        self.check(at);
        if !self.viewers[at].path.is_tcp() {
            self.check(at);
        }
        self.viewers[at].client.connect(&mut self.router, self.now);
        for (spec, ssrc) in self.tracks.clone().iter().zip([PICTURE, SOUND]) {
            let consumer = ConsumerId(u64::from(ssrc) + number);
            let spec = self.viewers[at].client.consumer(consumer, spec, ssrc, true);
            self.command(Command::AddConsumer(spec));
        }
        at
    }

    /// A viewer checks by its path, and answers what it is asked.
    fn check(&mut self, viewer: usize) {
        let check = self.viewers[viewer].client.check();
        self.give(self.viewers[viewer].path, check);
    }

    fn give(&mut self, path: Path, mut datagram: Vec<u8>) {
        let (now, sink) = (self.now, &mut self.sink);
        self.router
            .handle_datagram(now, now, path, &mut datagram, sink);
        self.router.handle_timeout(now, sink);
        self.settle();
    }

    /// What is sent arrives, and is answered.
    fn settle(&mut self) {
        while let Some(event) = self.router.poll_event() {
            self.events.push(event);
        }
        let at = (self.now - self.started).as_millis();
        while let Some((path, mut datagram)) = self.sink.sent.pop_front() {
            if path == self.speaker.address.into() {
                if let Some(answer) = self.speaker.answer(&datagram) {
                    self.give(path, answer);
                } else if is_rtp_or_rtcp(&datagram) {
                    let len = self.speaker.receiver.unprotect_rtcp(&mut datagram).unwrap();
                    let parts = rtcp::parse_compound(&datagram[..len]).flatten();
                    self.keyframe |= parts
                        .into_iter()
                        .any(|part| matches!(part, Rtcp::Pli { .. }));
                }
                continue;
            }
            let Some(viewer) = self.viewers.iter_mut().find(|it| it.path == path) else {
                continue;
            };
            if let Some(answer) = viewer.client.answer(&datagram) {
                viewer.asked += 1;
                self.give(path, answer);
            } else if is_rtp_or_rtcp(&datagram) && !is_rtcp(&datagram) {
                let len = viewer.client.receiver.unprotect_rtp(&mut datagram).unwrap();
                let view = RtpView::parse(&datagram[..len]).unwrap();
                let number = view.extension(TWCC_EXTENSION).unwrap();
                let number = u16::from_be_bytes([number[0], number[1]]);
                let came = Duration::from_secs(1) + (self.now - self.started);
                viewer.recorder.on_packet(number, came);
                match view.ssrc().0 {
                    SOUND => viewer.sound.push((at, view.seq().0)),
                    PICTURE => viewer.pictures.push((at, view.seq().0)),
                    _ => {}
                }
            }
        }
    }

    fn say(&mut self, track: usize, time: u32, marker: bool, body: &[u8]) {
        let ext = self.numbers[track];
        self.numbers[track] += 1;
        self.wide = self.wide.wrapping_add(1);
        let video = track == 0;
        let header = Header {
            payload_type: PayloadType(if video { VIDEO_PT } else { AUDIO_PT }),
            ssrc: Ssrc(if video { 1000 } else { 2000 }),
            number: ext,
            timestamp: time,
            marker,
        };
        let plain = packet(&self.tracks[track], &header, self.wide, body);
        let sealed = self.speaker.seal(&plain, ext);
        self.give(self.speaker.address.into(), sealed);
    }

    /// The call goes on for so many milliseconds.
    fn run(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds {
            self.now += MS;
            let at = (self.now - self.started).as_millis() as u64;
            if at.is_multiple_of(33) {
                let keyframe = std::mem::take(&mut self.keyframe);
                // As films do, it takes now more and now less.
                let len = LEN - 50 * (at as usize / 1000 % 3);
                for part in 0..2 {
                    let body = vp8(keyframe, part == 0, &[7; LEN][..len]);
                    self.say(0, at as u32 * 90, part == 1, &body);
                }
            }
            if at.is_multiple_of(20) {
                self.say(1, at as u32 * 48, false, &[9; 100]);
            }
            if at.is_multiple_of(2500) {
                let check = self.speaker.check();
                self.give(self.speaker.address.into(), check);
                for viewer in 0..self.viewers.len() {
                    self.check(viewer);
                }
            }
            self.sink.pass();
            self.settle();
            if at.is_multiple_of(50) {
                self.report();
            }
            if self.router.next_timeout().is_some_and(|at| at <= self.now) {
                self.router.handle_timeout(self.now, &mut self.sink);
                self.settle();
            }
        }
    }

    fn report(&mut self) {
        for at in 0..self.viewers.len() {
            let mut buf = [0; 1200];
            while let Some(len) = self.viewers[at]
                .recorder
                .build(&mut buf, Ssrc(1), Ssrc(PICTURE))
            {
                if self.viewers[at].reports {
                    let sealed = self.viewers[at].client.seal_rtcp(&buf[..len]);
                    self.give(self.viewers[at].path, sealed);
                }
            }
        }
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.router.snapshot().drops.get(reason)
    }

    fn milliseconds(&self) -> u128 {
        (self.now - self.started).as_millis()
    }
}

fn over_tcp(address: SocketAddr) -> Path {
    Path::tcp(Some("192.0.2.1".parse().unwrap()), address)
}

fn assert_unbroken(got: &[(u128, u16)]) {
    for pair in got.windows(2) {
        assert_eq!(pair[1].1, pair[0].1.wrapping_add(1), "{pair:?}");
    }
}

#[test]
fn a_viewer_over_tcp_gets_what_one_over_udp_gets() {
    let mut call = Call::new();
    call.join(over_tcp, true);
    call.join(Path::from, true);
    call.run(5000);
    for viewer in &call.viewers {
        assert_eq!(viewer.sound.len(), 250, "{}", viewer.path);
        assert!(viewer.pictures.len() > 290, "{}", viewer.pictures.len());
        assert_unbroken(&viewer.sound);
        assert_unbroken(&viewer.pictures);
        // Consent is asked for by whatever path.
        assert!(viewer.asked >= 1);
    }
    let paths: Vec<Option<Path>> = call
        .router
        .snapshot()
        .transports
        .iter()
        .map(|it| it.path)
        .collect();
    assert!(paths.contains(&Some(call.viewers[0].path)), "{paths:?}");
    assert!(call.router.knows(call.viewers[0].path));
    let other = Path::from(call.viewers[0].path.remote);
    assert!(!call.router.knows(other), "the same address without TCP");
}

/// 40 kbit/s of sound and 490 of film, by a connection that takes 300.
#[test]
fn by_a_full_connection_all_sound_goes_and_pictures_are_dropped_by_name_whether_the_peer_reports_or_not()
 {
    for reports in [true, false] {
        let mut call = Call::new();
        call.sink.connection = Some(over_tcp(SocketAddr::from(([10, 0, 0, 2], 10_000))));
        call.sink.takes = 300_000.0 / 8_000.0;
        let viewer = call.join(over_tcp, reports);
        assert_eq!(call.sink.connection, Some(call.viewers[viewer].path));
        call.run(10_000);
        // A picture that was begun waits for no more than what may wait, and sound stands behind that.
        let most = call.sink.most;
        assert!(most < MOST_WAITING + 8 * LEN, "{most} bytes waited");
        let waits = call.sink.waits.iter().filter(|it| it.len() < 200).count();
        let sound = &call.viewers[viewer].sound;
        assert!(sound.len() + waits >= 500, "{} and {waits}", sound.len());
        assert_unbroken(sound);
        // Who reports is sent so little by then that the connection is seldom full.
        let reason = match reports {
            true => DropReason::NoRoom,
            false => DropReason::ConnectionFull,
        };
        assert!(call.dropped(reason) > 0, "nothing was dropped as {reason}");
        let estimate = call.router.snapshot().transports;
        let estimate = estimate
            .iter()
            .find_map(|it| it.bandwidth)
            .unwrap()
            .estimate;
        assert!(estimate < 330_000, "{estimate}: the estimate was not told");
        // It becomes wide: the picture is back, and nothing waits any more.
        call.sink.takes = 5_000_000.0 / 8_000.0;
        call.run(20_000);
        let since = call.milliseconds() - 3_000;
        let viewer = &call.viewers[viewer];
        let pictures = viewer.pictures.iter().filter(|(at, _)| *at >= since);
        let pictures = pictures.count();
        assert!(pictures > 150, "{pictures}, reports: {reports}");
        assert_unbroken(&viewer.sound);
        assert!(call.sink.waiting < 4 * LEN);
    }
}

#[test]
fn a_connection_that_closes_is_nobodys_path_at_once_and_the_peer_comes_back_by_another_one() {
    let mut call = Call::new();
    let viewer = call.join(over_tcp, true);
    call.run(1000);
    let before = call.viewers[viewer].path;
    call.router.handle_closed(call.now, before);
    assert!(!call.router.knows(before));
    let heard = call.viewers[viewer].sound.len();
    call.run(1000);
    assert_eq!(call.viewers[viewer].sound.len(), heard, "it goes nowhere");
    assert!(call.dropped(DropReason::NotConnected) > 0);
    let again = SocketAddr::new(before.remote.ip(), before.remote.port() + 7);
    call.viewers[viewer].path = over_tcp(again);
    call.check(viewer);
    call.run(1000);
    assert!(call.viewers[viewer].sound.len() >= heard + 49);
    assert_eq!(call.events.iter().filter(|it| is_end(it)).count(), 0);
    assert_eq!(call.router.poll_released(), None, "who closed it knows");
}

#[test]
fn a_peer_that_does_not_come_back_is_gone_when_its_consent_would_be() {
    let mut call = Call::new();
    let viewer = call.join(over_tcp, true);
    call.run(1000);
    let path = call.viewers[viewer].path;
    call.router.handle_closed(call.now, path);
    call.viewers[viewer].path = Path::from(SocketAddr::from(([203, 0, 113, 1], 9)));
    let transport = call.viewers[viewer].client.transport;
    call.viewers.clear();
    call.run(29_000);
    assert_eq!(call.events.iter().filter(|it| is_end(it)).count(), 0);
    call.run(2_000);
    let reason = CloseReason::ConsentExpired;
    let end = Event::TransportClosed { transport, reason };
    assert!(call.events.contains(&end), "{:?}", call.events);
}

#[test]
fn connections_that_a_transport_leaves_are_told_so_that_they_are_closed() {
    let mut call = Call::new();
    let viewer = call.join(over_tcp, true);
    let first = call.viewers[viewer].path;
    let transport = call.viewers[viewer].client.transport;
    // More than a peer may have: the oldest that is not in use goes, each time.
    let mut released = Vec::new();
    for port in 1..=40 {
        call.viewers[viewer].path = over_tcp(SocketAddr::new(first.remote.ip(), port));
        call.now += MS;
        let check = call.viewers[viewer].client.check();
        let (now, path) = (call.now, call.viewers[viewer].path);
        let mut check = check;
        call.router
            .handle_datagram(now, now, path, &mut check, &mut call.sink);
        call.sink.sent.clear();
        released.extend(std::iter::from_fn(|| call.router.poll_released()));
    }
    assert_eq!(released.len(), 41 - 20, "{released:?}");
    assert!(released.iter().all(|path| !call.router.knows(*path)));
    call.command(Command::RemoveTransport { transport });
    released.extend(std::iter::from_fn(|| call.router.poll_released()));
    assert_eq!(released.len(), 41);
    assert!(released.contains(&first));
}

fn is_end(event: &Event) -> bool {
    matches!(event, Event::TransportClosed { .. })
}
