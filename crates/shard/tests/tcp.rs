//! Connections of a shard from outside: who gets in, who is put out and why, and what comes by them.

use parlour_media::router::MAX_TRANSPORTS;
use parlour_media::stun::{self, BindingRequest, StunMessage};
use parlour_media::{Command, ConnectionEnd, Event, IngressLimit, TransportId};
use parlour_shard::{Engine, EngineConfig, StartError, TcpLimits};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

const LIMITS: TcpLimits = TcpLimits {
    connections: 40,
    per_source: 30,
    strangers_per_source: 10,
};

/// Everything waited for takes milliseconds; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

fn start_at(port: u16, limits: Option<TcpLimits>) -> Result<Engine, StartError> {
    Engine::start(EngineConfig {
        bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port,
        shards: 1,
        max_transports: MAX_TRANSPORTS,
        ingress: IngressLimit::default(),
        adapts: true,
        segments: true,
        tcp: limits,
    })
}

fn start() -> Engine {
    let engine = start_at(0, Some(LIMITS)).unwrap();
    let pwd = "p".repeat(24);
    engine
        .add_transport(0, TransportId(1), "ufrag0001".into(), pwd)
        .unwrap();
    engine
}

fn connect(engine: &Engine) -> TcpStream {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, engine.ports()[0]));
    let stream = TcpStream::connect_timeout(&at, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn check(transaction: u32, password: &str) -> Vec<u8> {
    let request = BindingRequest {
        username: "ufrag0001:theirs",
        priority: 1,
        tie_breaker: 1,
        controlling: true,
        nominate: true,
    };
    let mut id = [0; 12];
    id[..4].copy_from_slice(&transaction.to_be_bytes());
    let mut buffer = [0; 256];
    let len = stun::write_binding_request(&mut buffer, id, &request, password.as_bytes());
    buffer[..len].to_vec()
}

fn genuine(transaction: u32) -> Vec<u8> {
    check(transaction, &"p".repeat(24))
}

fn framed(datagram: &[u8]) -> Vec<u8> {
    [&(datagram.len() as u16).to_be_bytes()[..], datagram].concat()
}

/// The next frame that comes by a connection.
fn frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let mut datagram = vec![0; usize::from(u16::from_be_bytes(head))];
    stream.read_exact(&mut datagram)?;
    Ok(datagram)
}

/// Waits until the server closes a connection.
fn closed(stream: &mut TcpStream) {
    let mut rest = [0; 4096];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("still open: {error}"),
        }
    }
}

/// A connection by which a genuine check came and was answered.
fn known(engine: &Engine, transaction: u32) -> TcpStream {
    let mut stream = connect(engine);
    stream.write_all(&framed(&genuine(transaction))).unwrap();
    answered(&mut stream);
    stream
}

fn answered(stream: &mut TcpStream) {
    let answer = frame(stream).unwrap();
    let answer = StunMessage::parse(&answer).unwrap();
    assert!(answer.is_binding_success());
    let told = answer.xor_mapped_address();
    assert_eq!(told, Some(stream.local_addr().unwrap()));
}

/// What the counters say of connections, as JSON.
fn told(engine: &Engine) -> String {
    let json = engine.snapshot(PATIENCE).unwrap().to_json();
    let from = json.find("\"tcp\":").unwrap();
    json[from..json.find(",\"router\"").unwrap()].to_string()
}

