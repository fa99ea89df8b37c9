//! One who talks and shows a film, those who look at it, and the narrow path of each.

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

pub(crate) const MS: Duration = Duration::from_millis(1);
const FEEDBACK: Duration = Duration::from_millis(50);
const WAY_BACK: Duration = Duration::from_millis(20);
pub(crate) const PACKET: usize = 1000;
const SMALL_PACKET: usize = 280;
pub(crate) const SOUND: u32 = 4000;
pub(crate) const RED_PT: u8 = 63;
pub(crate) const SPOKEN: usize = 100;
pub(crate) const PICTURE: u32 = 3000;

/// What came to a viewer: when in milliseconds, how long it stood in the queue, of which stream, under which number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Got {
    pub(crate) at: u128,
    pub(crate) waited: Duration,
    pub(crate) ssrc: u32,
    pub(crate) seq: u16,
    pub(crate) payload: usize,
    pub(crate) payload_type: u8,
    pub(crate) first: u8,
    /// The temporal layer of a picture that has some.
    pub(crate) layer: Option<u8>,
}

pub(crate) struct Viewer {
    pub(crate) peer: RawPeer,
    pub(crate) link: Bottleneck<Vec<u8>>,
    pub(crate) recorder: TwccRecorder,
    /// Whether it reports at all.
    pub(crate) reports: bool,
    pub(crate) next_feedback: Duration,
    pub(crate) back: VecDeque<(Duration, Vec<u8>)>,
    pub(crate) got: Vec<Got>,
}

/// What was sent to whom.
pub(crate) type Sent = Vec<(std::net::SocketAddr, Vec<u8>)>;

impl Viewer {
    /// Who is connected, and gets what is added afterwards over that link.
    pub(crate) fn new(peer: RawPeer, link: Conditions, seed: u64) -> Viewer {
        Viewer {
            peer,
            link: Bottleneck::new(link, seed),
            recorder: TwccRecorder::new(),
            reports: true,
            next_feedback: Duration::ZERO,
            back: VecDeque::new(),
            got: Vec::new(),
        }
    }

    /// Takes what comes over the link, and writes down when it came.
    fn take(&mut self, now: Duration) {
        while let Some(arrival) = self.link.receive(now) {
            let Some(plain) = self.peer.open(&arrival.packet) else {
                continue;
            };
            if is_rtcp(&plain) {
                continue;
            }
            let view = RtpView::parse(&plain).unwrap();
            let number = view.extension(TWCC_EXTENSION).unwrap();
            let number = u16::from_be_bytes([number[0], number[1]]);
            self.recorder
                .on_packet(number, Duration::from_secs(1) + arrival.at);
            let layer = match view.ssrc().0 {
                PICTURE => parlour_media::vp8::parse(view.payload()),
                _ => None,
            };
            self.got.push(Got {
                at: arrival.at.as_millis(),
                waited: arrival.waited,
                ssrc: view.ssrc().0,
                seq: view.seq().0,
                payload: view.payload().len(),
                payload_type: view.payload_type().0,
                first: view.payload().first().copied().unwrap_or_default(),
                layer: layer.and_then(|it| it.temporal).map(|(layer, _)| layer),
            });
        }
    }

    /// Takes what comes over the link, and writes feedback when it is time.
    pub(crate) fn receive(&mut self, now: Duration) {
        self.take(now);
        if now < self.next_feedback {
            return;
        }
        self.next_feedback = now + FEEDBACK;
        let mut buf = [0; 1200];
        while let Some(len) = self.recorder.build(&mut buf, Ssrc(1), Ssrc(PICTURE)) {
            if self.reports {
                self.back.push_back((now + WAY_BACK, buf[..len].to_vec()));
            }
        }
    }

    /// Lets the feedback arrive that has come its way by now; returns what the router sends then.
    pub(crate) fn report(&mut self, sim: &mut Sim, now: Duration) -> Sent {
        sim.sent = Some(Vec::new());
        while let Some((due, _)) = self.back.front()
            && *due <= now
        {
            let (_, packet) = self.back.pop_front().unwrap();
            let sealed = self.peer.seal_rtcp(&packet);
            sim.inject(self.peer.address, &sealed);
        }
        sim.sent.take().unwrap()
    }

    /// What it got of a stream from that second on.
    pub(crate) fn of(&self, ssrc: u32, from: u128) -> Vec<Got> {
        let of = self.got.iter().filter(|it| it.ssrc == ssrc);
        of.filter(|it| it.at >= from * 1000).copied().collect()
    }
}

