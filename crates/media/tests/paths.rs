//! Which way datagrams come and go: our address and the peer's.

use parlour_media::stun::{self, BindingRequest};
use parlour_media::{CloseReason, Command, DropReason, Event, Path, RefuseReason, TransportId};
use parlour_sim::{Sim, password, ufrag};
use std::net::SocketAddr;

fn waiting_transport(sim: &mut Sim) {
    sim.command(Command::AddTransport {
        transport: TransportId(1),
        local_ufrag: ufrag(1),
        local_pwd: password(1),
    });
}

fn check(transaction: u8) -> Vec<u8> {
    let request = BindingRequest {
        username: &format!("{}:theirs", ufrag(1)),
        priority: 1,
        tie_breaker: 1,
        controlling: true,
        nominate: true,
    };
    let mut buffer = [0; 256];
    let id = [transaction; 12];
    let len = stun::write_binding_request(&mut buffer, id, &request, password(1).as_bytes());
    buffer[..len].to_vec()
}

#[test]
fn a_check_is_answered_from_the_address_that_was_asked_whichever_it_is() {
    let mut sim = Sim::new(1);
    waiting_transport(&mut sim);
    let remote: SocketAddr = "198.51.100.1:5000".parse().unwrap();
    for (transaction, local) in ["192.0.2.5", "2001:db8::5", "192.0.2.6"].iter().enumerate() {
        let local = Some(local.parse().unwrap());
        let path = Path::udp(local, remote);
        let mut datagram = check(transaction as u8 + 1);
        sim.router
            .handle_datagram(sim.now, sim.now, path, &mut datagram, &mut sim.sink);
        let ways: Vec<Path> = sim.sink.drain().into_iter().map(|(way, _)| way).collect();
        assert!(!ways.is_empty());
        assert!(ways.iter().all(|way| *way == path), "{ways:?} for {path}");
    }
}

#[test]
fn a_source_that_nothing_can_be_sent_to_is_dropped_by_name_however_authentic_the_check() {
    let mut sim = Sim::new(2);
    waiting_transport(&mut sim);
    let sources = [
        "198.51.100.1:0",
        "0.0.0.0:5000",
        "255.255.255.255:5000",
        "224.0.0.1:5000",
        "[::]:5000",
        "[ff02::1]:5000",
        "[2001:db8::1]:0",
    ];
    for (transaction, source) in sources.iter().enumerate() {
        sim.inject(source.parse().unwrap(), &check(transaction as u8 + 1));
    }
    let snapshot = sim.router.snapshot();
    assert_eq!(
        snapshot.drops.get(DropReason::BadSource),
        sources.len() as u64
    );
    assert_eq!(snapshot.traffic.packets_out, 0);
    assert_eq!(snapshot.transports[0].state, "new");
}

#[test]
fn a_transport_that_is_refused_is_closed_too_so_that_nobody_waits_for_it() {
    let mut sim = Sim::new(3);
    waiting_transport(&mut sim);
    let transport = TransportId(2);
    // Its user fragment is another one's already.
    sim.command(Command::AddTransport {
        transport,
        local_ufrag: ufrag(1),
        local_pwd: password(2),
    });
    let closed = Event::TransportClosed {
        transport,
        reason: CloseReason::Refused,
    };
    assert!(
        matches!(
            &sim.events[..],
            [Event::CommandRefused { reason: RefuseReason::DuplicateUfrag, .. }, last] if *last == closed
        ),
        "{:?}",
        sim.events
    );
    // One that is there already goes on, whoever asks for it again.
    waiting_transport(&mut sim);
    assert!(
        matches!(
            sim.events[2..],
            [Event::CommandRefused {
                reason: RefuseReason::DuplicateId,
                ..
            }]
        ),
        "{:?}",
        sim.events
    );
    assert_eq!(sim.router.snapshot().transports.len(), 1);
}
