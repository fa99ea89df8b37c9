//! A router and some peers on a network that is all in memory: time is virtual, loss has a seed. The peers are
//! str0m, an implementation of WebRTC that shares no packet code with the router.

use crate::sink::Outbox;
use parlour_media::dtls::DtlsRole;
use parlour_media::num::Rng;
use parlour_media::{
    Codec, Command, ConsumerId, ConsumerSpec, Event, IngressLimit, Kind, PayloadType, ProducerId,
    ProducerSpec, Router, RouterConfig, Ssrc, TransportId,
};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use str0m::config::Fingerprint;
use str0m::ice::IceCreds;
use str0m::media::MediaKind;
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, RtpWrite};
use str0m::stats::{MediaEgressStats, PeerStats};
use str0m::{Candidate, Event as PeerEvent, Input, Output, Rtc};

/// What a step of virtual time is.
pub const STEP: Duration = Duration::from_millis(1);
/// The payload type of video.
pub const VIDEO_PT: u8 = 96;
/// The payload type of its retransmissions.
pub const VIDEO_RTX_PT: u8 = 97;
/// The payload type of audio.
pub const AUDIO_PT: u8 = 111;
/// The id of the MID header extension.
pub const MID_EXTENSION: u8 = 4;
/// The id of the extension with transport-wide numbers.
pub const TWCC_EXTENSION: u8 = 3;

/// Which way a datagram travels, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// From the peer of this index to the router.
    Up(usize),
    /// From the router to the peer of this index.
    Down(usize),
}

struct InFlight {
    due: Instant,
    hop: Hop,
    source: SocketAddr,
    datagram: Vec<u8>,
}

/// One str0m peer.
pub struct Peer {
    /// Its stack.
    pub rtc: Rtc,
    /// Its transport in the router.
    pub transport: TransportId,
    /// Where it is.
    pub address: SocketAddr,
    /// Its fingerprint as it will really be.
    pub fingerprint: [u8; 32],
    /// Whether its stack is connected.
    pub connected: bool,
    /// What came, in the order of its coming.
    pub received: Vec<RtpPacket>,
    /// When it was asked for keyframes.
    pub keyframe_requests: Vec<Instant>,
    /// What it measured of each stream it sends.
    pub egress_stats: Vec<MediaEgressStats>,
    /// What it measured of its connection.
    pub stats: Vec<PeerStats>,
    /// It goes silent when this is set.
    pub dead: bool,
}

/// Decides about each datagram: true lets it pass.
pub type Filter = Box<dyn FnMut(Hop, &[u8], &mut Rng) -> bool>;

/// The network, the router on it and its clients.
pub struct Sim {
    /// The virtual time.
    pub now: Instant,
    /// When it began.
    pub started: Instant,
    /// What is tested.
    pub router: Router,
    /// Where the router is.
    pub address: SocketAddr,
    /// Of its certificate.
    pub fingerprint: [u8; 32],
    /// Where it writes.
    pub sink: Outbox,
    /// Its clients.
    pub peers: Vec<Peer>,
    /// What it said, in order.
    pub events: Vec<Event>,
    /// What is random here.
    pub rng: Rng,
    /// How long a datagram travels.
    pub delay: Duration,
    /// How long what is injected waited for the router to read it.
    pub waited: Duration,
    /// The same of what peers sent.
    pub read_late: Duration,
    /// Which datagrams pass.
    pub filter: Filter,
    /// Every datagram the router sent, when they are kept.
    pub sent: Option<Vec<(SocketAddr, Vec<u8>)>>,
    /// Called with true before the router works on a datagram or on what is due, and with false after it.
    pub probe: fn(bool),
    in_flight: VecDeque<InFlight>,
}

/// The password that the router has for a transport.
pub fn password(transport: u64) -> String {
    format!("password-of-transport-{transport:04}")
}

/// The user fragment that the router has for a transport.
pub fn ufrag(transport: u64) -> String {
    format!("ufrag{transport:04}")
}

impl Sim {
    /// A call of two: what peer 0 says under SSRC 2000 comes to peer 1 under 3000.
    pub fn call_of_two(seed: u64) -> Sim {
        let mut sim = Sim::with_peers(seed, 2);
        let audio = sim.publish(0, Kind::Audio, 2000);
        sim.subscribe(1, audio, Kind::Audio, 3000);
        sim
    }

