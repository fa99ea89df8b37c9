//! A picture in three sizes, of VP8 with numbered pictures and temporal layers, and a sound, to a subscriber that has the
//! picture twice: with RTX and without. Publisher and subscriber say what the bytes want: descriptors and clocks that lie,
//! feedback and estimates that lie both ways, wishes for other sources. All of it is authentic.

use super::*;
use parlour_media::codecs::is_keyframe_start;
use parlour_media::rtcp::{self, Rtcp, SenderInfo, parse_compound};
use parlour_media::rtp::RtpView;
use parlour_media::twcc::TwccRecorder;
use parlour_media::{DropReason, vp8};

/// Of the encodings, from the biggest on; and of the sound.
const ENCODINGS: [u32; 3] = [1000, 1100, 1200];
const SOUND: u32 = 1300;
/// What the subscriber gets: the picture with RTX, the same without, the sound.
const SHOWN: [u32; 2] = [2000, 2100];
const HEARD: u32 = 2200;

const MID: u8 = 4;
const TWCC: u8 = 3;
const LEVEL: u8 = 5;

/// How much further the number of a picture is at most than that of the one before: so many may be missing.
const MOST_MISSING: u16 = 128;

/// A picture waits for the path no longer, and clocks that lead further from the time that passed are not believed. One that
/// waited may be followed by one of another source that did not, and the other way round.
const MOST_WAIT: Duration = Duration::from_millis(900);
const PLAUSIBLE: Duration = Duration::from_millis(500);

/// What one encoding says next.
#[derive(Clone, Copy, Default)]
struct Encoding {
    seq: u16,
    picture: u16,
    lowest: u8,
}

/// What a subscription showed last.
#[derive(Clone, Copy, Default)]
struct Shown {
    /// Its number and time, and when it was sent.
    newest: Option<(SeqNo, RtpTime, Duration)>,
    encoding: Option<u8>,
    picture: Option<u16>,
}

struct Call {
    session: Session,
    started: Instant,
    encodings: [Encoding; 3],
    shown: [Shown; 2],
    recorder: TwccRecorder,
    said: u16,
    heard: u64,
}

/// Gives a peer the keys that its handshake would have ended with: to make those is all that a fuzzer would do otherwise.
fn inject_keys(session: &mut Session, of: usize) {
    let profile = SrtpProfile::AeadAes256Gcm;
    let keys = SrtpKeys::from_exporter(profile, &[of as u8 + 1; 88]).expect("88 bytes");
    let transport = TransportId(of as u64);
    // An address has to earn the router's check by what comes from there.
    for transaction in 0..8 {
        session.check(of, [0x40 + transaction; 12], address(of), true);
        for (_, datagram) in std::mem::take(&mut session.sink.sent) {
            session.answer(of, &datagram);
        }
    }
    let known = session.router.inject_keys(session.now, transport, &keys);
    assert_eq!(known, Ok(true));
    let receiver = SrtpReceiver::new(&keys.server).expect("keys");
    session.peers[of].srtp = Some(SrtpSender::new(&keys.client).expect("keys"));
    session.peers[of].ledger = Some(Ledger::new(receiver));
    session.drain_events();
}

