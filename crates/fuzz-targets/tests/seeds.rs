//! Runs every fuzz target over its committed seeds, so that what fuzzing once found stays found without a fuzzer.

use std::fs;
use std::path::{Path, PathBuf};

use parlour_fuzz_targets::TARGETS;
use parlour_media::num::{PayloadType, RtpTime, SeqNo, Ssrc};
use parlour_media::rtcp::{self, ReportBlock, SenderInfo};
use parlour_media::rtp::write_header;
use parlour_media::srtp::{KeySalt, SRTP_OVERHEAD, SrtpProfile, SrtpSender};
use parlour_media::stun::{self, BindingRequest};
use parlour_media::twcc::TwccRecorder;
use std::time::Duration;

mod made;

fn seeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds")
}

#[test]
fn every_target_survives_its_seeds() {
    for (name, target) in TARGETS {
        let folder = seeds().join(name);
        let files =
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for file in files {
            let seed = fs::read(file.expect("a file").path()).expect("its bytes");
            // Cut anywhere and with any byte changed it is an input worth trying as well, if it costs little.
            target(&seed);
            let tries = if matches!(
                *name,
                "router" | "media" | "answer" | "handshake" | "sources"
            ) {
                0
            } else {
                seed.len()
            };
            for at in 0..tries {
                target(&seed[..at]);
                let mut changed = seed.clone();
                changed[at] ^= 1 << (at % 8);
                target(&changed);
            }
            count += 1;
        }
        assert!(count >= 3, "{name} has {count} seeds");
    }
}