    /// A network with a router and nobody else.
    pub fn new(seed: u64) -> Sim {
        Sim::limited(seed, IngressLimit::default())
    }

    /// Each transport may send that much.
    pub fn limited(seed: u64, ingress: IngressLimit) -> Sim {
        let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
        let fingerprint = parlour_media::dtls::fingerprint(&certificate.certificate);
        let now = Instant::now();
        let config = RouterConfig {
            certificate,
            seed,
            secret: [seed as u8; 32],
            started: now,
            ingress,
            adapts: true,
        };
        Sim {
            now,
            started: now,
            router: Router::new(config),
            address: SocketAddr::from(([192, 0, 2, 1], 8081)),
            fingerprint,
            sink: Outbox::default(),
            peers: Vec::new(),
            events: Vec::new(),
            rng: Rng::new(seed),
            delay: Duration::from_millis(10),
            waited: Duration::ZERO,
            read_late: Duration::ZERO,
            filter: Box::new(|_, _, _| true),
            sent: None,
            probe: |_| {},
            in_flight: VecDeque::new(),
        }
    }

    /// Has the router do something.
    pub fn command(&mut self, command: Command) {
        self.router
            .handle_command(self.now, command, &mut self.sink);
        self.collect();
    }

    /// A peer whose transport is there but which the router does not know by fingerprint yet.
    pub fn add_unnamed_peer(&mut self) -> usize {
        self.add_unnamed(true)
    }

    /// The same; whether it says hello, or waits for the router's.
    pub(crate) fn add_unnamed(&mut self, says_hello: bool) -> usize {
        let index = self.peers.len();
        let number = index as u64 + 1;
        let transport = TransportId(number);
        self.command(Command::AddTransport {
            transport,
            local_ufrag: ufrag(number),
            local_pwd: password(number),
        });
        let address = SocketAddr::from(([198, 51, 100, number as u8], 5000 + (number >> 8) as u16));
        let mut rtc = Rtc::builder()
            .set_rtp_mode(true)
            .set_stats_interval(Some(Duration::from_secs(1)))
            .set_crypto_provider(str0m::crypto::from_feature_flags().into())
            .build(self.now);
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        rtc.add_remote_candidate(Candidate::host(self.address, "udp").unwrap());
        let mut direct = rtc.direct_api();
        direct.set_ice_controlling(true);
        direct.set_remote_ice_credentials(IceCreds {
            ufrag: ufrag(number),
            pass: password(number),
        });
        direct.set_remote_fingerprint(Fingerprint {
            hash_func: "sha-256".into(),
            bytes: self.fingerprint.to_vec(),
        });
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(&direct.local_dtls_fingerprint().bytes);
        direct.start_dtls(says_hello).unwrap();
        self.peers.push(Peer {
            rtc,
            transport,
            address,
            fingerprint,
            connected: false,
            received: Vec::new(),
            keyframe_requests: Vec::new(),
            egress_stats: Vec::new(),
            stats: Vec::new(),
            dead: false,
        });
        index
    }

    /// Tells the router who the peer is: its credentials, and a fingerprint, which may be a wrong one.
    pub fn name_peer(&mut self, index: usize, fingerprint: [u8; 32]) {
        self.name_peer_as(index, fingerprint, DtlsRole::Server);
    }

    /// A peer that begins to connect; returns its index.
    pub fn add_peer(&mut self) -> usize {
        let index = self.add_unnamed_peer();
        let fingerprint = self.peers[index].fingerprint;
        self.name_peer(index, fingerprint);
        index
    }

    /// Peers that are connected already.
    pub fn with_peers(seed: u64, count: usize) -> Sim {
        let mut sim = Sim::new(seed);
        for _ in 0..count {
            sim.add_peer();
        }
        sim.run_until(Duration::from_secs(5), |sim| {
            sim.peers.iter().all(|peer| peer.connected)
        });
        assert!(
            sim.peers.iter().all(|peer| peer.connected),
            "not connected: {:?}",
            sim.events
        );
        sim
    }

