//! ICE restarts of whole transports: where media goes, who is let in under which credentials, and what a storm costs.

use parlour_media::num::Rng;
use parlour_media::{
    Command, ConsumerId, DropReason, Event, Kind, PayloadType, ProducerId, Router, Ssrc, VecSink,
};
use parlour_sim::{AUDIO_PT, Header, KeyedClient, keyed_router, packet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A publisher and a subscriber of its sound.
struct Call {
    now: Instant,
    router: Router,
    sink: VecSink,
    publisher: KeyedClient,
    subscriber: KeyedClient,
    number: u64,
    events: Vec<Event>,
}

impl Call {
    fn new() -> Call {
        let now = Instant::now();
        let mut router = keyed_router(1, now, true);
        let (mut sink, mut rng) = (VecSink::default(), Rng::new(1));
        let [publisher, subscriber] =
            [1, 2].map(|number| KeyedClient::join(&mut router, now, &mut sink, number, &mut rng));
        let mut call = Call {
            now,
            router,
            sink,
            publisher,
            subscriber,
            number: 1000,
            events: Vec::new(),
        };
        for who in [true, false] {
            call.look_for_a_path(who);
            let client = match who {
                true => &call.publisher,
                false => &call.subscriber,
            };
            client.connect(&mut call.router, now);
        }
        let spec = call.publisher.producer(ProducerId(1), Kind::Audio);
        call.command(Command::AddProducer(spec.clone()));
        let consumer = call.subscriber.consumer(ConsumerId(2), &spec, 3000, false);
        call.command(Command::AddConsumer(consumer));
        call
    }

    fn client(&self, publishes: bool) -> &KeyedClient {
        if publishes {
            &self.publisher
        } else {
            &self.subscriber
        }
    }

    fn client_mut(&mut self, publishes: bool) -> &mut KeyedClient {
        if publishes {
            &mut self.publisher
        } else {
            &mut self.subscriber
        }
    }

    fn command(&mut self, command: Command) {
        self.router
            .handle_command(self.now, command, &mut self.sink);
        self.collect();
    }

    fn collect(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        self.events
            .extend(std::iter::from_fn(|| self.router.poll_event()));
        let sent = self.sink.sent.drain(..);
        sent.map(|(path, datagram)| (path.remote, datagram))
            .collect()
    }

    /// A datagram from where that client is; what the router sends for it.
    fn send(&mut self, publishes: bool, mut datagram: Vec<u8>) -> Vec<(SocketAddr, Vec<u8>)> {
        let (now, from) = (self.now, self.client(publishes).address);
        self.router
            .handle_datagram(now, now, from, &mut datagram, &mut self.sink);
        self.router.handle_timeout(now, &mut self.sink);
        self.collect()
    }

    /// The client checks from where it is, and answers there, until nothing more is asked.
    fn look_for_a_path(&mut self, publishes: bool) {
        for _ in 0..4 {
            let check = self.client_mut(publishes).check();
            let here = self.client(publishes).address;
            for (to, datagram) in self.send(publishes, check) {
                let answer = self.client(publishes).answer(&datagram);
                if let Some(answer) = answer.filter(|_| to == here) {
                    self.send(publishes, answer);
                }
            }
        }
    }

    /// A packet of sound; where it goes.
    fn talk(&mut self) -> Vec<SocketAddr> {
        self.now += Duration::from_millis(20);
        self.number += 1;
        let spec = self.publisher.producer(ProducerId(1), Kind::Audio);
        let header = Header {
            payload_type: PayloadType(AUDIO_PT),
            ssrc: Ssrc(1000),
            number: self.number,
            timestamp: self.number as u32 * 960,
            marker: false,
        };
        let plain = packet(&spec, &header, self.number as u16, &[7; 100]);
        let sealed = self.publisher.seal(&plain, self.number);
        let sent = self.send(true, sealed);
        let media = sent
            .into_iter()
            .filter(|(_, it)| it[0] >= 128 && it[1] & 0x7f == AUDIO_PT);
        // Under the same keys, and under an index that was not used before: else it could not be opened.
        let mut opened = Vec::new();
        for (to, mut datagram) in media {
            self.subscriber
                .receiver
                .unprotect_rtp(&mut datagram)
                .expect("media under its keys");
            opened.push(to);
        }
        opened
    }

    fn drops(&self, reason: DropReason) -> u64 {
        self.router.snapshot().drops.get(reason)
    }
}

/// A client that moved, to another port and from IPv4 to IPv6: both ends of a call, one after the other.
#[test]
fn a_call_goes_on_while_either_end_restarts_and_moves_and_nobody_is_told() {
    let mut call = Call::new();
    let before = call.subscriber.address;
    assert_eq!(call.talk(), [before]);
    let events = call.events.len();
    for publishes in [false, true] {
        let restart = call.client_mut(publishes).restart();
        restart
            .into_iter()
            .for_each(|command| call.command(command));
        assert_eq!(call.talk().len(), 1, "all goes on over the old path");
        call.client_mut(publishes).rebind();
        call.look_for_a_path(publishes);
        assert_eq!(call.talk(), [call.subscriber.address]);
        // And from IPv4 to IPv6.
        let restart = call.client_mut(publishes).restart();
        restart
            .into_iter()
            .for_each(|command| call.command(command));
        let port = 10_000 + u16::from(publishes);
        call.client_mut(publishes).address =
            SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 9], port));
        call.look_for_a_path(publishes);
        assert_eq!(call.talk(), [call.subscriber.address]);
    }
    assert_ne!(call.subscriber.address, before);
    assert_eq!(call.events[events..], []);
    let paths = call.router.snapshot().paths;
    assert_eq!((paths.restarts, paths.by_answer), (4, 6));
}

