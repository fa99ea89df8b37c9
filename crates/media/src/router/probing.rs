//! Trying whether a path carries more: what the estimate asks for is sent, of media and of padding.

use crate::egress::consumer::Consumer;
use crate::ids::ConsumerId;
use crate::router::{Router, TICK};
use crate::slab::{ConsumerKey, Slab, TransportKey};
use crate::transport::header::OutgoingHeader;
use crate::transport::sink::TransmitSink;
use crate::transport::{Probing, Transport};
use std::time::Instant;

/// Padding of one packet at most (RFC 3550 §5.1), and what its datagram is then, about.
const MOST_PADDING: u8 = 255;

/// Packets of padding in one turn at most, whatever rate is tried.
const MOST_PADDED: usize = 128;

impl Router {
    /// Begins a probe when one is wanted, and sends of it what is due. Its packets are media while there is any, and
    /// padding for the rest (RFC 3550 §5.1), under the SSRC of the retransmissions of a picture.
    pub(crate) fn serve_probe(
        &mut self,
        now: Instant,
        index: TransportKey,
        sink: &mut impl TransmitSink,
    ) {
        let Some(transport) = self.transports.get_mut(index) else {
            return;
        };
        if transport.probing.is_none() && !transport.division.lacks {
            return;
        }
        // What waits already shows what the path carries.
        if transport.is_backed_up(now, sink) {
            transport.probing = None;
            return;
        }
        let padded = padded_by(transport.consumers.iter().copied(), &self.consumers);
        let Some(consumer) = padded.and_then(|key| self.consumers.get_mut(key)) else {
            transport.probing = None;
            return;
        };
        let Some(probing) = transport.probing.or_else(|| transport.begin_probe(now)) else {
            return;
        };
        transport.probing = Some(probing);
        // All of it was sent: one packet more, a tick later, shows how long it took.
        let is_last = probing.sent >= probing.probe.bytes;
        let elapsed = now.saturating_duration_since(probing.began) + TICK;
        let due = probing.probe.bits_per_second as f64 / 8.0 * elapsed.as_secs_f64();
        let due = (due as usize).min(probing.probe.bytes);
        for _ in 0..MOST_PADDED {
            let sent = transport.probing.map_or(usize::MAX, |it| it.sent);
            if sent >= due && !is_last {
                break;
            }
            let header = padding_header(consumer);
            let done = header.map(|header| transport.send_rtp(now, sink, &header, &[]));
            if is_last || !matches!(done, Some(Ok(_))) {
                transport.probing = None;
                return;
            }
        }
        self.wake(index, now + TICK);
    }
}

impl Transport {
    /// A probe, if one is wanted and may be sent.
    fn begin_probe(&mut self, now: Instant) -> Option<Probing> {
        self.srtp.as_ref()?;
        let probe = self.bandwidth.as_mut()?.wants_probe(now)?;
        Some(Probing {
            probe,
            began: now,
            sent: 0,
        })
    }
}

/// The header of a packet of padding among the retransmissions of a picture; none without those.
fn padding_header(consumer: &mut Consumer) -> Option<OutgoingHeader<'_>> {
    let (payload_type, ssrc) = consumer.spec.rtx_payload_type.zip(consumer.spec.rtx_ssrc)?;
    Some(OutgoingHeader {
        marker: false,
        payload_type,
        ext: consumer.take_rtx_number(),
        timestamp: consumer.rewriter.newest_timestamp(),
        ssrc,
        extensions: &consumer.extensions,
        padding: MOST_PADDING,
        original: None,
        repeatable: false,
        pictures: None,
        blocks: None,
        descriptor: None,
    })
}

/// Whose retransmissions padding can be part of.
fn padded_by(
    mut consumers: impl Iterator<Item = ConsumerKey>,
    all: &Slab<ConsumerId, Consumer>,
) -> Option<ConsumerKey> {
    consumers.find(|key| {
        let spec = all.get(*key).map(|it| &it.spec);
        spec.is_some_and(|spec| spec.rtx_ssrc.is_some() && spec.twcc_extension.is_some())
    })
}