    /// What `peer` publishes: a producer in the router and the means to send in the peer.
    pub fn publish(&mut self, peer: usize, kind: Kind, ssrc: u32) -> ProducerId {
        let producer = ProducerId(u64::from(ssrc));
        let spec = self.producer_spec(peer, kind, ssrc);
        let mid = spec.mid.clone();
        self.command(Command::AddProducer(spec));
        let media_kind = if kind == Kind::Video {
            MediaKind::Video
        } else {
            MediaKind::Audio
        };
        let mut direct = self.peers[peer].rtc.direct_api();
        direct.declare_media(mid.as_str().into(), media_kind);
        let rtx = (kind == Kind::Video).then(|| (ssrc + 1).into());
        direct
            .declare_stream_tx(ssrc.into(), rtx, mid.as_str().into(), None)
            .set_unpaced(true);
        producer
    }

    /// What `publish` adds.
    pub fn producer_spec(&self, peer: usize, kind: Kind, ssrc: u32) -> ProducerSpec {
        let video = kind == Kind::Video;
        ProducerSpec {
            producer: ProducerId(u64::from(ssrc)),
            transport: self.peers[peer].transport,
            kind,
            codec: if video { Codec::Vp8 } else { Codec::Opus },
            mid: format!("u{ssrc}"),
            rid: String::new(),
            payload_type: PayloadType(if video { VIDEO_PT } else { AUDIO_PT }),
            red_payload_type: None,
            rtx_payload_type: video.then_some(PayloadType(VIDEO_RTX_PT)),
            ssrc: Some(Ssrc(ssrc)),
            rtx_ssrc: video.then_some(Ssrc(ssrc + 1)),
            mid_extension: Some(MID_EXTENSION),
            rid_extension: None,
            repaired_rid_extension: None,
            twcc_extension: Some(TWCC_EXTENSION),
            dependency_descriptor_extension: None,
            level_extension: None,
            nack: video,
            pli: video,
            remb: false,
        }
    }

    /// Forwards a producer to `peer`, which expects it.
    pub fn subscribe(
        &mut self,
        peer: usize,
        producer: ProducerId,
        kind: Kind,
        ssrc: u32,
    ) -> ConsumerId {
        let video = kind == Kind::Video;
        let spec = self.consumer_spec(peer, producer, kind, ssrc);
        let consumer = spec.consumer;
        let mid = spec.mid.clone();
        let mut direct = self.peers[peer].rtc.direct_api();
        direct.declare_media(
            mid.as_str().into(),
            if video {
                MediaKind::Video
            } else {
                MediaKind::Audio
            },
        );
        let rtx = video.then(|| (ssrc + 1).into());
        direct.expect_stream_rx(ssrc.into(), rtx, mid.as_str().into(), None);
        self.command(Command::AddConsumer(spec));
        consumer
    }

    /// What `subscribe` adds.
    pub fn consumer_spec(
        &self,
        peer: usize,
        producer: ProducerId,
        kind: Kind,
        ssrc: u32,
    ) -> ConsumerSpec {
        let video = kind == Kind::Video;
        ConsumerSpec {
            consumer: ConsumerId(u64::from(ssrc)),
            transport: self.peers[peer].transport,
            producers: vec![producer],
            source: 0,
            temporal: None,
            mid: format!("d{ssrc}"),
            payload_type: PayloadType(if video { VIDEO_PT } else { AUDIO_PT }),
            red_payload_type: None,
            rtx_payload_type: video.then_some(PayloadType(VIDEO_RTX_PT)),
            ssrc: Ssrc(ssrc),
            rtx_ssrc: video.then_some(Ssrc(ssrc + 1)),
            mid_extension: Some(MID_EXTENSION),
            twcc_extension: Some(TWCC_EXTENSION),
            dependency_descriptor_extension: None,
            pads: true,
            rank: 0,
            cname: "someone".into(),
        }
    }

    /// Hands a packet to the stack of a publisher, for one of its SSRCs.
    pub fn send(
        &mut self,
        (peer, ssrc): (usize, u32),
        pt: u8,
        seq: u64,
        time: u32,
        marker: bool,
        payload: Vec<u8>,
    ) {
        let now = self.now;
        let mut direct = self.peers[peer].rtc.direct_api();
        let stream = direct.stream_tx(&ssrc.into()).unwrap();
        let write = RtpWrite::new(pt.into(), seq.into(), time, now, payload);
        stream.write_rtp(write.marker(marker).nackable(pt == VIDEO_PT));
    }