#[test]
fn the_old_credentials_let_nobody_in_once_a_path_is_proven_under_the_new_ones() {
    let mut call = Call::new();
    let restart = call.subscriber.restart();
    restart
        .into_iter()
        .for_each(|command| call.command(command));
    let old = call.subscriber.check_of(0);
    assert!(!call.send(false, old).is_empty(), "both are good meanwhile");
    call.look_for_a_path(false);
    let old = call.subscriber.check_of(0);
    assert!(call.send(false, old).is_empty());
    assert_eq!(call.drops(DropReason::StunUnknownUser), 1);
    // Who captured a check under the old ones cannot bring the media to itself either.
    call.subscriber.rebind();
    let captured = call.subscriber.check_of(0);
    assert!(call.send(false, captured).is_empty());
    assert_ne!(call.talk(), [call.subscriber.address]);
}

#[test]
fn nobody_is_moved_by_a_restart_whose_address_does_not_answer() {
    let mut call = Call::new();
    let before = call.subscriber.address;
    let restart = call.subscriber.restart();
    restart
        .into_iter()
        .for_each(|command| call.command(command));
    call.subscriber.rebind();
    for _ in 0..10 {
        let check = call.subscriber.check();
        call.send(false, check);
        assert_eq!(call.talk(), [before]);
    }
}

/// What is asked of a shard a thousand times a second, should signaling ever let that pass.
#[test]
fn a_storm_of_restarts_is_two_generations_and_the_call_next_door_loses_nothing() {
    let mut call = Call::new();
    let here = call.subscriber.address;
    for _ in 0..1000 {
        let restart = call.publisher.restart();
        restart
            .into_iter()
            .for_each(|command| call.command(command));
        assert_eq!(call.talk(), [here]);
    }
    assert_eq!(call.router.snapshot().paths.restarts, 1000);
    // Those between the first and the last are nobody's.
    for restarts in [1, 500, 999] {
        let check = call.publisher.check_of(restarts);
        assert!(call.send(true, check).is_empty(), "{restarts}");
    }
    call.look_for_a_path(true);
    assert_eq!(call.talk(), [here]);
    let check = call.publisher.check_of(0);
    assert!(call.send(true, check).is_empty());
    let closed = call
        .events
        .iter()
        .any(|it| matches!(it, Event::TransportClosed { .. }));
    assert!(!closed, "{:?}", call.events);
}

/// RFC 7675 §5.1, at its edges: asked every four to six seconds, told to be silent after the third question, over thirty
/// seconds after the last that was answered.
#[test]
fn a_path_that_falls_silent_is_told_once_in_time_for_a_restart_and_ends_after_thirty_seconds() {
    let mut call = Call::new();
    let start = call.now;
    let gone = call.subscriber.transport;
    let (mut asked, mut told, mut closed) = (Vec::new(), None, None);
    while closed.is_none() {
        call.now = call.router.next_timeout().expect("its consent ends");
        assert!(call.now < start + Duration::from_secs(60));
        call.router.handle_timeout(call.now, &mut call.sink);
        let (events, after) = (call.events.len(), call.now - start);
        for (to, datagram) in call.collect() {
            let is_check = datagram[0] < 4;
            if is_check && to == call.subscriber.address {
                asked.push(after);
            } else if is_check && let Some(answer) = call.publisher.answer(&datagram) {
                call.send(true, answer);
            }
        }
        for event in &call.events[events..] {
            match event {
                Event::PathSilent { transport } if *transport == gone => {
                    assert_eq!((told, asked.len()), (None, 3));
                    told = Some(after);
                }
                Event::TransportClosed { transport, .. } if *transport == gone => {
                    closed = Some(after)
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let pauses = asked.windows(2).map(|two| (two[1] - two[0]).as_millis());
    for pause in pauses.chain([asked[0].as_millis()]) {
        assert!((4000..=6020).contains(&pause), "{pause} ms");
    }
    let told = told.expect("it is told").as_secs();
    assert!((12..=18).contains(&told), "after {told} s");
    let closed = closed.expect("it ends").as_millis();
    assert!((30_000..30_020).contains(&closed), "after {closed} ms");
}
