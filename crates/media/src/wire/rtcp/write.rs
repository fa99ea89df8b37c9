//! Writing parts of compound packets. Each writer returns the length of its part, 0 when it does not fit or has nothing
//! to say; the next part goes to the bytes behind it.

use super::{
    FORMAT_APPLICATION, FORMAT_FIR, FORMAT_NACK, FORMAT_PLI, GOODBYE, PAYLOAD_FEEDBACK,
    RECEIVER_REPORT, ReportBlock, SDES_CNAME, SENDER_REPORT, SOURCE_DESCRIPTION, SenderInfo,
    TRANSPORT_FEEDBACK,
};
use crate::wire::bytes::Writer;
use crate::wire::num::{SeqNo, Ssrc};

const MAX_BLOCKS: usize = 31; // the count has five bits

fn begin(buf: &mut [u8], format: u8, packet_type: u8) -> Writer<'_> {
    let mut out = Writer::new(buf);
    out.u8(0x80 | format & 0x1f);
    out.u8(packet_type);
    out.u16(0);
    out
}

/// Fills in the length in words minus one (RFC 3550 §6.4.1).
fn end(mut out: Writer<'_>) -> usize {
    out.pad_to_word();
    match u16::try_from((out.len() / 4).saturating_sub(1)) {
        Ok(words) => out.set_u16(2, words),
        Err(_) => out.overflow(),
    }
    out.finish()
}

fn report_blocks(out: &mut Writer<'_>, blocks: &[ReportBlock]) {
    for block in blocks {
        out.u32(block.ssrc.0);
        out.u8(block.fraction_lost);
        out.u24(
            block
                .cumulative_lost
                .clamp(-0x80_0000, 0x7f_ffff)
                .cast_unsigned()
                & 0x00ff_ffff,
        );
        out.u32(block.highest_seq);
        out.u32(block.jitter);
        out.u32(block.last_sr);
        out.u32(block.delay_since_last_sr);
    }
}

/// SR (RFC 3550 §6.4.1), with the first 31 blocks.
pub fn write_sender_report(
    buf: &mut [u8],
    ssrc: Ssrc,
    info: &SenderInfo,
    blocks: &[ReportBlock],
) -> usize {
    let blocks = &blocks[..blocks.len().min(MAX_BLOCKS)];
    let mut out = begin(buf, blocks.len() as u8, SENDER_REPORT);
    out.u32(ssrc.0);
    out.u64(info.ntp);
    out.u32(info.rtp_time.0);
    out.u32(info.packets);
    out.u32(info.octets);
    report_blocks(&mut out, blocks);
    end(out)
}

/// RR (RFC 3550 §6.4.2), with the first 31 blocks.
pub fn write_receiver_report(buf: &mut [u8], ssrc: Ssrc, blocks: &[ReportBlock]) -> usize {
    let blocks = &blocks[..blocks.len().min(MAX_BLOCKS)];
    let mut out = begin(buf, blocks.len() as u8, RECEIVER_REPORT);
    out.u32(ssrc.0);
    report_blocks(&mut out, blocks);
    end(out)
}

/// SDES with the canonical name of one source (RFC 3550 §6.5.1), of which the first 255 bytes count.
pub fn write_sdes_cname(buf: &mut [u8], ssrc: Ssrc, cname: &str) -> usize {
    let cname = &cname.as_bytes()[..cname.len().min(255)];
    let mut out = begin(buf, 1, SOURCE_DESCRIPTION);
    out.u32(ssrc.0);
    out.u8(SDES_CNAME);
    out.u8(cname.len() as u8);
    out.put(cname);
    out.u8(0); // ends the list of items; the padding that follows is zeros as well
    end(out)
}

/// BYE of one source (RFC 3550 §6.6).
pub fn write_bye(buf: &mut [u8], ssrc: Ssrc) -> usize {
    let mut out = begin(buf, 1, GOODBYE);
    out.u32(ssrc.0);
    end(out)
}

fn begin_feedback(
    buf: &mut [u8],
    format: u8,
    packet_type: u8,
    sender: Ssrc,
    media: Ssrc,
) -> Writer<'_> {
    let mut out = begin(buf, format, packet_type);
    out.u32(sender.0);
    out.u32(media.0);
    out
}

/// Generic NACK (RFC 4585 §6.2.1) for packets in ascending order; neighbours share a pair.
pub fn write_nack(buf: &mut [u8], sender: Ssrc, media: Ssrc, lost: &[SeqNo]) -> usize {
    if lost.is_empty() {
        return 0;
    }
    let mut out = begin_feedback(buf, FORMAT_NACK, TRANSPORT_FEEDBACK, sender, media);
    let mut rest = lost;
    while let Some((&pid, mut others)) = rest.split_first() {
        let mut mask = 0u16;
        while let Some((&next, after)) = others.split_first() {
            let offset = pid.distance_to(next);
            if !(1..=16).contains(&offset) {
                break;
            }
            mask |= 1 << (offset - 1);
            others = after;
        }
        out.u16(pid.0);
        out.u16(mask);
        rest = others;
    }
    end(out)
}

/// Picture loss indication (RFC 4585 §6.3.1).
pub fn write_pli(buf: &mut [u8], sender: Ssrc, media: Ssrc) -> usize {
    end(begin_feedback(
        buf,
        FORMAT_PLI,
        PAYLOAD_FEEDBACK,
        sender,
        media,
    ))
}

/// Full intra request for one stream (RFC 5104 §4.3.1); `number` grows by one with each new request.
pub fn write_fir(buf: &mut [u8], sender: Ssrc, media: Ssrc, number: u8) -> usize {
    let mut out = begin_feedback(buf, FORMAT_FIR, PAYLOAD_FEEDBACK, sender, Ssrc(0));
    out.u32(media.0);
    out.u8(number);
    out.u24(0);
    end(out)
}

/// SSRCs of one REMB: their count has eight bits.
pub const MAX_REMB_SOURCES: usize = 255;

/// Receiver estimated maximum bit rate (draft-alvestrand-rmcat-remb-03 §2.2) of these streams together, of which the
/// first 255 count. Of the rate 18 bits are kept; it is rounded down.
pub fn write_remb(buf: &mut [u8], sender: Ssrc, bitrate: u64, sources: &[Ssrc]) -> usize {
    if sources.is_empty() {
        return 0;
    }
    let sources = &sources[..sources.len().min(MAX_REMB_SOURCES)];
    let exponent = (64 - bitrate.leading_zeros()).saturating_sub(18);
    // The stream that feedback is about is none here: the list behind it says which (§2.2).
    let mut out = begin_feedback(buf, FORMAT_APPLICATION, PAYLOAD_FEEDBACK, sender, Ssrc(0));
    out.put(b"REMB");
    out.u8(sources.len() as u8);
    out.u24(exponent << 18 | (bitrate >> exponent) as u32);
    for source in sources {
        out.u32(source.0);
    }
    end(out)
}
