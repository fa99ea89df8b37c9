//! The engine from outside: commands from many threads, snapshots, a stop at any moment.

use parlour_media::dtls::DtlsRole;
use parlour_media::router::MAX_TRANSPORTS;
use parlour_media::{Command, Event, IngressLimit, TransportId};
use parlour_shard::{CommandError, EVENT_BACKLOG, Engine, EngineConfig, SnapshotError, StartError};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Barrier;
use std::time::{Duration, Instant};

fn start(port: u16, shards: usize) -> Result<Engine, StartError> {
    Engine::start(EngineConfig {
        bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port,
        shards,
        max_transports: MAX_TRANSPORTS,
        ingress: IngressLimit::default(),
        adapts: true,
        segments: true,
        tcp: None,
    })
}

fn add(engine: &Engine, shard: usize, id: u64) -> Result<(), CommandError> {
    let (ufrag, pwd) = (format!("ufrag{id:08}"), "p".repeat(24));
    engine.add_transport(shard, TransportId(id), ufrag, pwd)
}

#[test]
fn shards_have_consecutive_ports_or_any() {
    let engine = start(0, 3).unwrap();
    assert_eq!(engine.ports().len(), 3);
    let taken = engine.ports()[0];
    let error = start(taken, 1).err().unwrap();
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{taken}")),
        "{error}"
    );
}

#[test]
fn commands_from_many_threads_reach_their_shards() {
    let engine = start(0, 2).unwrap();
    let barrier = Barrier::new(4);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (engine, barrier) = (&engine, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for number in 0..200 {
                    let id = thread * 1000 + number;
                    add(engine, (id % 2) as usize, id).unwrap();
                }
            });
        }
    });
    assert_eq!(add(&engine, 0, 3), Err(CommandError::DuplicateId(3)));
    let missing = CommandError::NoSuchShard {
        shard: 2,
        shards: 2,
    };
    assert_eq!(add(&engine, 2, 9999), Err(missing));
    let snapshot = engine.snapshot(Duration::from_secs(5)).unwrap().to_json();
    for shard in ["\"shard\":0,", "\"shard\":1,"] {
        assert!(snapshot.contains(shard), "{snapshot}");
    }
}