impl Call {
    fn new() -> Call {
        let mut session = Session::new();
        (0..2).for_each(|of| inject_keys(&mut session, of));
        let started = session.now;
        let mut producers = Vec::new();
        for (at, ssrc) in ENCODINGS.into_iter().chain([SOUND]).enumerate() {
            let video = ssrc != SOUND;
            producers.push(ProducerId(at as u64));
            session.command(Command::AddProducer(ProducerSpec {
                producer: ProducerId(at as u64),
                transport: TransportId(0),
                kind: if video { Kind::Video } else { Kind::Audio },
                codec: if video { Codec::Vp8 } else { Codec::Opus },
                mid: at.to_string(),
                rid: String::new(),
                payload_type: PayloadType(if video { 96 } else { 97 }),
                red_payload_type: None,
                rtx_payload_type: video.then_some(PayloadType(98)),
                ssrc: Some(Ssrc(ssrc)),
                rtx_ssrc: video.then_some(Ssrc(ssrc + 1)),
                mid_extension: Some(MID),
                rid_extension: None,
                repaired_rid_extension: None,
                twcc_extension: Some(TWCC),
                dependency_descriptor_extension: None,
                level_extension: (!video).then_some(LEVEL),
                nack: video,
                pli: video,
                remb: true,
            }));
        }
        let sound = producers.pop().into_iter().collect::<Vec<_>>();
        let lists = [producers.clone(), producers, sound];
        for (at, (ssrc, producers)) in SHOWN.into_iter().chain([HEARD]).zip(lists).enumerate() {
            let has_rtx = at == 0;
            session.command(Command::AddConsumer(ConsumerSpec {
                consumer: ConsumerId(at as u64),
                transport: TransportId(1),
                producers,
                source: 0,
                temporal: None,
                mid: at.to_string(),
                payload_type: PayloadType(if ssrc == HEARD { 97 } else { 96 }),
                red_payload_type: None,
                rtx_payload_type: has_rtx.then_some(PayloadType(98)),
                ssrc: Ssrc(ssrc),
                rtx_ssrc: has_rtx.then_some(Ssrc(ssrc + 1)),
                mid_extension: None,
                twcc_extension: Some(TWCC),
                dependency_descriptor_extension: None,
                pads: has_rtx,
                rank: at as u8,
                cname: "publisher".to_owned(),
            }));
        }
        session.nothing_is_refused();
        Call {
            session,
            started,
            // Their numbers are far apart, so that another one's are not taken for the next.
            encodings: [0, 1, 2].map(|at| Encoding {
                seq: at * 3_000,
                picture: at * 10_000,
                lowest: at as u8 * 80,
            }),
            shown: [Shown::default(); 2],
            recorder: TwccRecorder::new(),
            said: 0,
            heard: 0,
        }
    }

    fn time(&self) -> Duration {
        self.session.now - self.started
    }

    fn publish(&mut self, ssrc: u32, marker: bool, seq: u16, payload: &[u8]) {
        let rate = if ssrc == SOUND { 48 } else { 90 };
        let time = RtpTime(ssrc.wrapping_mul(77_777) + self.time().as_millis() as u32 * rate);
        let kind = PayloadType(if ssrc == SOUND { 97 } else { 96 });
        let mut packet = vec![0; 12];
        write_header(&mut packet, marker, kind, SeqNo(seq), time, Ssrc(ssrc), &[]);
        packet.extend(payload);
        self.session.seal(0, &packet);
    }

    /// A picture in so many packets, of the encoding `with & 3`, which is a keyframe with bit 2 and has a layer in bits 3
    /// and 4; bit 5 makes a gap. Its numbers are moved by the first two bytes, and the rest is its descriptor when there is
    /// more.
    fn film(&mut self, with: u8, data: &[u8]) {
        let at = usize::from(with & 3) % 3;
        let (keyframe, layer) = (with & 4 != 0, if with & 4 != 0 { 0 } else { with >> 3 & 3 });
        let it = &mut self.encodings[at];
        it.seq = it.seq.wrapping_add(u16::from(with >> 5 & 1));
        let moved = |at: usize| data.get(at).map_or(0, |byte| i16::from(*byte as i8));
        it.picture = it.picture.wrapping_add_signed(1 + moved(0)) & 0x7fff;
        it.lowest = it
            .lowest
            .wrapping_add(u8::from(layer == 0))
            .wrapping_add(moved(1) as u8);
        let [high, low] = (it.picture | 0x8000).to_be_bytes();
        let (lowest, opens) = (it.lowest, with & 0x40);
        let parts = 1 + usize::from(with >> 7) * 3;
        for part in 0..parts {
            let begins = if part == 0 { 0x90 } else { 0x80 };
            let honest = [begins, 0xe0, high, low, lowest, layer << 6 | opens >> 1];
            let mut payload = match data.get(2..).filter(|it| !it.is_empty()) {
                Some(lie) => lie.to_vec(),
                None => honest.to_vec(),
            };
            payload.push(u8::from(!(keyframe && part == 0)));
            payload.resize(payload.len() + 600 / (at + 1), 7);
            payload.push(at as u8);
            let seq = self.encodings[at].seq;
            self.encodings[at].seq = seq.wrapping_add(1);
            self.publish(ENCODINGS[at], part + 1 == parts, seq, &payload);
        }
    }