    /// A datagram straight to the router, from wherever.
    pub fn inject(&mut self, source: SocketAddr, datagram: &[u8]) {
        let mut datagram = datagram.to_vec();
        let came = self.now - self.waited;
        self.router
            .handle_datagram(self.now, came, source, &mut datagram, &mut self.sink);
        self.router.forward(self.now, &mut self.sink);
        // A turn of its own, with what waits for a next turn and not for a time.
        while self.router.snapshot().handshakes.waiting > 0 {
            self.router.handle_timeout(self.now, &mut self.sink);
        }
        self.collect();
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Lets time pass until something is so, at most this long.
    pub fn run_until(&mut self, at_most: Duration, mut done: impl FnMut(&Sim) -> bool) {
        let end = self.now + at_most;
        while self.now < end && !done(self) {
            self.step();
        }
    }

    /// Lets one step of time pass: what is due arrives, timers fire.
    pub fn step(&mut self) {
        self.now += STEP;
        while let Some(first) = self.in_flight.front()
            && first.due <= self.now
        {
            let InFlight {
                hop,
                source,
                mut datagram,
                ..
            } = self.in_flight.pop_front().unwrap();
            match hop {
                Hop::Up(_) => {
                    (self.probe)(true);
                    let (now, came) = (self.now, self.now - self.read_late);
                    let (router, sink) = (&mut self.router, &mut self.sink);
                    router.handle_datagram(now, came, source, &mut datagram, sink);
                    (self.probe)(false);
                    self.collect();
                }
                Hop::Down(index) => self.deliver(index, &datagram),
            }
        }
        if self.router.next_timeout().is_some_and(|at| at <= self.now) {
            (self.probe)(true);
            self.router.handle_timeout(self.now, &mut self.sink);
            self.router.on_flushed(|| self.now);
            (self.probe)(false);
            self.collect();
        }
        for index in 0..self.peers.len() {
            if !self.peers[index].dead {
                self.peers[index]
                    .rtc
                    .handle_input(Input::Timeout(self.now))
                    .unwrap();
                self.poll_peer(index);
            }
        }
    }

    fn deliver(&mut self, index: usize, datagram: &[u8]) {
        let peer = &mut self.peers[index];
        if peer.dead {
            return;
        }
        let receive = Receive::new(Protocol::Udp, self.address, peer.address, datagram);
        if let Ok(receive) = receive {
            peer.rtc
                .handle_input(Input::Receive(self.now, receive))
                .unwrap();
        }
        self.poll_peer(index);
    }

    fn poll_peer(&mut self, index: usize) {
        loop {
            let peer = &mut self.peers[index];
            // What ends a peer's stack ends the peer; the tests look at what the router makes of it.
            let Ok(output) = peer.rtc.poll_output() else {
                peer.dead = true;
                return;
            };
            match output {
                Output::Timeout(_) => return,
                Output::Transmit(transmit) => {
                    let (source, datagram) = (transmit.source, transmit.contents.to_vec());
                    self.launch(Hop::Up(index), source, datagram);
                }
                Output::Event(PeerEvent::Connected) => peer.connected = true,
                Output::Event(PeerEvent::RtpPacket(packet)) => peer.received.push(packet),
                Output::Event(PeerEvent::KeyframeRequest(_)) => {
                    peer.keyframe_requests.push(self.now)
                }
                Output::Event(PeerEvent::MediaEgressStats(stats)) => peer.egress_stats.push(stats),
                Output::Event(PeerEvent::PeerStats(stats)) => peer.stats.push(stats),
                Output::Event(_) => {}
            }
        }
    }

    fn launch(&mut self, hop: Hop, source: SocketAddr, datagram: Vec<u8>) {
        if (self.filter)(hop, &datagram, &mut self.rng) {
            self.in_flight.push_back(InFlight {
                due: self.now + self.delay,
                hop,
                source,
                datagram,
            });
        }
    }

    /// Takes what the router has to say and to send.
    fn collect(&mut self) {
        while let Some(event) = self.router.poll_event() {
            self.events.push(event);
        }
        for (path, datagram) in self.sink.drain() {
            let destination = path.remote;
            if let Some(sent) = &mut self.sent {
                sent.push((destination, datagram.clone()));
            }
            if let Some(index) = self
                .peers
                .iter()
                .position(|peer| peer.address == destination)
            {
                self.launch(Hop::Down(index), self.address, datagram);
            }
        }
    }
}