/// One who talks and shows a film, and who look at it.
pub(crate) struct Call {
    pub(crate) sim: Sim,
    pub(crate) speaker: RawPeer,
    pub(crate) viewers: Vec<Viewer>,
    pub(crate) time: Duration,
    pub(crate) seq: [u16; 2],
    /// Packets of a picture, and of a keyframe.
    pub(crate) sizes: [usize; 2],
    pub(crate) keyframe: bool,
    /// The same of the small picture, and its next number: it is one packet.
    pub(crate) small_keyframe: bool,
    pub(crate) small_seq: u16,
    pub(crate) in_two_sizes: bool,
    /// The next frame of the film, where it has three temporal layers.
    pub(crate) layered: Option<u16>,
    pub(crate) keyframes: usize,
    pub(crate) said: u16,
    /// Whether the sound comes with copies of what was before it.
    pub(crate) copies: bool,
    pub(crate) limited: Vec<(u128, Event)>,
    /// What the speaker was reported of: when, of which stream, and the share that was lost, in 1/256.
    pub(crate) reported: Vec<(u128, u32, u8)>,
    /// How many bits a second the speaker was told to send at most: when, and how many.
    pub(crate) asked: Vec<(u128, u64)>,
    /// How long what it sends stands on its way to the router.
    pub(crate) stands: [u32; 2],
    /// Whether its encoder does as it is told, after how many milliseconds, and by how many percent its pictures are larger
    /// or smaller than that at most.
    pub(crate) heeds: bool,
    pub(crate) takes: u128,
    pub(crate) swings: usize,
}

/// A packet of that frame since the keyframe, which is frame 0, in three temporal layers as libvpx makes them.
fn layered(frame: u16, begins: bool) -> Vec<u8> {
    let (layer, opens) = [(0, false), (2, true), (1, true), (2, false)][usize::from(frame) % 4];
    let tid = layer << 6 | u8::from(opens) << 5;
    let descriptor = [0x80 | u8::from(begins) << 4, 0x20, tid];
    let mut payload = descriptor.to_vec();
    payload.push(u8::from(frame > 0));
    payload.resize(PACKET, 7);
    payload
}

/// Sound with what was in the packet before it, which is as long (RFC 2198 §3).
fn with_a_copy(own: &[u8]) -> Vec<u8> {
    let before = 1 << 31 | u32::from(AUDIO_PT) << 24 | 960 << 10 | own.len() as u32;
    [&before.to_be_bytes()[..], &[AUDIO_PT], own, own].concat()
}

fn tracks(speaker: &RawPeer, heeds: bool) -> [ProducerSpec; 3] {
    let sound = ProducerSpec {
        producer: ProducerId(2),
        mid: "1".into(),
        ssrc: Some(Ssrc(2000)),
        red_payload_type: Some(PayloadType(RED_PT)),
        ..producer(speaker.transport, Kind::Audio)
    };
    let film = ProducerSpec {
        remb: heeds,
        ..producer(speaker.transport, Kind::Video)
    };
    let small = ProducerSpec {
        producer: ProducerId(3),
        mid: "2".into(),
        ssrc: Some(Ssrc(1010)),
        ..film.clone()
    };
    [film, sound, small]
}

/// What a viewer gets of the film, under an SSRC and the next one.
fn film_for(peer: &RawPeer, film: &ProducerSpec, ssrc: u32) -> ConsumerSpec {
    ConsumerSpec {
        rtx_payload_type: Some(PayloadType(VIDEO_RTX_PT)),
        rtx_ssrc: Some(Ssrc(ssrc + 1)),
        twcc_extension: Some(TWCC_EXTENSION),
        pads: false,
        ..consumer(peer.transport, film, ssrc)
    }
}

impl Call {
    /// A viewer looks at the film once more, as consumer 99.
    pub(crate) fn watch(&mut self, viewer: usize, ssrc: u32) {
        let [film, ..] = tracks(&self.speaker, self.heeds);
        let spec = ConsumerSpec {
            consumer: ConsumerId(99),
            ..film_for(&self.viewers[viewer].peer, &film, ssrc)
        };
        self.sim.command(Command::AddConsumer(spec));
    }

    /// A call with a link to each viewer; the film has pictures and keyframes of so many packets.
    pub(crate) fn new(links: Vec<Conditions>, sizes: [usize; 2]) -> Call {
        Call::with(links, sizes, false, false)
    }

