//! A packet that is a byte shorter than others of its batch is padded to their size, and nobody but the wire sees it.

use parlour_media::rtp::{is_rtcp, is_rtp_or_rtcp};
use parlour_media::{Command, Kind};
use parlour_sim::{Hop, Sim, VIDEO_PT, VIDEO_RTX_PT, vp8};
use std::time::Duration;

/// Payloads as browsers cut a frame: of two sizes that differ by one. The last one is of another size.
const SIZES: [usize; 6] = [800, 801, 800, 801, 801, 300];

struct Call {
    sim: Sim,
    next: u64,
    payloads: Vec<Vec<u8>>,
}

impl Call {
    /// One that is seen by another, who takes padding or not, and retransmissions of their own or not.
    fn new(pads: bool, with_rtx: bool) -> Call {
        let mut sim = Sim::with_peers(1, 2);
        let video = sim.publish(0, Kind::Video, 1000);
        let mut spec = sim.consumer_spec(1, video, Kind::Video, 3000);
        spec.pads = pads;
        if !with_rtx {
            (spec.rtx_ssrc, spec.rtx_payload_type) = (None, None);
        }
        let mut direct = sim.peers[1].rtc.direct_api();
        direct.declare_media("d3000".into(), str0m::media::MediaKind::Video);
        let rtx = with_rtx.then(|| 3001.into());
        direct.expect_stream_rx(3000.into(), rtx, "d3000".into(), None);
        sim.command(Command::AddConsumer(spec));
        Call {
            sim,
            next: 0,
            payloads: Vec::new(),
        }
    }

    /// Sends a frame, and returns what the subscriber is sent of it, as it is on the wire. What it is sent again is
    /// not among it.
    fn frame(&mut self) -> Vec<Vec<u8>> {
        self.sim.sent = Some(Vec::new());
        for (at, size) in SIZES.into_iter().enumerate() {
            let mut payload = vp8(true, at == 0, &vec![0; size - 2]);
            payload[size - 1] = self.next as u8;
            let (number, time) = (self.next, (self.next / SIZES.len() as u64) as u32 * 3000);
            let ends = at + 1 == SIZES.len();
            self.sim
                .send((0, 1000), VIDEO_PT, number, time, ends, payload.clone());
            self.payloads.push(payload);
            self.next += 1;
        }
        self.sim.run(Duration::from_millis(300));
        let to = self.sim.peers[1].address;
        let sent = self.sim.sent.take().unwrap().into_iter();
        let media = sent.filter(|(at, packet)| {
            *at == to && is_rtp_or_rtcp(packet) && !is_rtcp(packet) && packet[1] & 0x7f == VIDEO_PT
        });
        media.map(|(_, packet)| packet).collect()
    }

    fn seen(&self) -> Vec<&[u8]> {
        let mut packets: Vec<_> = self.sim.peers[1].received.iter().collect();
        packets.sort_by_key(|packet| packet.seq_no);
        packets.iter().map(|packet| &packet.payload[..]).collect()
    }
}

#[test]
fn packets_of_a_frame_that_differ_by_a_byte_leave_in_one_size_and_arrive_as_they_were() {
    let mut call = Call::new(true, true);
    let sent = call.frame();
    let lens: Vec<_> = sent.iter().map(Vec::len).collect();
    let longest = *lens.iter().max().unwrap();
    assert_eq!(lens[..5], [longest; 5]);
    assert_eq!(lens[5], longest - 501, "far shorter: as it is");
    let padded: Vec<_> = sent.iter().map(|packet| packet[0] & 0x20 != 0).collect();
    assert_eq!(padded, [true, false, true, false, false, false]);
    assert_eq!(call.seen(), call.payloads);
}

#[test]
fn what_is_repaired_is_what_was_sent_whatever_padding_was_behind_it() {
    let mut call = Call::new(true, true);
    call.sim.filter = Box::new(|hop, datagram, rng| {
        let is_media = is_rtp_or_rtcp(datagram) && !is_rtcp(datagram);
        !(hop == Hop::Down(1) && is_media && datagram[1] & 0x7f != VIDEO_RTX_PT)
            || rng.below(3) != 0
    });
    for _ in 0..20 {
        call.frame();
    }
    call.sim.filter = Box::new(|_, _, _| true);
    call.frame();
    call.sim.run(Duration::from_secs(1));
    assert!(call.sim.router.snapshot().consumers[0].retransmitted > 20);
    assert_eq!(call.seen(), call.payloads);
}

#[test]
fn who_takes_no_padding_or_no_retransmissions_of_their_own_gets_packets_as_they_are() {
    for (pads, with_rtx) in [(false, true), (true, false)] {
        let mut call = Call::new(pads, with_rtx);
        let sent: Vec<_> = call.frame().iter().map(Vec::len).collect();
        let expected: Vec<_> = SIZES.iter().map(|size| sent[1] - 801 + size).collect();
        assert_eq!(sent, expected, "pads {pads}, RTX {with_rtx}");
        assert_eq!(call.seen(), call.payloads);
    }
}
