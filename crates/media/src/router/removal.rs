//! Taking transports and tracks out again. Each link between two of them knows its place at both ends, so that it is cut
//! in constant time however many there are: the departure of a subscriber of 500 tracks is 500 steps.

use crate::egress::consumer::{Consumer, Places};
use crate::ids::ConsumerId;
use crate::reasons::CloseReason;
use crate::router::Router;
use crate::router::event::Event;
use crate::slab::{ConsumerKey, Slab, TrackKey, TransportKey};

/// Takes one out of a list of consumers; the last one gets its place and is told.
fn take_out(
    list: &mut Vec<ConsumerKey>,
    place: usize,
    consumers: &mut Slab<ConsumerId, Consumer>,
    place_of: impl Fn(&mut Consumer) -> Option<&mut usize>,
) {
    if place < list.len() {
        list.swap_remove(place);
    }
    if let Some(moved) = list.get(place)
        && let Some(noted) = consumers.get_mut(*moved).and_then(place_of)
    {
        *noted = place;
    }
}

impl Router {
    /// Ends a transport in silence, with its tracks, their consumers, and its consumers.
    pub(crate) fn remove(&mut self, index: TransportKey, reason: CloseReason) {
        let Some(transport) = self.transports.remove(index) else {
            return;
        };
        self.timers.set(index, None);
        self.traffic.packets_out += transport.traffic.packets_out;
        self.traffic.bytes_out += transport.traffic.bytes_out;
        self.handshakes.waiting -= transport.handshake.len();
        self.transport_ids.remove(&transport.id);
        for ufrag in transport.ice.ufrags() {
            self.ufrags.remove(ufrag);
        }
        for address in transport.addresses() {
            self.release_address(address, index);
        }
        for consumer in transport.consumers {
            self.remove_consumer(consumer);
        }
        for track in transport.tracks {
            self.remove_track(track);
        }
        self.emit(Event::TransportClosed {
            transport: transport.id,
            reason,
        });
    }

    pub(crate) fn remove_track(&mut self, index: TrackKey) {
        let Some(track) = self.tracks.remove(index) else {
            return;
        };
        self.track_ids.remove(&track.spec.producer);
        // Both lists are bounded, by what one peer may publish.
        if let Some(transport) = self.transports.get_mut(track.transport) {
            transport.tracks.retain(|other| *other != index);
            transport.streams.retain(|_, stream| stream.track != index);
        }
        // The moment of the last datagram will do: what ended may have ended by a fault, which knows of none.
        let (now, came) = (self.came, track.next_arrival());
        for consumer in track.consumers {
            if !self.lose_source(now, consumer, (index, came)) {
                self.remove_consumer(consumer);
            }
        }
    }

    pub(crate) fn remove_consumer(&mut self, index: ConsumerKey) {
        let Some(consumer) = self.consumers.remove(index) else {
            return;
        };
        self.consumer_ids.remove(&consumer.spec.consumer);
        let Places {
            at_transport,
            at_track,
        } = consumer.places;
        if let Some(transport) = self.transports.get_mut(consumer.transport) {
            let list = &mut transport.consumers;
            take_out(list, at_transport, &mut self.consumers, |moved| {
                Some(&mut moved.places.at_transport)
            });
            transport.outgoing.remove(&consumer.spec.ssrc);
            transport.sent.close(consumer.spec.ssrc);
            if let Some(rtx) = consumer.spec.rtx_ssrc {
                transport.sent.close(rtx);
            }
        }
        self.take_out_of_track(consumer.track, at_track);
        if let Some(next) = consumer.next {
            self.take_out_of_track(next.track, next.at_track);
        }
    }

    /// Takes a consumer out of a track's list.
    pub(super) fn take_out_of_track(&mut self, index: TrackKey, place: usize) {
        if let Some(track) = self.tracks.get_mut(index) {
            let list = &mut track.consumers;
            take_out(list, place, &mut self.consumers, |moved| {
                moved.place_at(index)
            });
        }
    }
}
