//! What the model says, and that it finds each thing that is wrong.

use super::*;
use crate::arrivals::Sender;
use crate::layered::Picture;
use crate::raw;
use parlour_media::{Kind, Ssrc, TransportId};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Number, timestamp, marker and payload of what the router sent.
type Seen = (u64, u32, bool, &'static [u8]);

fn published(id: u64) -> Published {
    Published {
        sender: Sender {
            id,
            ssrc: Ssrc(7),
            number: 100 + id,
        },
        timestamp: 1000 * id as u32,
        epoch: 0,
        marker: id % 2 == 1,
        starts: id.is_multiple_of(10),
        picture: None,
        payload: if id == 3 { Vec::new() } else { b"p".to_vec() },
    }
}

fn arrival(taken: Taken) -> Arrival {
    Arrival { place: 0, taken }
}

struct Model(Subscription);

impl Model {
    fn new() -> Model {
        let producer = raw::producer(TransportId(1), Kind::Video);
        let spec = raw::consumer(TransportId(2), &producer, 3000);
        let now = Instant::now();
        Model(Subscription::new(
            spec,
            0,
            vec![0, 1],
            Kind::Video,
            (0, 0),
            now,
        ))
    }

    fn expect(&mut self, epoch: u32, id: u64) -> Expected {
        self.0.expect(arrival((epoch, id)), &published(id), true)
    }

    /// The packet goes out as it is seen; what is wrong with that, if anything.
    fn sees(&mut self, (epoch, id): Taken, seen: Seen) -> Result<(), String> {
        let expected = match self.expect(epoch, id) {
            Expected::First => None,
            Expected::Number(out) => Some(out),
            other => panic!("{id} is {other:?}"),
        };
        let (out, time, marker, payload) = seen;
        let mut packet = raw::rtp_packet(96, out as u16, time, 3000, payload);
        packet[1] = packet[1] & 0x7f | u8::from(marker) << 7;
        let view = RtpView::parse(&packet).expect("RTP");
        let judge = || {
            let packet = published(id);
            let it = arrival((epoch, id));
            self.0
                .on_sent(Instant::now(), it, &packet, (expected, false), out, &view);
            self.0.settle(it, Fate::Sent(out), false);
        };
        let judged = catch_unwind(AssertUnwindSafe(judge));
        judged.map_err(|why| *why.downcast::<String>().expect("a sentence"))
    }
}

#[test]
fn what_is_dropped_and_what_goes_out_under_which_number_is_known_before() {
    let mut model = Model::new();
    let dropped = |reason| Expected::Dropped(reason);
    assert_eq!(model.expect(1, 9), dropped(DropReason::AwaitingKeyframe));
    assert_eq!(model.sees((1, 0), (50, 5, false, b"p")), Ok(()));
    assert_eq!(model.sees((1, 1), (51, 1005, true, b"p")), Ok(()));
    assert_eq!(model.expect(1, 3), dropped(DropReason::PaddingOnly));
    assert_eq!(model.expect(1, 5), Expected::Number(54), "it closes up");
    assert_eq!(model.expect(1, 2), Expected::Number(52), "a place is kept");
    assert_eq!(model.expect(2, 4), dropped(DropReason::AwaitingKeyframe));
    assert_eq!(model.expect(2, 10), Expected::Number(52), "no gap");
    assert_eq!(model.expect(2, 9), dropped(DropReason::BeforeStart));
    model.0.set_paused(Instant::now(), true);
    assert_eq!(model.expect(2, 11), dropped(DropReason::Paused));
    assert_eq!(
        model.0.expect(arrival((2, 11)), &published(11), false),
        dropped(DropReason::Paused)
    );
}

#[test]
fn each_wrong_thing_in_a_packet_is_found_and_named() {
    let wrong: [(&str, Taken, Seen); 7] = [
        ("leaves a gap", (1, 2), (53, 2005, false, b"p")),
        ("steps back", (1, 2), (51, 2005, false, b"p")),
        ("distance of timestamps", (1, 2), (52, 2006, false, b"p")),
        ("the marker", (1, 2), (52, 2005, true, b"p")),
        ("payload is another", (1, 2), (52, 2005, false, b"q")),
        ("has two fates", (1, 1), (51, 1005, true, b"p")),
        ("time steps back", (2, 10), (52, 1005, false, b"p")),
    ];
    for (what, taken, seen) in wrong {
        let mut model = Model::new();
        model.sees((1, 0), (50, 5, false, b"p")).expect("right");
        model.sees((1, 1), (51, 1005, true, b"p")).expect("right");
        // The one number that is used twice is told by whoever notices first.
        let said = model.sees(taken, seen).expect_err(what);
        let is_named = said.contains(what) || taken == (1, 1) && said.contains("used twice");
        assert!(is_named, "{what}: {said}");
    }
    let mut model = Model::new();
    let late = model.sees((1, 0), (0x8000, 5, false, b"p"));
    assert!(late.is_err_and(|said| said.contains("upper half")));
}

fn picture(frame: u64, layer: u8, opens: bool) -> Published {
    let picture = Picture {
        frame,
        number: Some(((700 + frame) as u16, true)),
        layer: Some((frame as u8, layer, opens)),
    };
    Published {
        starts: layer == 0 && frame.is_multiple_of(10),
        picture: Some(picture),
        payload: picture.payload(layer == 0, true, b"p"),
        ..published(frame)
    }
}

/// The number and the one of the lowest layer that a picture is to be sent with, as the model has them.
fn numbers(model: &Model, packet: &Published) -> (u16, u8) {
    let run = model.0.run.as_ref().expect("a run");
    let pictures = run.pictures.as_ref().expect("numbers");
    pictures.of(&packet.picture.expect("a picture"))
}

#[test]
fn pictures_close_up_over_what_is_left_out_and_go_on_over_sources() {
    let mut model = Model::new();
    let expect = |model: &mut Model, place, frame, layer, opens| {
        let packet = picture(frame, layer, opens);
        let taken = (1, frame);
        let expected = model.0.expect(Arrival { place, taken }, &packet, true);
        if expected == Expected::First {
            model.0.run.as_mut().expect("a run").first_out = Some(50);
        }
        (expected, packet)
    };
    let left_out = Expected::Dropped(DropReason::LayerLeftOut);
    let (expected, first) = expect(&mut model, 0, 10, 0, false);
    assert_eq!(expected, Expected::First);
    assert_eq!(numbers(&model, &first), (710, 10), "the first as they are");
    model.0.temporal = 0;
    assert_eq!(expect(&mut model, 0, 11, 2, true).0, left_out);
    let (expected, next) = expect(&mut model, 0, 13, 0, false);
    assert_eq!(
        expected,
        Expected::Number(52),
        "a place for what is missing"
    );
    assert_eq!(numbers(&model, &next), (712, 13));
    let (late, _) = expect(&mut model, 0, 12, 1, true);
    assert_eq!(late, Expected::Emptied(51, DropReason::LayerLeftOut));
    model.0.temporal = 2;
    assert_eq!(
        expect(&mut model, 0, 14, 2, true).0,
        left_out,
        "not below it"
    );
    assert_eq!(expect(&mut model, 0, 15, 1, true).0, Expected::Number(53));
    model.0.switch_to(Instant::now(), (1, 0), None);
    let awaiting = Expected::Dropped(DropReason::AwaitingKeyframe);
    assert_eq!(expect(&mut model, 1, 31, 2, true).0, awaiting);
    let (_, other) = expect(&mut model, 1, 40, 0, false);
    assert_eq!(numbers(&model, &other), (714, 16));
}
