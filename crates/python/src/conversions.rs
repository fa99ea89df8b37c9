//! What the engine says and is told, as Python has it: events as dictionaries, words, and errors as exceptions.

use parlour_media::{Codec, Event, Kind, Shortfall};
use parlour_shard::{CommandError, SnapshotError, StartError};
use pyo3::exceptions::{
    PyBlockingIOError, PyLookupError, PyOSError, PyOverflowError, PyRuntimeError, PyTimeoutError,
    PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;

pub(crate) fn event_dict<'py>(py: Python<'py>, event: &Event) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    match event {
        Event::ProducerLevel {
            producer,
            transport,
            level,
        } => {
            dict.set_item("type", "producer-level")?;
            dict.set_item("transport", transport.0)?;
            dict.set_item("object", producer.0)?;
            dict.set_item("volume", level.volume)?;
            dict.set_item("speaks", level.speaks)?;
            dict.set_item("spoken", f64::from(level.spoken_ms) / 1000.0)?;
        }
        Event::TransportConnected { transport, profile } => {
            dict.set_item("type", "transport-connected")?;
            dict.set_item("transport", transport.0)?;
            dict.set_item("srtp_profile", profile.name())?;
        }
        Event::TransportClosed { transport, reason } => {
            dict.set_item("type", "transport-closed")?;
            dict.set_item("transport", transport.0)?;
            dict.set_item("reason", reason.name())?;
        }
        Event::ProducerStarted {
            producer,
            transport,
        } => {
            dict.set_item("type", "producer-started")?;
            dict.set_item("transport", transport.0)?;
            dict.set_item("object", producer.0)?;
        }
        Event::IngressPoliced {
            transport,
            packets,
            bits_per_second,
        } => {
            dict.set_item("type", "ingress-policed")?;
            dict.set_item("transport", transport.0)?;
            dict.set_item("packets", *packets)?;
            dict.set_item("bits_per_second", *bits_per_second)?;
        }
        Event::ConsumerSource {
            transport,
            consumer,
            source,
            why,
            needed,
            available,
        } => {
            dict.set_item("type", "consumer-source")?;
            dict.set_item("transport", transport.0)?;
            dict.set_item("object", consumer.0)?;
            dict.set_item("source", *source)?;
            dict.set_item("why", why.map(Shortfall::name))?;
            dict.set_item("needed", *needed)?;
            dict.set_item("available", *available)?;
        }
        Event::PathSilent { transport } => {
            dict.set_item("type", "path-silent")?;
            dict.set_item("transport", transport.0)?;
        }
        Event::ConnectionsEnded { reason, count } => {
            dict.set_item("type", "connections-ended")?;
            dict.set_item("transport", 0)?;
            dict.set_item("reason", reason.name())?;
            dict.set_item("count", *count)?;
        }
        Event::CommandRefused {
            transport,
            object,
            reason,
        } => {
            dict.set_item("type", "command-refused")?;
            dict.set_item("transport", transport.0)?;
            dict.set_item("object", *object)?;
            dict.set_item("reason", reason.name())?;
        }
    }
    Ok(dict)
}

pub(crate) fn parse_kind(text: &str) -> PyResult<Kind> {
    match text {
        "audio" => Ok(Kind::Audio),
        "video" => Ok(Kind::Video),
        _ => Err(PyValueError::new_err(format!(
            "a track is audio or video, not {text:?}"
        ))),
    }
}

pub(crate) fn parse_codec(text: &str) -> PyResult<Codec> {
    match text {
        "opus" => Ok(Codec::Opus),
        "vp8" => Ok(Codec::Vp8),
        "h264" => Ok(Codec::H264),
        "vp9" => Ok(Codec::Vp9),
        "av1" => Ok(Codec::Av1),
        _ => Err(PyValueError::new_err(format!(
            "a codec is opus, vp8, h264, vp9 or av1, not {text:?}"
        ))),
    }
}

/// RFC 8122 §5: pairs of hexadecimal digits; both cases are taken.
pub(crate) fn parse_fingerprint(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let mut pairs = text.split(':');
    for byte in &mut bytes {
        let pair = pairs.next()?;
        if pair.len() != 2 || !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    pairs.next().is_none().then_some(bytes)
}

pub(crate) fn start_error(error: StartError) -> PyErr {
    let sentence = error.to_string();
    match error {
        StartError::Invalid(_) => PyValueError::new_err(sentence),
        StartError::Bind {
            source, address, ..
        } => match source.raw_os_error() {
            // OSError picks its subclass by the number: PermissionError and so on. What it is about is its filename.
            Some(errno) => PyOSError::new_err((errno, sentence, address.to_string())),
            None => PyOSError::new_err(sentence),
        },
        StartError::System { source, .. } => match source.raw_os_error() {
            Some(errno) => PyOSError::new_err((errno, sentence)),
            None => PyOSError::new_err(sentence),
        },
    }
}

pub(crate) fn command_error(error: CommandError) -> PyErr {
    let sentence = error.to_string();
    match error {
        CommandError::RingFull { .. }
        | CommandError::ShardDied { .. }
        | CommandError::EventsWait(_) => PyBlockingIOError::new_err(sentence),
        CommandError::ShardFull { .. } => PyOverflowError::new_err(sentence),
        CommandError::Closed | CommandError::OtherProcess => PyRuntimeError::new_err(sentence),
        CommandError::UnknownTransport(_)
        | CommandError::UnknownProducer(_)
        | CommandError::UnknownConsumer(_) => PyLookupError::new_err(sentence),
        CommandError::NoSuchShard { .. }
        | CommandError::DuplicateId(_)
        | CommandError::OtherShard { .. } => PyValueError::new_err(sentence),
    }
}

pub(crate) fn snapshot_error(error: SnapshotError) -> PyErr {
    match error {
        SnapshotError::Timeout { .. } => PyTimeoutError::new_err(error.to_string()),
        SnapshotError::Refused(error) => command_error(error),
    }
}