    /// The same; `in_two_sizes`: there is a small film as well; `heeds`: the speaker says that it heeds estimates.
    pub(crate) fn with(
        links: Vec<Conditions>,
        sizes: [usize; 2],
        in_two_sizes: bool,
        heeds: bool,
    ) -> Call {
        let mut sim = Sim::new(3);
        let speaker = RawPeer::connect(&mut sim, 1);
        let [film, sound, small] = tracks(&speaker, heeds);
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
                ..film_for(&peer, &film, PICTURE)
            }));
            sim.command(Command::AddConsumer(ConsumerSpec {
                consumer: ConsumerId(10 * number + 1),
                mid: "1".into(),
                twcc_extension: Some(TWCC_EXTENSION),
                ..consumer(peer.transport, &sound, SOUND)
            }));
            viewers.push(Viewer::new(peer, link, number));
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
            layered: None,
            keyframes: 0,
            said: 0,
            copies: false,
            limited: Vec::new(),
            reported: Vec::new(),
            asked: Vec::new(),
            heeds,
            takes: 100,
            swings: 0,
            stands: [0; 2],
        }
    }

    /// The call goes on until that second.
    pub(crate) fn until(&mut self, second: u64) {
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
                let (payload_type, payload) = match self.copies {
                    true => (RED_PT, with_a_copy(&[9; SPOKEN])),
                    false => (AUDIO_PT, vec![9; SPOKEN]),
                };
                let time = (milli as u32).wrapping_sub(self.stands[1]).wrapping_mul(48);
                let packet = rtp_packet(payload_type, self.seq[1], time, 2000, &payload);
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

    pub(crate) fn film(&mut self) {
        let keyframe = std::mem::take(&mut self.keyframe);
        self.keyframes += usize::from(keyframe);
        let count = self.sizes[usize::from(keyframe)];
        let mut left = self.bytes_of_a_picture(count, keyframe);
        let time = (self.time.as_millis() as u32).wrapping_sub(self.stands[0]);
        let time = time.wrapping_mul(90);
        let frame = self.layered;
        self.layered = frame.map(|frame| if keyframe { 1 } else { frame + 1 });
        for number in 0..count.min(left.div_ceil(PACKET)) {
            let payload = match frame {
                Some(frame) => layered(if keyframe { 0 } else { frame }, number == 0),
                None => vp8(keyframe, number == 0, &[7; PACKET][..left.min(PACKET)]),
            };
            left = left.saturating_sub(PACKET);
            let packet = rtp_packet(VIDEO_PT, self.seq[0], time, 1000, &payload);
            self.seq[0] = self.seq[0].wrapping_add(1);
            let sent = self.speaker.send_rtp(&mut self.sim, &packet);
            self.launch(sent);
        }
    }

    /// What is in a picture of so many packets at most: an encoder takes a moment to do as it is told, and makes keyframes
    /// as many times larger than the others as it did before.
    fn bytes_of_a_picture(&self, count: usize, keyframe: bool) -> usize {
        let now = self.time.as_millis();
        let mut told = self.asked.iter().rev();
        let heard = told.find(|(at, _)| self.heeds && at + self.takes <= now);
        let Some((_, asked)) = heard else {
            return count * PACKET;
        };
        let sound = 8 * (SPOKEN as u64 + 40) * 50;
        let usual = asked.saturating_sub(sound) as usize * 33 / 8_000;
        let swing = now as usize / 33 * 7_919 % (2 * self.swings + 1);
        let usual = usual * (100 + swing - self.swings) / 100;
        let times = if keyframe {
            self.sizes[1] / self.sizes[0]
        } else {
            1
        };
        (usual * times).clamp(200, count * PACKET)
    }

    /// The film once more, small: 75 kbit/s.
    pub(crate) fn small_film(&mut self) {
        let keyframe = std::mem::take(&mut self.small_keyframe);
        let payload = vp8(keyframe, true, &[8; SMALL_PACKET]);
        let time = self.time.as_millis() as u32 * 90 + 12_345;
        let packet = rtp_packet(VIDEO_PT, self.small_seq, time, 1010, &payload);
        self.small_seq = self.small_seq.wrapping_add(1);
        let sent = self.speaker.send_rtp(&mut self.sim, &packet);
        self.launch(sent);
    }

    /// Puts what the router sent on the links, and answers what it asks.
    pub(crate) fn launch(&mut self, sent: Sent) {
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

    pub(crate) fn answer_speaker(&mut self, datagram: &[u8]) {
        if self.speaker.answer(&mut self.sim, datagram, RAW_PASSWORD) {
            return;
        }
        let Some(plain) = self.speaker.open(datagram) else {
            return;
        };
        let parts = parlour_media::rtcp::parse_compound(&plain);
        for part in parts.flatten() {
            match part {
                Rtcp::Remb { bitrate, .. } => self.asked.push((self.time.as_millis(), bitrate)),
                Rtcp::Pli { media, .. } if media.0 == 1000 => self.keyframe = true,
                Rtcp::Pli { .. } => self.small_keyframe = true,
                Rtcp::ReceiverReport { blocks, .. } => {
                    let at = self.time.as_millis();
                    let told = blocks.map(|it| (at, it.ssrc.0, it.fraction_lost));
                    self.reported.extend(told);
                }
                _ => {}
            }
        }
    }

    pub(crate) fn receive(&mut self) {
        for viewer in &mut self.viewers {
            viewer.receive(self.time);
        }
        for at in 0..self.viewers.len() {
            let sent = self.viewers[at].report(&mut self.sim, self.time);
            self.launch(sent);
        }
    }

    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.sim.router.snapshot().drops.get(reason)
    }
}

/// Numbers go on by one each, in their order.
pub(crate) fn assert_unbroken(got: &[Got]) {
    for pair in got.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq.wrapping_add(1), "{pair:?}");
    }
}

pub(crate) fn longest_wait(got: &[Got]) -> Duration {
    got.iter().map(|it| it.waited).max().unwrap()
}
