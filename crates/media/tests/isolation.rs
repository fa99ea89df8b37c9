//! A panic costs one transport. The panic is made where packets are sealed, the deepest point of the work.

use parlour_media::rtp::{is_rtcp, is_rtp_or_rtcp};
use parlour_media::{CloseReason, Command, Event, Kind, RefuseReason, TransportId};
use parlour_sim::{AUDIO_PT, Sim};
use std::time::Duration;

fn is_media(datagram: &[u8]) -> bool {
    is_rtp_or_rtcp(datagram) && !is_rtcp(datagram)
}

fn talk(sim: &mut Sim, from: u64) {
    for number in from..from + 20 {
        sim.send(
            (0, 2000),
            AUDIO_PT,
            number,
            number as u32 * 960,
            false,
            vec![number as u8; 40],
        );
        sim.run(Duration::from_millis(20));
    }
    sim.run(Duration::from_millis(100));
}

#[test]
fn a_panic_while_sending_to_one_subscriber_closes_that_one_alone() {
    let mut sim = Sim::with_peers(1, 4);
    let audio = sim.publish(0, Kind::Audio, 2000);
    for (peer, ssrc) in [(1, 3000), (2, 4000), (3, 5000)] {
        sim.subscribe(peer, audio, Kind::Audio, ssrc);
    }
    talk(&mut sim, 0);
    let victim = sim.peers[2].transport;
    sim.sink.fault = Some((sim.peers[2].address, is_media));
    talk(&mut sim, 20);
    let closed: Vec<_> = sim
        .events
        .iter()
        .filter(|event| matches!(event, Event::TransportClosed { .. }))
        .collect();
    assert_eq!(
        closed,
        [&Event::TransportClosed {
            transport: victim,
            reason: CloseReason::Panicked
        }]
    );
    assert_eq!(sim.peers[1].received.len(), 40);
    assert_eq!(sim.peers[2].received.len(), 20);
    // The packet that was being sent when it happened reached those before and those after.
    assert_eq!(sim.peers[3].received.len(), 40);
    let snapshot = sim.router.snapshot();
    assert_eq!(
        (snapshot.transports.len(), snapshot.consumers.len()),
        (3, 2)
    );
}

#[test]
fn a_panic_in_a_command_is_a_refusal_and_closes_what_it_was_about() {
    let mut sim = Sim::with_peers(2, 2);
    let victim = sim.peers[1].transport;
    sim.sink.fault = Some((sim.peers[1].address, |_| true));
    sim.command(Command::RemoveTransport { transport: victim });
    let refused = Event::CommandRefused {
        transport: victim,
        object: 0,
        reason: RefuseReason::Panicked,
    };
    assert!(sim.events.contains(&refused), "{:?}", sim.events);
    assert!(sim.events.contains(&Event::TransportClosed {
        transport: victim,
        reason: CloseReason::Panicked
    }));
    sim.command(Command::RemoveTransport {
        transport: TransportId(1),
    });
    assert!(sim.router.snapshot().transports.is_empty());
}