#[test]
fn every_target_has_a_binary_and_every_binary_a_target() {
    let mut binaries: Vec<String> = fs::read_dir(seeds().join("../targets"))
        .expect("the folder of targets")
        .map(|file| {
            file.expect("a file")
                .path()
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let mut names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    binaries.sort();
    names.sort();
    assert_eq!(binaries, names);
}

fn save(target: &str, name: &str, seed: &[u8]) {
    let folder = seeds().join(target);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(name), seed).expect("a file");
}

/// Makes the seeds that come from our own writers: `cargo test --release -p parlour-fuzz-targets --test seeds -- --ignored`.
#[test]
#[ignore = "writes files; the seeds are committed"]
fn write_the_seeds() {
    let (id, password) = (*b"0123456789ab", b"VOkJxbRl1RmTxUk/WvJxBt");
    let mut buf = [0; 1500];
    for (name, controlling, nominate) in [
        ("check", true, false),
        ("nomination", true, true),
        ("controlled", false, false),
    ] {
        let request = BindingRequest {
            username: "abcdefgh:ijkl",
            priority: 1,
            tie_breaker: 2,
            controlling,
            nominate,
        };
        let len = stun::write_binding_request(&mut buf, id, &request, password);
        save("stun", name, &buf[..len]);
    }
    let len = stun::write_binding_success(
        &mut buf,
        id,
        "[2001:db8::1]:9".parse().expect("an address"),
        password,
    );
    save("stun", "success-v6", &buf[..len]);
    let len = stun::write_binding_error(&mut buf, id, 420, password, &[0x7001, 0x7002]);
    save("stun", "error-420", &buf[..len]);

    let message = buf[..len].to_vec();
    for (name, cut, frames) in [
        ("messages", 6, vec![&message[..], &message, &message]),
        ("empty-frames", 0, vec![&[], &message[..20], &[], &[]]),
        ("too-long-by-one", 255, vec![&[7; 2049][..], &message]),
        ("the-longest-length", 99, vec![&message[..], &[9; 65_535]]),
    ] {
        let framed = frames
            .iter()
            .flat_map(|frame| [&(frame.len() as u16).to_be_bytes()[..], frame].concat());
        // Longer than what may be in a seed it ends before its end.
        let seed: Vec<u8> = [cut].into_iter().chain(framed).take(2_500).collect();
        save("framing", name, &seed);
    }

    let header = |buf: &mut [u8], extensions: &[(u8, &[u8])]| {
        write_header(
            buf,
            true,
            PayloadType(96),
            SeqNo(7),
            RtpTime(8),
            Ssrc(9),
            extensions,
        )
    };
    let len = header(&mut buf, &[]);
    save("rtp", "plain", &buf[..len + 20]);
    let len = header(&mut buf, &[(1, b"0"), (3, &[0, 1])]);
    save("rtp", "one-byte-extensions", &buf[..len + 20]);
    let len = header(&mut buf, &[(5, &[20]), (6, &[20, 20]), (7, &[0; 16])]);
    save("rtp", "levels", &buf[..len + 20]);
    save(
        "rtp",
        "two-byte-extensions",
        b"\x90\x60\0\x01\0\0\0\0\0\0\0\x09\x10\0\0\x02\x05\0\0\x14\x03abcpayload",
    );
    save(
        "rtp",
        "padding-alone",
        b"\xa0\x60\0\x01\0\0\0\0\0\0\0\x09\0\0\0\x04",
    );
    save(
        "rtp",
        "contributing-sources",
        b"\x82\x60\0\x01\0\0\0\0\0\0\0\x09\0\0\0\x01\0\0\0\x02payload",
    );

    let block = ReportBlock {
        ssrc: Ssrc(3),
        highest_seq: 4,
        ..ReportBlock::default()
    };
    let mut len = rtcp::write_sender_report(&mut buf, Ssrc(1), &SenderInfo::default(), &[block]);
    len += rtcp::write_sdes_cname(&mut buf[len..], Ssrc(1), "name");
    save("rtcp", "report-and-name", &buf[..len]);
    save("srtp", "plain-rtcp", &buf[..len]);
    let mut len = rtcp::write_receiver_report(&mut buf, Ssrc(1), &[block, block]);
    len += rtcp::write_nack(
        &mut buf[len..],
        Ssrc(1),
        Ssrc(2),
        &[5, 6, 30, 65535].map(SeqNo),
    );
    len += rtcp::write_pli(&mut buf[len..], Ssrc(1), Ssrc(2));
    len += rtcp::write_fir(&mut buf[len..], Ssrc(1), Ssrc(2), 3);
    len += rtcp::write_bye(&mut buf[len..], Ssrc(1));
    save("rtcp", "feedback-and-goodbye", &buf[..len]);
    save(
        "rtcp",
        "remb",
        b"\x8f\xce\0\x05\0\0\0\x01\0\0\0\0REMB\x01\x04\0\x03\0\0\0\x08",
    );
    let mut recorder = TwccRecorder::new();
    for seq in [1, 2, 3, 9, 10, 40, 41] {
        recorder.on_packet(seq, Duration::from_millis(u64::from(seq) * u64::from(seq)));
    }
    let len = recorder
        .build(&mut buf, Ssrc(1), Ssrc(2))
        .expect("feedback");
    save("rtcp", "transport-wide", &buf[..len]);
    save("twcc", "small-and-large-deltas", &buf[12..len]);
    for (name, seed) in bandwidth_seeds() {
        save("bandwidth", name, &seed);
    }
    let made = [made::allocation(), made::pacer(), made::sources()];
    for (target, seeds) in ["allocation", "pacer", "sources"].into_iter().zip(made) {
        for (name, seed) in seeds {
            save(target, name, &seed);
        }
    }
    save(
        "twcc",
        "run-of-lost",
        &[0, 1, 0x1f, 0xff, 0, 0, 1, 0, 0x1f, 0xff],
    );
    save(
        "twcc",
        "one-bit-vector",
        &[0, 1, 0, 14, 0, 0, 1, 0, 0xaa, 0xaa, 1, 2, 3, 4, 5, 6, 7],
    );
    save(
        "twcc",
        "reports-of-arrivals",
        b"\0\x01\0\x04\xff\0\x02\0\x04\xff\0\x09\0\x80\x0f\0\x08\0\x01\x0f\0\x20\x7f\xff\x0f",
    );

    for (name, profile) in [
        ("sealed-cm", SrtpProfile::Aes128CmSha1_80),
        ("sealed-gcm", SrtpProfile::AeadAes256Gcm),
    ] {
        let keys = KeySalt::new(
            profile,
            &[7; 32][..profile.key_len()],
            &[9; 14][..profile.salt_len()],
        )
        .expect("lengths");
        let len = header(&mut buf, &[(3, &[0, 1])]) + 20;
        save("srtp", "plain-rtp", &buf[..len]);
        let sealed = SrtpSender::new(&keys).expect("keys").protect_rtp(
            &mut buf[..len + SRTP_OVERHEAD],
            len,
            0,
        );
        save("srtp", name, &buf[..sealed.expect("room")]);
    }

    // As Chromium sent them (tests/record_descriptors.py), and with what it leaves to its templates.
    let begin = *b"\x80\0\x01\x80\x02\x14\xea\xa8\x60\x41\x4d\x14\x10\x20\x84\x27\x01\x3f\0\xb3";
    let follow: [&[u8]; 4] = [b"\x40\0\x01", b"\xc3\0\x02", b"\xc2\0\x03", b"\xc4\0\x04"];
    let custom: &[u8] = b"\xc1\x01\x02\x3f\x1f\xd0\x26\x03\x80";
    let active: &[u8] = b"\xc1\x01\x02\x46";
    for (name, descriptors) in [
        ("three-layers", [&[&begin[..]], &follow[..]].concat()),
        ("of-its-own", vec![&begin, custom, follow[1]]),
        ("fewer-targets", vec![&begin, active, follow[1], &begin]),
    ] {
        let records = descriptors
            .iter()
            .map(|it| [&[it.len() as u8], *it].concat());
        save("descriptor", name, &records.collect::<Vec<_>>().concat());
    }

    save(
        "keyframe",
        "vp8-all-fields",
        &[0x90, 0xf0, 0x80, 1, 2, 3, 0, 0x9d, 1, 0x2a],
    );
    save(
        "keyframe",
        "h264-aggregate",
        &[0x78, 0, 2, 0x67, 1, 0, 1, 0x68, 0, 2, 0x65, 9],
    );
    save("keyframe", "h264-fragment", &[0x7c, 0x85, 1]);

    let record = |what: u8, with: u8, data: &[u8]| [&[what, with, data.len() as u8], data].concat();
    let (video, rtx, audio, wait) = (8, 9, 10, |ms: u8| record(2, ms, &[]));
    let key = [0x90, 0x80, 1, 0x10, 0, 0, 0x9d, 1, 0x2a];
    let delta = [0x90, 0x80, 2, 0x11];
    let start = [
        record(5, video | 4, &key),
        record(5, video | 4, &delta),
        wait(40),
    ]
    .concat();
    let nack = |lost: &[SeqNo], media: u32| {
        let mut buf = [0; 100];
        let len = rtcp::write_nack(&mut buf, Ssrc(1), Ssrc(media), lost);
        record(1, 1, &buf[..len])
    };
    let lost: Vec<SeqNo> = (0..40).map(|i| SeqNo(101 + i)).collect();
    let answered = [
        start.clone(),
        nack(&lost, 2000),
        wait(100),
        nack(&lost, 2000),
        wait(255),
    ]
    .concat();
    save("media", "lost-by-the-subscriber", &answered);
    let gap = [
        start.clone(),
        record(5, video | 0xa0, &delta),
        wait(60),
        record(5, rtx, &[0, 110, 0x90, 0x80, 3, 1]),
        wait(90),
    ];
    save("media", "lost-by-the-publisher", &gap.concat());
    // As many steps ahead as a retransmission needs to look like a restart, and three of those.
    let far = [
        start.clone(),
        record(5, video | 0xa0, &delta).repeat(56),
        record(5, rtx, &[0, 101, 0x90, 0x80, 4, 0x10, 1]),
        record(5, rtx, &[0, 102, 0x90, 0x80, 5, 0x10, 2]),
        record(5, rtx, &[0, 103, 0x90, 0x80, 6, 0x10, 3]),
        record(5, rtx, &[0, 142, 0x90, 0x80, 6, 0x10, 3]),
        wait(90),
    ];
    save("media", "retransmissions-far-behind", &far.concat());
    let mut buf = [0; 200];
    let len = rtcp::write_pli(&mut buf, Ssrc(1), Ssrc(2000));
    let pli = record(1, 1, &buf[..len]);
    let len = rtcp::write_sender_report(&mut buf, Ssrc(1000), &SenderInfo::default(), &[]);
    let report = record(1, 0, &buf[..len]);
    let len = rtcp::write_bye(&mut buf, Ssrc(1000));
    let bye = record(1, 0, &buf[..len]);
    let jump = record(5, video | 0xc0, &key);
    let (short, long) = (wait(200), wait(255));
    let parts = [
        &start, &pli, &short, &report, &long, &long, &jump, &jump, &bye, &jump,
    ]
    .map(Vec::as_slice);
    save("media", "reports-requests-and-a-jump", &parts.concat());
    let sound = [
        record(6, audio, b"opus"),
        record(7, audio, b"opus"),
        record(6, audio | 0x80, b"opus"),
        wait(250),
    ];
    save("media", "sound", &sound.concat());
    // How loud it is, in one byte, in none and in too many, in the form of one byte and of two, and under another id.
    let long = [20; 40];
    let levels: [&[(u8, &[u8])]; 6] = [
        &[(5, &[20])],
        &[],
        &[(5, &[20, 20])],
        &[(5, &[20]), (7, &long)],
        &[(5, &long)],
        &[(4, b"1"), (6, &[20])],
    ];
    let mut told = Vec::new();
    for number in 0..60u8 {
        let mut packet = [0; 200];
        let which = usize::from(number.saturating_sub(30)) % levels.len();
        let len = write_header(
            &mut packet,
            false,
            PayloadType(97),
            SeqNo(u16::from(number)),
            RtpTime(u32::from(number) * 960),
            Ssrc(1002),
            levels[which],
        );
        told.extend(record(0, 0, &packet[..len + 4]));
        told.extend(wait(18));
    }
    save("media", "levels", &told);
    let paused = [
        start.clone(),
        record(3, 2, &[]),
        record(5, video, &delta),
        record(3, 0, &[]),
        record(5, video, &key),
    ];
    save(
        "media",
        "paused-and-resumed",
        &[
            paused.concat(),
            record(4, 0, &[]),
            record(0, 0, &[0x80; 20]),
        ]
        .concat(),
    );

    save(
        "router",
        "checks-from-other-addresses",
        &[record(2, 2, b"ab"), wait4(9), record(2, 0x83, b"cd")].concat(),
    );
    let hello = record(3, 8, &[1, 0, 0, 40, 0, 0, 0, 0, 0, 0, 0, 40, 0xfe, 0xfd]);
    save(
        "router",
        "a-clienthello-cut-short",
        &[hello.clone(), wait4(60), hello, wait4(255), wait4(255)].concat(),
    );
    let media = [0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 3, 0xe8, 1, 2, 3, 4];
    save(
        "router",
        "media-before-the-keys",
        &[record(0, 0, &media), record(0, 3, &media)].concat(),
    );
}

/// Time goes on, as the target `router` has it.
fn wait4(by: u8) -> Vec<u8> {
    vec![1, by, 0]
}

/// Things that happen on a path: frames and feedback, lost ones, probes, and the peers that report otherwise.
fn bandwidth_seeds() -> [(&'static str, Vec<u8>); 4] {
    const FRAME: [u8; 5] = [0, 8, 200, 0, 30];
    const LOSSY: [u8; 5] = [0, 8, 200, 0x24, 90];
    const TIME: [u8; 5] = [1, 0, 130, 0, 0];
    const FEEDBACK: [u8; 5] = [2, 0, 0, 0, 0];
    const PROBE: [u8; 5] = [7, 8, 0, 0, 255];
    const TICK: [u8; 5] = [6, 0, 0, 0, 0];
    const REMB: [u8; 5] = [4, 63, 0, 0, 0];
    const REPORT: [u8; 5] = [5, 128, 0, 0, 9];
    let times = |count, what: &[[u8; 5]]| what.concat().repeat(count);
    let mut forged = times(5, &[FRAME, TIME]);
    // Numbers 0 to 7 arrived, then one large step back of the clock, and numbers that nobody sent.
    forged.extend([
        3, 16, 0, 0, 0, 0, 0, 0, 8, 0, 0, 9, 1, 0x20, 8, 1, 1, 1, 1, 1, 1,
    ]);
    forged.extend([3, 12, 0, 0, 0, 0, 8, 0, 8, 0x80, 0, 9, 2, 0x20, 8, 1, 1]);
    forged.extend([3, 10, 0, 0, 0, 0x70, 0, 0xff, 0xff, 0, 0, 9, 3, 0x1f, 0xff]);
    [
        ("steady", times(40, &[FRAME, TIME, FEEDBACK])),
        ("probing", times(20, &[LOSSY, TIME, FEEDBACK, PROBE, TICK])),
        ("forged", forged),
        ("reports", times(20, &[FRAME, TIME, TICK, REPORT, REMB])),
    ]
}
