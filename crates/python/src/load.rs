//! `LoadGenerator` and `NullReflector`: the tools that measure, for Python (see the stub file for their members).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use parlour_load::{
    Frame, Generator, IncomingSpec, Kind, LinkSpec, OutgoingSpec, Pattern, PeerReport, Quantiles,
    Reflector, SecureSpec, State, fingerprint_text,
};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// What a publisher sends and when (see the stub file).
#[pyclass(frozen, module = "parlour._media")]
pub struct LoadPattern(Arc<Pattern>);

/// Many cheap peers in one thread (see the stub file).
#[pyclass(frozen, module = "parlour._media")]
pub struct LoadGenerator {
    /// None once closed.
    generator: Mutex<Option<Generator>>,
    #[pyo3(get)]
    fingerprint: String,
}

/// A server that only fans out (see the stub file).
#[pyclass(frozen, module = "parlour._media")]
pub struct NullReflector(Reflector);

fn os_error(error: io::Error) -> PyErr {
    match error.raw_os_error() {
        Some(_) => PyErr::from(error),
        None => PyOSError::new_err(error.to_string()),
    }
}

fn micros(value: u64) -> Duration {
    Duration::from_micros(value)
}

/// When it begins, whether it is a keyframe, and of each packet how much later it goes and its bytes.
type FrameTuple = (u64, bool, Vec<(u64, usize)>);

#[pymethods]
impl LoadPattern {
    #[new]
    fn new(period: u64, frames: Vec<FrameTuple>) -> PyResult<Self> {
        let frames: Vec<Frame> = frames
            .into_iter()
            .map(|(at, keyframe, packets)| Frame {
                at: micros(at),
                keyframe,
                packets: packets
                    .into_iter()
                    .map(|(offset, size)| (micros(offset), size))
                    .collect(),
            })
            .collect();
        Pattern::new(micros(period), &frames)
            .map(|pattern| LoadPattern(Arc::new(pattern)))
            .map_err(PyValueError::new_err)
    }
}

/// `(kind, ssrc, payload type, id of the transport-wide number or None, pattern, phase in microseconds)`.
type Stream<'py> = (String, u32, u8, Option<u8>, PyRef<'py, LoadPattern>, u64);

fn outgoing(stream: Stream<'_>) -> PyResult<OutgoingSpec> {
    let (kind, ssrc, payload_type, twcc_extension, pattern, phase) = stream;
    let kind = match kind.as_str() {
        "audio" => Kind::Audio,
        "video" => Kind::Video,
        other => {
            return Err(PyValueError::new_err(format!(
                "{other} is neither audio nor video"
            )));
        }
    };
    Ok(OutgoingSpec {
        kind,
        ssrc,
        payload_type,
        twcc_extension,
        pattern: Arc::clone(&pattern.0),
        phase: micros(phase),
    })
}

fn address(remote: (String, u16)) -> PyResult<SocketAddr> {
    let (host, port) = remote;
    let ip: IpAddr = host
        .parse()
        .map_err(|_| PyValueError::new_err(format!("{host} is not an IP address")))?;
    Ok(SocketAddr::new(ip, port))
}

/// A SHA-256 from the form of RFC 8122 §5.
fn digest(text: &str) -> PyResult<[u8; 32]> {
    let bytes: Vec<u8> = text
        .split(':')
        .map_while(|digits| u8::from_str_radix(digits, 16).ok())
        .collect();
    bytes
        .try_into()
        .map_err(|_| PyValueError::new_err(format!("{text} is not a SHA-256 in the form AB:CD:…")))
}

impl LoadGenerator {
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&Generator) -> io::Result<T> + Send,
    ) -> PyResult<T> {
        let done = py.detach(|| {
            let guard = self
                .generator
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            guard.as_ref().map(call)
        });
        done.ok_or_else(|| PyRuntimeError::new_err("the load generator is closed"))?
            .map_err(os_error)
    }
}

#[pymethods]
impl LoadGenerator {
    #[new]
    #[pyo3(signature = (seed, *, patience))]
    fn new(py: Python<'_>, seed: u64, patience: Duration) -> PyResult<Self> {
        let generator = py
            .detach(|| Generator::start(seed, patience))
            .map_err(os_error)?;
        Ok(LoadGenerator {
            fingerprint: fingerprint_text(&generator.fingerprint()),
            generator: Mutex::new(Some(generator)),
        })
    }

    #[pyo3(signature = (remote, *, local, peer, fingerprint, outgoing = Vec::new(), twcc_extension = None, repair_payload_types = Vec::new()))]
    #[allow(clippy::too_many_arguments)] // they are named where it is called
    fn connect(
        &self,
        py: Python<'_>,
        remote: (String, u16),
        local: (String, String),
        peer: (String, String),
        fingerprint: &str,
        outgoing: Vec<Stream<'_>>,
        twcc_extension: Option<u8>,
        repair_payload_types: Vec<u8>,
    ) -> PyResult<usize> {
        let link = LinkSpec::Secure(SecureSpec {
            local,
            remote: peer,
            fingerprint: digest(fingerprint)?,
        });
        let streams: Vec<OutgoingSpec> = outgoing
            .into_iter()
            .map(self::outgoing)
            .collect::<PyResult<_>>()?;
        let remote = address(remote)?;
        let incoming = IncomingSpec {
            twcc_extension,
            repair_payload_types,
        };
        self.with(py, |generator| {
            generator.connect(remote, link, streams, incoming)
        })
    }