    /// What the subscriber was sent, judged and taken note of.
    fn take(&mut self) {
        let at = self.time();
        for (to, datagram) in std::mem::take(&mut self.session.sink.sent) {
            let Some(of) = (0..2).find(|of| address(*of) == to.remote) else {
                continue;
            };
            if is_stun(&datagram) {
                self.session.answer(of, &datagram);
                continue;
            }
            if !is_rtp_or_rtcp(&datagram) {
                continue;
            }
            let ledger = self.session.peers[of]
                .ledger
                .as_mut()
                .expect("it is connected");
            let plain = ledger.enter(&datagram);
            let Some(plain) = plain.filter(|_| of == 1 && !is_rtcp(&datagram)) else {
                continue;
            };
            let view = RtpView::parse(&plain).expect("RTP");
            let number = view.extension(TWCC).and_then(<[u8]>::first_chunk);
            let number = u16::from_be_bytes(*number.expect("it was agreed on"));
            self.recorder.on_packet(number, at + Duration::from_secs(1));
            self.heard += u64::from(view.ssrc().0 == HEARD);
            if let Some(which) = SHOWN.iter().position(|ssrc| view.ssrc().0 == *ssrc) {
                self.shown[which].see(at, &view);
            }
        }
        assert_eq!(self.heard, u64::from(self.said), "sound does not wait");
        let used = self.session.router.drops().get(DropReason::IndexUsed);
        assert_eq!(used, 0, "an index twice");
    }

    /// The subscriber tells what came, of which it leaves out what the bits say.
    fn report(&mut self, lost: &[u8]) {
        let mut buffer = [0; 1200];
        while let Some(len) = self.recorder.build(&mut buffer, Ssrc(1), Ssrc(SHOWN[0])) {
            // A status symbol more or less: what is told is another thing than what came.
            for (at, byte) in lost.iter().enumerate() {
                if let Some(place) = buffer[20..len].get_mut(at) {
                    *place ^= byte;
                }
            }
            let is_read = matches!(
                parse_compound(&buffer[..len]).next(),
                Some(Ok(Rtcp::Twcc(_)))
            );
            if is_read {
                self.session.seal(1, &buffer[..len]);
            }
        }
    }

    /// Feedback of any content.
    fn lie(&mut self, body: &[u8]) {
        let mut packet = vec![0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];
        packet.extend(body);
        packet.resize(packet.len().next_multiple_of(4), 0);
        let words = (packet.len() / 4 - 1) as u16;
        packet[2..4].copy_from_slice(&words.to_be_bytes());
        self.session.seal(1, &packet);
    }

    fn estimate(&mut self, bits_per_second: u64) {
        let mut buffer = [0; 64];
        let len = rtcp::write_remb(&mut buffer, Ssrc(1), bits_per_second, &[Ssrc(SHOWN[0])]);
        self.session.seal(1, &buffer[..len]);
    }

    fn ask(&mut self, which: usize, data: &[u8]) {
        let newest = self.shown[which].newest.map_or(0, |(seq, ..)| seq.0);
        let lost: Vec<SeqNo> = data
            .iter()
            .map(|back| SeqNo(newest.wrapping_sub(u16::from(*back))))
            .collect();
        let mut buffer = [0; 1100];
        let len = rtcp::write_nack(&mut buffer, Ssrc(1), Ssrc(SHOWN[which]), &lost);
        self.session.seal(1, &buffer[..len]);
    }

