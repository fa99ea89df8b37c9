//! Seeds of what fits media into a path: who gets how much, how fast it leaves, and pictures in several sizes.

type Seeds = Vec<(&'static str, Vec<u8>)>;

/// Things that happen to those who share a path, four bytes each.
pub fn allocation() -> Seeds {
    const LONG: [u8; 4] = [0, 15, 99, 0];
    const NARROW: [u8; 4] = [2, 0x04, 0, 0];
    const WIDE: [u8; 4] = [2, 0x40, 0, 0];
    // Three pictures of three, one and twelve choices.
    const JOIN: [[u8; 4]; 3] = [[5, 60, 2, 25], [5, 1, 0, 75], [5, 20, 11, 5]];
    const QUEUE: [u8; 4] = [3, 1, 0, 0];
    const NO_QUEUE: [u8; 4] = [3, 0, 0, 0];
    const ROUGH: [u8; 4] = [4, 1, 0, 0];
    const MORE: [u8; 4] = [5, 60, 2, 200];
    const GIVE_UP: [u8; 4] = [6, 60, 0, 0];
    const LEAVE: [u8; 4] = [7, 61, 0, 0];
    let of = |what: &[[u8; 4]]| [JOIN.concat(), what.concat().repeat(4)].concat();
    vec![
        ("narrow-and-wide", of(&[NARROW, LONG, WIDE, LONG, LONG])),
        ("queues", of(&[NARROW, QUEUE, LONG, WIDE, NO_QUEUE, LONG])),
        (
            "tried-without-probes",
            of(&[ROUGH, NARROW, LONG, LONG, LONG]),
        ),
        ("given-up", of(&[GIVE_UP, LONG, MORE, LONG, LEAVE, LONG])),
    ]
}

/// Rates, times and packets, three bytes each.
pub fn pacer() -> Seeds {
    const SLOW: [u8; 3] = [0, 15, 100];
    const FAST: [u8; 3] = [0, 25, 0];
    const NO_RATE: [u8; 3] = [0, 0xff, 0];
    const SOON: [u8; 3] = [1, 0, 30];
    const LATER: [u8; 3] = [1, 7, 0];
    const SEND: [u8; 3] = [2, 0, 200];
    const SEND_AND_WAIT: [u8; 3] = [252, 0, 100];
    const MUST: [u8; 3] = [3, 5, 0];
    const ASK: [u8; 3] = [4, 0, 0];
    let of = |what: &[[u8; 3]]| what.concat().repeat(8);
    let owed = [
        [FAST, SEND, SEND].concat(),
        MUST.repeat(250),
        [SLOW, SEND_AND_WAIT].concat(),
    ];
    vec![
        ("owed-at-a-rate-that-falls", owed.concat()),
        (
            "bursts",
            of(&[SLOW, SEND, SOON, SEND_AND_WAIT, LATER, SEND]),
        ),
        (
            "a-rate-that-falls",
            of(&[FAST, SEND, SEND, MUST, SLOW, SEND_AND_WAIT, SOON]),
        ),
        (
            "owed",
            [
                of(&[SLOW, MUST, MUST, MUST, ASK]),
                of(&[SEND_AND_WAIT, NO_RATE, SEND]),
            ]
            .concat(),
        ),
    ]
}

/// A record: what is done, a byte for it, and data.
fn record(what: u8, with: u8, data: &[u8]) -> Vec<u8> {
    [&[what, with, data.len() as u8], data].concat()
}

/// Pictures in several sizes.
pub fn sources() -> Seeds {
    const KEYFRAME: u8 = 4;
    const LARGE: u8 = 0x80;
    const OPENS: u8 = 0x40;
    const GAP: u8 = 0x20;
    let film = |size: u8, with: u8| record(0, size | with, &[]);
    let wait = |with: u8| record(5, with, &[]);
    let sound = record(4, 0, &[]);
    let report = record(7, 0, &[]);
    let want =
        |consumer: u8, source: u8, temporal: &[u8]| record(6, consumer | source << 1, temporal);
    let start = [0, 1, 2].map(|size| film(size, KEYFRAME | LARGE)).concat();
    // As libvpx makes layers, of all three sizes.
    let layers = |with: u8| {
        let of = |layer: u8| [0, 1, 2].map(|size| film(size, layer << 3 | with)).concat();
        [
            of(0),
            wait(30),
            sound.clone(),
            of(2),
            wait(30),
            of(1),
            wait(30),
            of(2),
            wait(30),
        ]
        .concat()
    };
    let second = [layers(0), report.clone(), layers(OPENS), report.clone()].concat();
    let all = |parts: &[&[u8]]| parts.concat();
    let estimate = |power: u8| record(9, power, &[]);
    let ask = |which: u8, back: &[u8]| record(10, which, back);
    let late: Vec<u8> = (0..40).collect();
    vec![
        (
            "sizes-and-layers",
            all(&[
                &start,
                &second,
                &want(0, 1, &[0]),
                &want(1, 2, &[1]),
                &second,
                &start,
                &second,
                &want(0, 0, &[7]),
                &start,
                &layers(OPENS),
            ]),
        ),
        (
            "wishes-in-a-row",
            all(&[
                &start,
                &layers(0),
                &[want(0, 1, &[0]), want(0, 2, &[2]), want(0, 0, &[])]
                    .concat()
                    .repeat(8),
                &film(0, LARGE),
                &start,
                &layers(OPENS),
                &ask(0, &late),
                &ask(1, &late),
            ]),
        ),
        (
            "a-path-that-is-said-to-carry-nothing",
            all(&[
                &start,
                &wait(200),
                &second,
                &wait(255),
                &estimate(0),
                &film(0, LARGE).repeat(12),
                &film(0, GAP | LARGE),
                &sound,
                &ask(1, &late),
                &wait(120),
                &start,
                &wait(180),
                &estimate(255),
                &start,
                &layers(0),
            ]),
        ),
        (
            "feedback-that-lies",
            all(&[
                &start,
                &layers(0),
                &record(7, 0, &[0x10, 0, 0, 1, 7, 0x20, 0xff]),
                // All of the first 65,535 numbers arrived; one that was never sent, a week later.
                &record(8, 0, &[0, 0, 0xff, 0xff, 0, 0, 9, 0, 0x3f, 0xff]),
                &record(
                    8,
                    0,
                    &[
                        0x70, 0, 0, 8, 0x7f, 0xff, 9, 1, 0x20, 8, 1, 1, 1, 1, 1, 1, 1, 1,
                    ],
                ),
                &layers(OPENS),
                &report,
                &estimate(63),
                &wait(255),
                &start,
                &second,
            ]),
        ),
        (
            "descriptors-and-clocks-that-lie",
            all(&[
                &start,
                &record(0, 0, &[100, 7]),
                &record(0, 0, &[0x80, 0x80]),
                &record(0, LARGE, &[0, 0, 0x90, 0xff, 0xff]),
                &record(0, KEYFRAME, &[1, 1, 0x10]),
                &record(11, 1, &[0xff; 12]),
                &record(11, 5, &[0, 0, 3, 0xe8, 0, 0, 0, 0, 1, 2, 3, 4]),
                &want(0, 1, &[]),
                &start,
                &second,
            ]),
        ),
        (
            "numbers-used-twice",
            all(&[
                &film(0, KEYFRAME | LARGE),
                &record(0, 0, &[100, 0x80]),
                &record(0, LARGE, &[6, 0, 0x90, 0xff, 0x15]),
                &ask(1, &[6]),
            ]),
        ),
        (
            "sizes-that-end",
            all(&[
                &start,
                &layers(0),
                &want(0, 1, &[]),
                &film(0, 0),
                &start,
                &record(11, 213, &[]),
                &layers(0),
                &record(11, 16, &[]),
                &layers(0),
                &record(11, 0, &[]),
                &record(11, 225, &[]),
                &start,
                &layers(OPENS),
            ]),
        ),
    ]
}
