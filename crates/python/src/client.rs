//! `ClientTransport`: the client's transport for Python.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use parlour_client::{
    CloseReason, Codec, Error, Event, Frame, Kind, Mid, OutgoingFrame, Transport, TransportConfig,
};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

/// A peer connection of a client: UDP sockets and one thread (see the stub file for its members).
#[pyclass(frozen, module = "parlour._media")]
pub struct ClientTransport {
    /// None once closed. Locked for the time of a call; calls are short and close is rare.
    transport: Mutex<Option<Transport>>,
    #[pyo3(get)]
    addresses: Vec<(String, u16)>,
}

fn refused(error: Error) -> PyErr {
    PyRuntimeError::new_err(error.0)
}

fn codec(name: &str) -> PyResult<Codec> {
    Codec::from_name(name)
        .ok_or_else(|| PyValueError::new_err(format!("{name} is not one of opus, vp8, h264")))
}

fn kind(name: &str) -> PyResult<Kind> {
    match name {
        "audio" => Ok(Kind::Audio),
        "video" => Ok(Kind::Video),
        _ => Err(PyValueError::new_err(format!(
            "{name} is neither audio nor video"
        ))),
    }
}

impl ClientTransport {
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&Transport) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        py.detach(|| {
            let guard = self
                .transport
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let transport = guard
                .as_ref()
                .ok_or_else(|| Error("the peer connection is closed".into()))?;
            call(transport)
        })
        .map_err(refused)
    }

    fn post(&self, py: Python<'_>, call: impl FnOnce(&Transport) -> bool + Send) -> bool {
        self.with(py, |transport| Ok(call(transport)))
            .unwrap_or(false)
    }
}

#[pymethods]
impl ClientTransport {
    #[new]
    #[pyo3(signature = (*, addresses, codecs))]
    fn new(py: Python<'_>, addresses: Vec<String>, codecs: Vec<String>) -> PyResult<Self> {
        let addresses = addresses
            .iter()
            .map(|text| {
                text.parse::<IpAddr>()
                    .map_err(|_| PyValueError::new_err(format!("{text} is not an IP address")))
            })
            .collect::<PyResult<Vec<_>>>()?;
        let codecs = codecs
            .iter()
            .map(|name| codec(name))
            .collect::<PyResult<Vec<_>>>()?;
        let config = TransportConfig { addresses, codecs };
        let transport =
            py.detach(|| Transport::open(&config))
                .map_err(|error| match error.raw_os_error() {
                    Some(_) => PyErr::from(error),
                    None => PyOSError::new_err(error.to_string()),
                })?;
        let addresses = transport
            .local_addresses()
            .iter()
            .map(|address| (address.ip().to_string(), address.port()))
            .collect();
        Ok(Self {
            transport: Mutex::new(Some(transport)),
            addresses,
        })
    }

    fn event_fd(&self, py: Python<'_>) -> PyResult<i32> {
        self.with(py, |transport| Ok(transport.event_fd()))
    }

    #[pyo3(signature = (add, stop = Vec::new()))]
    fn create_offer(
        &self,
        py: Python<'_>,
        add: Vec<String>,
        stop: Vec<String>,
    ) -> PyResult<(String, Vec<String>)> {
        let add = add
            .iter()
            .map(|name| kind(name))
            .collect::<PyResult<Vec<_>>>()?;
        let stop = stop.iter().map(|mid| Mid::from(mid.as_str())).collect();
        let offer = self.with(py, |transport| transport.create_offer(add, stop))?;
        Ok((
            offer.sdp,
            offer.mids.iter().map(ToString::to_string).collect(),
        ))
    }

    fn create_ice_restart(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |transport| transport.create_ice_restart())
    }

    fn move_to(&self, py: Python<'_>, address: &str) -> PyResult<()> {
        let address = address
            .parse::<IpAddr>()
            .map_err(|_| PyValueError::new_err(format!("{address} is not an IP address")))?;
        self.with(py, |transport| transport.move_to(address))
    }

    fn accept_answer(&self, py: Python<'_>, sdp: String) -> PyResult<()> {
        self.with(py, |transport| transport.accept_answer(sdp))
    }

    fn accept_offer(&self, py: Python<'_>, sdp: String) -> PyResult<String> {
        self.with(py, |transport| transport.accept_offer(sdp))
    }

    #[pyo3(signature = (mid, *, codec, timestamp, data, level = None))]
    fn write_frame(
        &self,
        py: Python<'_>,
        mid: &str,
        codec: &str,
        timestamp: u64,
        data: &[u8],
        level: Option<u8>,
    ) -> PyResult<bool> {
        let codec = self::codec(codec)?;
        let frame = OutgoingFrame {
            mid: mid.into(),
            codec,
            timestamp,
            level,
            data: data.into(),
        };
        Ok(self.post(py, |transport| transport.write_frame(frame)))
    }

    fn request_keyframe(&self, py: Python<'_>, mid: &str) -> bool {
        let mid = Mid::from(mid);
        self.post(py, |transport| transport.request_keyframe(mid))
    }

    fn drain_events<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let events = self.with(py, |transport| Ok(transport.drain_events()));
        let list = PyList::empty(py);
        for event in events.unwrap_or_default() {
            list.append(event_dict(py, event)?)?;
        }
        Ok(list)
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.with(py, |transport| Ok(transport.stats()))?;
        let dict = PyDict::new(py);
        dict.set_item("datagrams_sent", stats.datagrams_sent)?;
        dict.set_item("datagrams_unsent", stats.datagrams_unsent)?;
        dict.set_item("datagrams_received", stats.datagrams_received)?;
        dict.set_item("frames_sent", stats.frames_sent)?;
        dict.set_item("frames_unsent", stats.frames_unsent)?;
        dict.set_item("frames_received", stats.frames_received)?;
        dict.set_item("frames_dropped", stats.frames_dropped)?;
        Ok(dict)
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| {
            let transport = self
                .transport
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            drop(transport);
        });
    }
}

fn event_dict<'py>(py: Python<'py>, event: Event) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let name = match event {
        Event::Connected => "connected",
        Event::Ice(state) => {
            dict.set_item("state", state.name())?;
            "ice"
        }
        Event::Track {
            mid,
            kind,
            receiving,
        } => {
            dict.set_item("mid", mid.to_string())?;
            dict.set_item("kind", kind.name())?;
            dict.set_item("receiving", receiving)?;
            "track"
        }
        Event::Frame(frame) => {
            frame_items(&dict, &frame)?;
            "frame"
        }
        Event::KeyframeRequest { mid } => {
            dict.set_item("mid", mid.to_string())?;
            "keyframe-request"
        }
        Event::Closed(reason) => {
            let (reason, detail) = match reason {
                CloseReason::Local => ("local", String::new()),
                CloseReason::Remote => ("remote", String::new()),
                CloseReason::Failed(detail) => ("failed", detail),
            };
            dict.set_item("reason", reason)?;
            dict.set_item("detail", detail)?;
            "closed"
        }
    };
    dict.set_item("type", name)?;
    Ok(dict)
}

fn frame_items(dict: &Bound<'_, PyDict>, frame: &Frame) -> PyResult<()> {
    dict.set_item("mid", frame.mid.to_string())?;
    dict.set_item("kind", frame.kind.name())?;
    dict.set_item("codec", frame.codec.name())?;
    dict.set_item("timestamp", frame.timestamp)?;
    dict.set_item("clock_rate", frame.clock_rate)?;
    dict.set_item("keyframe", frame.keyframe)?;
    dict.set_item("contiguous", frame.contiguous)?;
    dict.set_item("data", PyBytes::new(dict.py(), &frame.data))
}