    /// The publisher's clock of an encoding.
    fn clock(&mut self, at: usize, data: &[u8]) {
        let mut said = [0; 12];
        said[..data.len().min(12)].copy_from_slice(&data[..data.len().min(12)]);
        let (ntp, rtp) = said.split_at(8);
        let info = SenderInfo {
            ntp: u64::from_be_bytes(*ntp.first_chunk().unwrap_or(&[0; 8])),
            rtp_time: RtpTime(u32::from_be_bytes(*rtp.first_chunk().unwrap_or(&[0; 4]))),
            packets: 1,
            octets: 1,
        };
        let mut buffer = [0; 64];
        let len = rtcp::write_sender_report(&mut buffer, Ssrc(ENCODINGS[at]), &info, &[]);
        self.session.seal(0, &buffer[..len]);
    }
}

impl Shown {
    /// What is newest goes on in time, begins with a keyframe where it is of another encoding, and numbers its pictures on.
    fn see(&mut self, at: Duration, view: &RtpView<'_>) {
        let (seq, time, payload) = (view.seq(), view.timestamp(), view.payload());
        if let Some((newest, before, sent)) = self.newest {
            if !seq.newer_than(newest) {
                return;
            }
            assert!(!before.newer_than(time), "time steps back at {seq:?}");
            let step = Duration::from_millis(u64::from(time.0.wrapping_sub(before.0)) / 90);
            let passed = at - sent + 2 * MOST_WAIT + PLAUSIBLE;
            assert!(step <= passed, "time leaps by {step:?} at {seq:?}");
        }
        self.newest = Some((seq, time, at));
        let Some(encoding) = payload.last().copied() else {
            return;
        };
        if self.encoding.replace(encoding) != Some(encoding) {
            let begins = is_keyframe_start(Codec::Vp8, payload);
            assert!(begins, "{encoding} follows without a keyframe at {seq:?}");
        }
        let ids = vp8::parse(payload).map(|it| it.ids);
        let Some(ids) = ids.filter(|ids| ids.has_picture() && ids.is_long) else {
            // Numbers of seven bits do not tell how far they are.
            self.picture = None;
            return;
        };
        if let Some(before) = self.picture {
            let ahead = ids.picture.wrapping_sub(before) & 0x7fff;
            let is_late = ahead >= 0x4000;
            assert!(
                is_late || ahead <= MOST_MISSING,
                "{before} is followed by {}",
                ids.picture
            );
            if is_late {
                return;
            }
        }
        self.picture = Some(ids.picture);
    }
}

/// Bytes are records: what is done, a byte for it, and data behind a length byte.
pub fn sources(mut data: &[u8]) {
    let mut call = Call::new();
    call.take();
    for _ in 0..160 {
        let Some((what, with, taken)) = record(&mut data) else {
            break;
        };
        let consumer = ConsumerId(u64::from(with & 1));
        match what % 12 {
            0..4 => call.film(with, taken),
            4 => {
                call.said += 1;
                call.publish(SOUND, false, call.said, b"sound");
            }
            5 => {
                let by = u64::from(with) * u64::from(with) / 32;
                call.session.advance(Duration::from_millis(1 + by));
            }
            6 => call.session.command(Command::SetConsumerSource {
                consumer,
                source: usize::from(with >> 1 & 3),
                temporal: taken.first().copied(),
            }),
            7 => call.report(taken),
            8 => call.lie(taken),
            9 => match with {
                0 => call.estimate(0),
                255 => call.estimate(u64::MAX),
                _ => call.estimate(1 << (with % 64)),
            },
            10 => call.ask(usize::from(with & 1), taken),
            _ => match with % 4 {
                0 => call.session.command(Command::SetConsumerPaused {
                    consumer,
                    paused: with & 16 != 0,
                }),
                1 if with > 200 => call.session.command(Command::RemoveProducer {
                    producer: ProducerId(u64::from(with % 3)),
                }),
                1 | 2 => call.clock(usize::from(with >> 2) % 3, taken),
                _ => {
                    let mut report = taken.to_vec();
                    if let [first, second, ..] = &mut report[..] {
                        (*first, *second) = (0x80 | *first & 0x3f, 200 + *second % 8);
                    }
                    call.session.seal(1, &report);
                }
            },
        }
        call.take();
    }
}
