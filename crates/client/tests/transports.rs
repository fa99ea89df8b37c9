//! Two transports over real UDP sockets of this machine.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use parlour_client::{CloseReason, Codec, Event, Kind, OutgoingFrame, Transport, TransportConfig};

fn open() -> Transport {
    let config = TransportConfig {
        addresses: vec!["127.0.0.1".parse().unwrap()],
        codecs: vec![Codec::Opus],
    };
    Transport::open(&config).unwrap()
}

/// Fetch events until one satisfies `wanted`, waiting on the descriptor as an event loop does.
fn wait_for(transport: &Transport, mut wanted: impl FnMut(&Event) -> bool) -> Event {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut poll = mio::Poll::new().unwrap();
    let fd = transport.event_fd();
    poll.registry()
        .register(
            &mut mio::unix::SourceFd(&fd),
            mio::Token(0),
            mio::Interest::READABLE,
        )
        .unwrap();
    let mut ready = mio::Events::with_capacity(4);
    loop {
        if let Some(event) = transport
            .drain_events()
            .into_iter()
            .find(|event| wanted(event))
        {
            return event;
        }
        let left = deadline
            .checked_duration_since(Instant::now())
            .expect("the event comes within 20 s");
        poll.poll(&mut ready, Some(left)).unwrap();
    }
}

#[test]
fn sound_crosses_real_sockets_and_closing_is_heard() {
    let (mut alice, bob) = (open(), open());
    let offer = alice.create_offer(vec![Kind::Audio], vec![]).unwrap();
    alice
        .accept_answer(bob.accept_offer(offer.sdp).unwrap())
        .unwrap();
    wait_for(&alice, |event| *event == Event::Connected);

    // Frames written before the other side is through its handshake may be lost: write until one arrives.
    let (stop, stopped) = mpsc::channel::<()>();
    let alice_ref = &alice;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0.. {
                let frame = OutgoingFrame {
                    mid: offer.mids[0],
                    codec: Codec::Opus,
                    level: None,
                    timestamp: n * 960,
                    data: vec![7; 60].into(),
                };
                assert!(alice_ref.write_frame(frame));
                if stopped.recv_timeout(Duration::from_millis(20))
                    != Err(mpsc::RecvTimeoutError::Timeout)
                {
                    break;
                }
            }
        });
        let frame = wait_for(&bob, |event| matches!(event, Event::Frame(_)));
        assert!(
            matches!(frame, Event::Frame(frame) if frame.data[..] == [7; 60] && frame.kind == Kind::Audio)
        );
        drop(stop);
    });
    assert!(alice.stats().frames_sent > 0 && bob.stats().frames_received > 0);

    alice.close();
    wait_for(&alice, |event| *event == Event::Closed(CloseReason::Local));
    wait_for(&bob, |event| *event == Event::Closed(CloseReason::Remote));
    assert!(alice.create_offer(vec![Kind::Audio], vec![]).is_err());
    let frame = OutgoingFrame {
        mid: "x".into(),
        codec: Codec::Opus,
        level: None,
        timestamp: 0,
        data: vec![1].into(),
    };
    assert!(!alice.write_frame(frame));
}

#[test]
fn an_address_that_is_not_ours_is_an_error() {
    let config = TransportConfig {
        addresses: vec!["192.0.2.77".parse().unwrap()],
        codecs: vec![Codec::Opus],
    };
    assert!(Transport::open(&config).is_err());
    let any = TransportConfig {
        addresses: vec!["0.0.0.0".parse().unwrap()],
        codecs: vec![Codec::Opus],
    };
    assert!(Transport::open(&any).is_err());
}