fn until(engine: &Engine, what: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !told(engine).contains(what) {
        assert!(Instant::now() < deadline, "no {what}: {}", told(engine));
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_check_by_a_connection_is_answered_there_in_whatever_pieces_it_comes() {
    let engine = start();
    let mut stream = connect(&engine);
    stream.set_nodelay(true).unwrap();
    for byte in framed(&genuine(1)) {
        stream.write_all(&[byte]).unwrap();
    }
    answered(&mut stream);
    // Several in one piece, and one that is cut between two.
    let several = [
        framed(&genuine(2)),
        framed(&genuine(3)),
        framed(&genuine(4)),
    ]
    .concat();
    stream.write_all(&several[..150]).unwrap();
    answered(&mut stream);
    stream.write_all(&several[150..]).unwrap();
    answered(&mut stream);
    answered(&mut stream);
    let told = told(&engine);
    assert!(
        told.contains("\"open\":1,\"strangers\":0,\"accepted\":1"),
        "{told}"
    );
    assert!(told.contains("\"frames_in\":4"), "{told}");
}

#[test]
fn the_transports_path_is_told_with_its_protocol_and_a_connection_that_closes_is_none() {
    let engine = start();
    let mut stream = known(&engine, 1);
    engine
        .submit(Command::SetRemote {
            transport: TransportId(1),
            remote_ufrag: "theirs".into(),
            remote_pwd: "q".repeat(24),
            fingerprint: [0; 32],
            role: parlour_media::dtls::DtlsRole::Server,
        })
        .unwrap();
    stream.write_all(&framed(&genuine(2))).unwrap();
    let asked = loop {
        let datagram = frame(&mut stream).unwrap();
        let message = StunMessage::parse(&datagram).unwrap();
        if message.is_binding_request() {
            break message.transaction_id();
        }
    };
    let mut buffer = [0; 256];
    let (me, pwd) = (stream.local_addr().unwrap(), "q".repeat(24));
    let len = stun::write_binding_success(&mut buffer, asked, me, pwd.as_bytes());
    stream.write_all(&framed(&buffer[..len])).unwrap();
    let path = |engine: &Engine| {
        let json = engine.snapshot(PATIENCE).unwrap().to_json();
        json.contains(&format!(
            "\"path\":\"{me}\",\"protocol\":\"tcp\",\"proof\":\"answer\""
        ))
    };
    let deadline = Instant::now() + PATIENCE;
    while !path(&engine) {
        assert!(Instant::now() < deadline);
    }
    // Closed with something unread it would be reset.
    stream.shutdown(Shutdown::Write).unwrap();
    closed(&mut stream);
    until(&engine, "\"ended\":{\"peer-closed\":1}");
    assert!(!path(&engine));
}

#[test]
fn what_is_shorter_than_any_packet_is_a_sign_of_life_and_reaches_no_router() {
    let engine = start();
    let mut stream = known(&engine, 1);
    let given = |count: u32| {
        let json = engine.snapshot(PATIENCE).unwrap().to_json();
        json.contains(&format!("\"router\":{{\"packets_in\":{count},"))
    };
    assert!(given(1));
    for len in 0..8_usize {
        stream.write_all(&framed(&vec![0x80; len])).unwrap();
    }
    until(&engine, "\"frames_in\":9");
    assert!(given(1));
    stream.write_all(&framed(&[0x80; 8])).unwrap();
    until(&engine, "\"frames_in\":10");
    assert!(given(2));
    stream.write_all(&framed(&genuine(2))).unwrap();
    answered(&mut stream);
}

#[test]
fn a_transport_that_is_removed_closes_its_connections() {
    let engine = start();
    let mut stream = known(&engine, 1);
    let transport = TransportId(1);
    engine
        .submit(Command::RemoveTransport { transport })
        .unwrap();
    closed(&mut stream);
    until(&engine, "\"ended\":{\"released\":1}");
}

#[test]
fn what_is_no_check_ends_a_strangers_connection_by_name_and_without_an_answer() {
    let longest = [&[0xff, 0xff][..], &[0; 40]].concat();
    let hello = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 1];
    for (reason, sent) in [
        (ConnectionEnd::NotAsked, b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        (ConnectionEnd::NotAsked, framed(&hello)),
        (ConnectionEnd::NotAsked, framed(b"")),
        (ConnectionEnd::FrameTooLong, longest[..2].to_vec()),
        (ConnectionEnd::FrameTooLong, longest.clone()),
        (ConnectionEnd::FrameTooLong, [4, 1].to_vec()),
    ] {
        let engine = start();
        let mut stream = connect(&engine);
        stream.write_all(&sent).unwrap();
        // Of HTTP the first two letters are a length, and a stranger's frame is no longer than a check.
        let reason = match sent.starts_with(b"GE") {
            true => ConnectionEnd::FrameTooLong,
            false => reason,
        };
        closed(&mut stream);
        until(&engine, &format!("\"ended\":{{\"{}\":1}}", reason.name()));
        let told = told(&engine);
        assert!(told.contains("\"frames_out\":0"), "{told}");
        let events = engine.drain_events();
        let event = Event::ConnectionsEnded { reason, count: 1 };
        assert_eq!(events, [event]);
    }
}

#[test]
fn checks_with_a_wrong_password_get_silence_and_are_borne_only_so_often() {
    let engine = start();
    let mut stream = connect(&engine);
    let wrong: Vec<u8> = (1..=400)
        .flat_map(|number| framed(&check(number, &"x".repeat(24))))
        .collect();
    // The server may hang up before all of it is sent.
    let _ = stream.write_all(&wrong);
    closed(&mut stream);
    until(&engine, "\"ended\":{\"too-many-checks\":1}");
    let told = told(&engine);
    assert!(told.contains("\"frames_in\":256"), "{told}");
    assert!(told.contains("\"frames_out\":0"), "{told}");
}

#[test]
fn who_is_known_may_send_a_frame_that_is_too_long_and_it_is_skipped() {
    let engine = start();
    let mut stream = known(&engine, 1);
    let long = framed(&[5; 65_535]);
    stream.write_all(&long).unwrap();
    stream.write_all(&framed(&genuine(2))).unwrap();
    answered(&mut stream);
    let told = told(&engine);
    assert!(told.contains("\"drops\":{\"frame-too-long\":1}"), "{told}");
    assert!(told.contains("\"open\":1"), "{told}");
}

#[test]
fn a_thousand_idle_connections_leave_the_door_open_for_who_has_something_to_say() {
    let engine = start();
    let mut friend = known(&engine, 1);
    let mut idle = Vec::new();
    for number in 0..1000 {
        idle.push(connect(&engine));
        if number % 100 == 0 {
            friend.write_all(&framed(&genuine(1000 + number))).unwrap();
            answered(&mut friend);
        }
    }
    until(&engine, "\"accepted\":1001");
    let counted = told(&engine);
    assert!(
        counted.contains("\"open\":11,\"strangers\":10"),
        "{counted}"
    );
    assert!(
        counted.contains("\"ended\":{\"made-room\":990}"),
        "{counted}"
    );
    // One line of the log for all that happens in ten seconds: two, if they took longer.
    let of_room = engine.drain_events();
    let sum: u64 = of_room
        .iter()
        .map(|event| match event {
            Event::ConnectionsEnded {
                reason: ConnectionEnd::MadeRoom,
                count,
            } => *count,
            other => panic!("{other:?}"),
        })
        .sum();
    assert!(sum <= 990 && of_room.len() <= 5, "{of_room:?}");
    let mut newcomer = known(&engine, 2);
    newcomer.write_all(&framed(&genuine(3))).unwrap();
    answered(&mut newcomer);
    friend.write_all(&framed(&genuine(4))).unwrap();
    answered(&mut friend);
    closed(&mut idle[0]);
}

#[test]
fn a_source_with_as_many_known_connections_as_it_may_gets_no_more_and_each_that_goes_leaves_its_place()
 {
    let limits = TcpLimits {
        per_source: 3,
        ..LIMITS
    };
    let engine = start_at(0, Some(limits)).unwrap();
    let pwd = "p".repeat(24);
    engine
        .add_transport(0, TransportId(1), "ufrag0001".into(), pwd)
        .unwrap();
    let mut there: Vec<TcpStream> = (1..=3).map(|number| known(&engine, number)).collect();
    closed(&mut connect(&engine));
    until(&engine, "\"source-full\":1");
    there.pop();
    until(&engine, "\"open\":2");
    there.push(known(&engine, 9));
}

#[test]
fn a_stranger_that_says_nothing_is_closed_in_ten_seconds_and_so_is_one_that_says_a_byte_now_and_then()
 {
    let engine = start();
    let (mut silent, mut slow) = (connect(&engine), connect(&engine));
    let began = Instant::now();
    let all = framed(&genuine(1));
    for byte in &all[..8] {
        // It may be closed already on a machine that is busy enough.
        let _ = slow.write_all(&[*byte]);
        std::thread::sleep(Duration::from_secs(1));
    }
    closed(&mut silent);
    closed(&mut slow);
    assert!(began.elapsed() >= Duration::from_secs(9));
    until(&engine, "\"ended\":{\"no-check\":2}");
    assert!(told(&engine).contains("\"open\":0"));
}

#[test]
fn the_port_is_the_one_of_udp_also_when_the_system_chooses_and_both_are_free_after_the_end() {
    for _ in 0..20 {
        let engine = start();
        let port = engine.ports()[0];
        assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_err());
        let open = known(&engine, 1);
        assert!(engine.close());
        drop(open);
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
}

#[test]
fn a_tcp_port_that_is_taken_is_named_and_needs_no_room_without_tcp() {
    // One that is free for UDP: who has it gives it back right before.
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = start_at(port, Some(LIMITS)).err().unwrap().to_string();
    let begins = format!("cannot bind TCP 127.0.0.1:{port} for media: something else has it");
    assert!(error.starts_with(&begins), "{error}");
    let engine = start_at(port, None).unwrap();
    assert_eq!(engine.ports(), [port]);
    assert!(told(&engine).contains("\"tcp\":null"));
}