    #[pyo3(signature = (remote, *, room, outgoing = Vec::new()))]
    fn connect_to_reflector(
        &self,
        py: Python<'_>,
        remote: (String, u16),
        room: u32,
        outgoing: Vec<Stream<'_>>,
    ) -> PyResult<usize> {
        let streams: Vec<OutgoingSpec> = outgoing
            .into_iter()
            .map(self::outgoing)
            .collect::<PyResult<_>>()?;
        let subscribe = streams.is_empty();
        let remote = address(remote)?;
        self.with(py, |generator| {
            let incoming = IncomingSpec::default();
            generator.connect(
                remote,
                LinkSpec::Plain { room, subscribe },
                streams,
                incoming,
            )
        })
    }

    fn start(&self, py: Python<'_>, peers: Vec<usize>) -> PyResult<()> {
        self.with(py, |generator| generator.set_sending(peers, true))
    }

    fn stop(&self, py: Python<'_>, peers: Vec<usize>) -> PyResult<()> {
        self.with(py, |generator| generator.set_sending(peers, false))
    }

    fn remove(&self, py: Python<'_>, peers: Vec<usize>) -> PyResult<()> {
        self.with(py, |generator| generator.remove(peers))
    }

    fn state(&self, py: Python<'_>, peer: usize) -> PyResult<(&'static str, Option<String>)> {
        Ok(match self.with(py, |generator| generator.state(peer))? {
            State::Connecting => ("connecting", None),
            State::Connected(_) => ("connected", None),
            State::Failed(reason) => ("failed", Some(reason)),
        })
    }

    fn peers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for report in self.with(py, Generator::reports)? {
            list.append(peer_dict(py, &report)?)?;
        }
        Ok(list)
    }

    fn totals<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let totals = self.with(py, Generator::totals)?;
        let dict = PyDict::new(py);
        dict.set_item("sent", totals.sent)?;
        dict.set_item("sent_bytes", totals.sent_bytes)?;
        dict.set_item("received", totals.received)?;
        dict.set_item("missing", totals.missing)?;
        dict.set_item("duplicates", totals.duplicates)?;
        dict.set_item("undecryptable", totals.undecryptable)?;
        dict.set_item("unsent", totals.unsent)?;
        dict.set_item("socket_drops", totals.socket_drops)?;
        dict.set_item("feedback", totals.feedback)?;
        dict.set_item("strangers", totals.strangers)?;
        Ok(dict)
    }

    fn take_times<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyDict>, Bound<'py, PyDict>)> {
        let (travel, lateness) = self.with(py, Generator::take_times)?;
        Ok((quantiles_dict(py, travel)?, quantiles_dict(py, lateness)?))
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| {
            let generator = self
                .generator
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            drop(generator);
        });
    }
}

fn quantiles_dict(py: Python<'_>, told: Quantiles) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("count", told.count)?;
    dict.set_item("p50", told.p50)?;
    dict.set_item("p99", told.p99)?;
    dict.set_item("p999", told.p999)?;
    dict.set_item("max", told.max)?;
    Ok(dict)
}

fn peer_dict<'py>(py: Python<'py>, report: &PeerReport) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let (state, profile, reason) = match &report.state {
        State::Connecting => ("connecting", None, None),
        State::Connected(profile) => ("connected", profile.map(|profile| profile.name()), None),
        State::Failed(reason) => ("failed", None, Some(reason.as_str())),
    };
    dict.set_item("peer", report.peer)?;
    dict.set_item("state", state)?;
    dict.set_item("reason", reason)?;
    dict.set_item("srtp_profile", profile)?;
    dict.set_item(
        "connected_at",
        report.connected_at.map(|at| at.as_secs_f64()),
    )?;
    dict.set_item(
        "first_picture_at",
        report.first_picture_at.map(|at| at.as_secs_f64()),
    )?;
    dict.set_item("sent", report.sent)?;
    let streams = PyList::empty(py);
    for stream in &report.streams {
        let item = PyDict::new(py);
        item.set_item("ssrc", stream.ssrc)?;
        item.set_item("received", stream.received)?;
        item.set_item("missing", stream.missing)?;
        item.set_item("duplicates", stream.duplicates)?;
        item.set_item("frames", stream.frames)?;
        streams.append(item)?;
    }
    dict.set_item("streams", streams)?;
    Ok(dict)
}

#[pymethods]
impl NullReflector {
    #[new]
    fn new(py: Python<'_>, host: &str) -> PyResult<Self> {
        let ip: IpAddr = host
            .parse()
            .map_err(|_| PyValueError::new_err(format!("{host} is not an IP address")))?;
        py.detach(|| Reflector::start(ip))
            .map(NullReflector)
            .map_err(os_error)
    }

    #[getter]
    fn port(&self) -> u16 {
        self.0.address().port()
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.0.stats();
        let dict = PyDict::new(py);
        dict.set_item("received", stats.received)?;
        dict.set_item("forwarded", stats.forwarded)?;
        Ok(dict)
    }
}
