//! What forwarding costs in instructions: `valgrind --tool=callgrind --collect-atstart=no
//! --toggle-collect='*forward_packets*' forward video|audio`. Prints how many packets were forwarded where callgrind
//! collects, which is in one function; `python -m bench.instructions` divides.
//!
//! One publisher, ten subscribers, keys injected: no handshake, and every seed is fixed.

use parlour_media::num::Rng;
use parlour_media::{
    Command, ConsumerId, Kind, Path, PayloadType, ProducerId, Router, Ssrc, TransmitSink, VecSink,
};
use parlour_sim::{AUDIO_PT, Header, KeyedClient, VIDEO_PT, keyed_router, packet, vp8};
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const SUBSCRIBERS: u64 = 10;
const WARM_UP: usize = 60;
const MEASURED: usize = 60;

/// Where packets go: nowhere.
struct Discard([u8; 2048]);

impl TransmitSink for Discard {
    fn buffer(&mut self, _path: Path, max_len: usize) -> &mut [u8] {
        &mut self.0[..max_len]
    }

    fn commit(&mut self, _len: usize) {}
}

/// Packets that come at one moment.
struct Burst {
    at: Instant,
    packets: Vec<Vec<u8>>,
}

/// What is measured: datagrams in, datagrams out, and what is due after each burst.
#[inline(never)]
fn forward_packets(router: &mut Router, from: Path, bursts: &mut [Burst], sink: &mut Discard) {
    for burst in bursts {
        for packet in &mut burst.packets {
            router.handle_datagram(burst.at, burst.at, from, packet, sink);
        }
        router.handle_timeout(burst.at, sink);
    }
}

fn join(router: &mut Router, now: Instant, number: u64, rng: &mut Rng) -> KeyedClient {
    let mut sink = VecSink::default();
    let mut client = KeyedClient::join(router, now, &mut sink, number, rng);
    // An address has to earn the router's check by what comes from there.
    let mut answer = loop {
        let mut check = client.check();
        router.handle_datagram(now, now, client.address, &mut check, &mut sink);
        let asked = sink.sent.drain(..);
        let answers: Vec<_> = asked.filter_map(|(_, sent)| client.answer(&sent)).collect();
        if let Some(answer) = answers.into_iter().next() {
            break answer;
        }
    };
    router.handle_datagram(now, now, client.address, &mut answer, &mut sink);
    client.connect(router, now);
    client
}

/// The publisher's packets, sealed: the bursts of 8 × 1,100 bytes of a video of 30 frames a second, or audio of 50
/// packets of 100 bytes.
fn sealed(publisher: &KeyedClient, kind: Kind, started: Instant) -> Vec<Burst> {
    let spec = publisher.producer(ProducerId(1), kind);
    let (parts, interval, ticks, payload_type) = match kind {
        Kind::Video => (8, Duration::from_micros(33_333), 3000, VIDEO_PT),
        Kind::Audio => (1, Duration::from_millis(20), 960, AUDIO_PT),
    };
    let mut number = 1000;
    let burst = |frame: usize| {
        let packets = (0..parts).map(|part| {
            let header = Header {
                payload_type: PayloadType(payload_type),
                ssrc: Ssrc(1000),
                number,
                timestamp: frame as u32 * ticks,
                marker: part + 1 == parts && kind == Kind::Video,
            };
            number += 1;
            let payload = match kind {
                Kind::Video => vp8(frame == 0, part == 0, &[7; 1098]),
                Kind::Audio => vec![7; 100],
            };
            publisher.seal(&packet(&spec, &header, number as u16, &payload), number - 1)
        });
        Burst {
            packets: packets.collect(),
            at: started + interval * frame as u32,
        }
    };
    (0..WARM_UP + MEASURED).map(burst).collect()
}

fn main() -> ExitCode {
    let kind = match std::env::args().nth(1).as_deref() {
        Some("video") => Kind::Video,
        Some("audio") => Kind::Audio,
        _ => {
            eprintln!("usage: forward video|audio");
            return ExitCode::from(2);
        }
    };
    let now = Instant::now();
    let mut router = keyed_router(1, now, true);
    let mut sink = Discard([0; 2048]);
    let mut rng = Rng::new(1);
    let publisher = join(&mut router, now, 1, &mut rng);
    let track = publisher.producer(ProducerId(1), kind);
    router.handle_command(now, Command::AddProducer(track.clone()), &mut sink);
    for number in 2..2 + SUBSCRIBERS {
        let subscriber = join(&mut router, now, number, &mut rng);
        let consumer = subscriber.consumer(ConsumerId(number), &track, 3000, true);
        router.handle_command(now, Command::AddConsumer(consumer), &mut sink);
    }
    let mut bursts = sealed(&publisher, kind, now + Duration::from_millis(20));
    let (warm_up, measured) = bursts.split_at_mut(WARM_UP);
    for burst in warm_up {
        for packet in &mut burst.packets {
            router.handle_datagram(burst.at, burst.at, publisher.address, packet, &mut sink);
        }
        router.handle_timeout(burst.at, &mut sink);
    }
    let sent = |router: &Router| -> u64 {
        let snapshot = router.snapshot();
        snapshot.consumers.iter().map(|one| one.packets).sum()
    };
    let before = sent(&router);
    let path = Path::from(publisher.address);
    forward_packets(&mut router, path, black_box(measured), &mut sink);
    let forwarded = sent(&router) - before;
    let expected = measured.iter().map(|burst| burst.packets.len() as u64);
    assert_eq!(forwarded, expected.sum::<u64>() * SUBSCRIBERS);
    println!("{forwarded}");
    ExitCode::SUCCESS
}