#[test]
fn a_ring_that_is_filled_faster_than_it_is_emptied_refuses_and_never_blocks() {
    let engine = start(0, 1).unwrap();
    add(&engine, 0, 1).unwrap();
    let mut refused = 0;
    for _ in 0..200_000 {
        let command = Command::SetRemote {
            transport: TransportId(1),
            remote_ufrag: "peer".into(),
            remote_pwd: "password-of-the-peer-22".into(),
            fingerprint: [7; 32],
            role: DtlsRole::Server,
        };
        match engine.submit(command) {
            Ok(()) => {}
            Err(CommandError::RingFull { shard: 0, waiting }) => {
                assert_eq!(waiting, parlour_shard::COMMAND_RING);
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    // However many were refused, the shard is well and answers when its ring has room again.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match engine.snapshot(Duration::from_secs(5)) {
            Ok(_) => break,
            Err(SnapshotError::Refused(CommandError::RingFull { .. })) => {
                assert!(Instant::now() < deadline, "{refused} refused, never empty");
                std::thread::yield_now();
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_stop_is_quick_frees_the_port_and_ends_every_use() {
    let engine = start(0, 2).unwrap();
    add(&engine, 1, 1).unwrap();
    let started = Instant::now();
    assert!(engine.close());
    assert!(engine.close());
    assert!(started.elapsed() < Duration::from_secs(1));
    for port in engine.ports() {
        UdpSocket::bind(("127.0.0.1", *port)).unwrap();
    }
    assert_eq!(add(&engine, 0, 2), Err(CommandError::Closed));
    let refused = SnapshotError::Refused(CommandError::Closed);
    assert_eq!(
        engine.snapshot(Duration::from_secs(1)).unwrap_err(),
        refused
    );
}

#[test]
fn impossible_settings_are_refused_in_a_sentence() {
    for (port, shards) in [(0, 0), (0, 257), (65_535, 2)] {
        let error = start(port, shards).err().unwrap();
        assert!(matches!(error, StartError::Invalid(_)), "{error}");
    }
}

/// Submits again while the shard's ring is full.
fn submit(engine: &Engine, command: &Command) {
    while let Err(error) = engine.submit(command.clone()) {
        assert!(matches!(error, CommandError::RingFull { .. }), "{error}");
        std::thread::yield_now();
    }
}

fn add_patiently(engine: &Engine, shard: usize, id: u64) {
    while let Err(error) = add(engine, shard, id) {
        assert!(matches!(error, CommandError::RingFull { .. }), "{error}");
        std::thread::yield_now();
    }
}

#[test]
fn no_closing_is_lost_when_more_transports_close_than_events_may_wait_and_nobody_fetches() {
    let engine = start(0, 3).unwrap();
    let many = EVENT_BACKLOG as u64 + 4_000;
    for id in 1..=many {
        add_patiently(&engine, (id % 3) as usize, id);
    }
    for id in 1..=many {
        let transport = TransportId(id);
        submit(&engine, &Command::RemoveTransport { transport });
    }
    // All is done once the shards have answered; nothing was fetched until then.
    patient_snapshot(&engine);
    // What would cause more events is refused, and says what to do.
    let refused = add(&engine, 0, many + 1).unwrap_err();
    assert_eq!(refused, CommandError::EventsWait(many as usize));
    let mut closed = std::collections::HashSet::new();
    for event in engine.drain_events() {
        match event {
            Event::TransportClosed { transport, .. } => assert!(closed.insert(transport)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(closed.len() as u64, many);
    add(&engine, 0, many + 1).unwrap();
}

#[test]
fn a_shard_that_is_full_refuses_the_next_transport_at_the_call() {
    let engine = start(0, 1).unwrap();
    for id in 1..=MAX_TRANSPORTS as u64 {
        add_patiently(&engine, 0, id);
    }
    let full = CommandError::ShardFull {
        shard: 0,
        transports: MAX_TRANSPORTS,
    };
    assert_eq!(add(&engine, 0, 99_999), Err(full));
    let transport = TransportId(7);
    submit(&engine, &Command::RemoveTransport { transport });
    add_patiently(&engine, 0, 99_999);
    patient_snapshot(&engine);
    let events = engine.drain_events();
    assert!(
        matches!(
            events[..],
            [Event::TransportClosed {
                transport: TransportId(7),
                ..
            }]
        ),
        "the shard itself refused nothing: {events:?}"
    );
}

#[test]
fn a_transport_that_closed_by_itself_leaves_its_place_to_the_next_once_that_was_fetched() {
    let engine = Engine::start(EngineConfig {
        bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: 0,
        shards: 1,
        max_transports: 1,
        ingress: IngressLimit::default(),
        adapts: true,
        segments: true,
        tcp: None,
    })
    .unwrap();
    // The router refuses such a user fragment, and closes what it did not make.
    let short = engine.add_transport(0, TransportId(1), "u".into(), "p".repeat(24));
    assert_eq!(short, Ok(()));
    patient_snapshot(&engine);
    let full = CommandError::ShardFull {
        shard: 0,
        transports: 1,
    };
    assert_eq!(add(&engine, 0, 2), Err(full));
    let events = engine.drain_events();
    assert!(
        matches!(events.last(), Some(Event::TransportClosed { .. })),
        "{events:?}"
    );
    assert_eq!(add(&engine, 0, 2), Ok(()));
}

fn patient_snapshot(engine: &Engine) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = engine.snapshot(Duration::from_secs(30)) {
        let full = matches!(error, SnapshotError::Refused(CommandError::RingFull { .. }));
        assert!(full && Instant::now() < deadline, "{error}");
        std::thread::yield_now();
    }
}
