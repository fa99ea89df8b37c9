//! `MediaEngine`: the engine of `parlour-shard` with Python's types around it.

use parlour_media::dtls::DtlsRole;
use parlour_media::router::MAX_TRANSPORTS;
use parlour_media::{
    Codec, Command, ConsumerId, ConsumerSpec, Event, IngressLimit, Kind, PayloadType, ProducerId,
    ProducerSpec, Shortfall, Ssrc, TransportId,
};
use parlour_shard::{
    CommandError, Engine, EngineConfig, Numbers, SnapshotError, StartError, Tally, TcpLimits,
};
use pyo3::exceptions::{
    PyBlockingIOError, PyLookupError, PyOSError, PyOverflowError, PyRuntimeError, PyTimeoutError,
    PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

// A default that Python shows has to be a literal.
const _: () = assert!(MAX_TRANSPORTS == 10_000);

/// The addresses of all interfaces that are up: the interface's name, the address, whether there is a carrier.
#[pyfunction]
pub fn interface_addresses() -> PyResult<Vec<(String, String, bool)>> {
    let addresses = parlour_shard::interface_addresses()?.into_iter();
    Ok(addresses
        .map(|it| (it.interface, it.ip.to_string(), it.running))
        .collect())
}

/// The media shards: threads with one UDP port each.
#[pyclass(frozen, module = "parlour._media")]
pub struct MediaEngine {
    engine: Engine,
    tally: Mutex<Tally>,
}

#[pymethods]
impl MediaEngine {
    #[new]
    #[pyo3(signature = (*, bind, port, shards = 1, max_transports = 10_000, ingress_bitrate = 20_000_000,
                        ingress_burst = 0.5, adapts = true, segments = true, tcp_connections = 0,
                        tcp_connections_per_source = 1_000, tcp_strangers_per_source = 100))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments in Python")]
    fn new(
        py: Python<'_>,
        bind: &str,
        port: u16,
        shards: usize,
        max_transports: usize,
        ingress_bitrate: u64,
        ingress_burst: f64,
        adapts: bool,
        segments: bool,
        tcp_connections: usize,
        tcp_connections_per_source: usize,
        tcp_strangers_per_source: usize,
    ) -> PyResult<MediaEngine> {
        let burst = Duration::try_from_secs_f64(ingress_burst).map_err(|_| {
            PyValueError::new_err(format!("a burst is seconds from 0 up, not {ingress_burst}"))
        })?;
        let address: IpAddr = bind.parse().map_err(|_| {
            PyValueError::new_err(format!(
                "media must be bound to an IP address, not to {bind:?}"
            ))
        })?;
        let config = EngineConfig {
            bind: address,
            port,
            shards,
            max_transports,
            ingress: IngressLimit {
                bits_per_second: ingress_bitrate,
                burst,
            },
            adapts,
            segments,
            tcp: (tcp_connections > 0).then_some(TcpLimits {
                connections: tcp_connections,
                per_source: tcp_connections_per_source,
                strangers_per_source: tcp_strangers_per_source,
            }),
        };
        let engine = py.detach(|| Engine::start(config)).map_err(start_error)?;
        Ok(MediaEngine {
            engine,
            tally: Mutex::default(),
        })
    }

    #[getter]
    fn fingerprint(&self) -> &str {
        self.engine.fingerprint()
    }

    #[getter]
    fn ports(&self) -> Vec<u16> {
        self.engine.ports().to_vec()
    }

    fn event_fd(&self) -> PyResult<i32> {
        self.engine.event_descriptor().map_err(command_error)
    }

    fn drain_events<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let events = self.engine.drain_events();
        events.iter().map(|event| event_dict(py, event)).collect()
    }

    fn drain_deaths<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Vec<(usize, Vec<Bound<'py, PyDict>>)>> {
        let deaths = self.engine.drain_deaths().into_iter();
        let told = deaths.map(|(shard, closed)| {
            let closed = closed.iter().map(|event| event_dict(py, event));
            Ok((shard, closed.collect::<PyResult<_>>()?))
        });
        told.collect()
    }

    fn revive(&self, py: Python<'_>, shard: usize) -> PyResult<()> {
        py.detach(|| self.engine.revive(shard)).map_err(start_error)
    }

    fn processor_times(&self) -> PyResult<Vec<f64>> {
        let times = self.engine.processor_times().map_err(command_error)?;
        Ok(times.iter().map(Duration::as_secs_f64).collect())
    }

    #[pyo3(signature = (*, shard, transport, local_ufrag, local_pwd))]
    fn add_transport(
        &self,
        shard: usize,
        transport: u64,
        local_ufrag: String,
        local_pwd: String,
    ) -> PyResult<()> {
        self.engine
            .add_transport(shard, TransportId(transport), local_ufrag, local_pwd)
            .map_err(command_error)
    }

    #[pyo3(signature = (transport, *, remote_ufrag, remote_pwd, fingerprint, is_dtls_client = false))]
    fn set_remote(
        &self,
        transport: u64,
        remote_ufrag: String,
        remote_pwd: String,
        fingerprint: &str,
        is_dtls_client: bool,
    ) -> PyResult<()> {
        let fingerprint = parse_fingerprint(fingerprint).ok_or_else(|| {
            PyValueError::new_err(format!(
                "a SHA-256 fingerprint is 32 pairs of hexadecimal digits with colons between them, not {fingerprint:?}"
            ))
        })?;
        self.submit(Command::SetRemote {
            transport: TransportId(transport),
            remote_ufrag,
            remote_pwd,
            fingerprint,
            role: match is_dtls_client {
                true => DtlsRole::Client,
                false => DtlsRole::Server,
            },
        })
    }

    #[pyo3(signature = (transport, *, local_ufrag, local_pwd))]
    fn restart_ice(&self, transport: u64, local_ufrag: String, local_pwd: String) -> PyResult<()> {
        self.submit(Command::RestartIce {
            transport: TransportId(transport),
            local_ufrag,
            local_pwd,
        })
    }

    fn remove_transport(&self, transport: u64) -> PyResult<()> {
        self.submit(Command::RemoveTransport {
            transport: TransportId(transport),
        })
    }

    #[expect(clippy::too_many_arguments, reason = "keyword arguments in Python")]
    #[pyo3(signature = (*, producer, transport, kind, codec, mid, rid, payload_type, red_payload_type,
                        rtx_payload_type, ssrc, rtx_ssrc, mid_extension, rid_extension, repaired_rid_extension, twcc_extension,
                        dependency_descriptor_extension, level_extension, nack, pli, remb))]
    fn add_producer(
        &self,
        producer: u64,
        transport: u64,
        kind: &str,
        codec: &str,
        mid: String,
        rid: String,
        payload_type: u8,
        red_payload_type: Option<u8>,
        rtx_payload_type: Option<u8>,
        ssrc: Option<u32>,
        rtx_ssrc: Option<u32>,
        mid_extension: Option<u8>,
        rid_extension: Option<u8>,
        repaired_rid_extension: Option<u8>,
        twcc_extension: Option<u8>,
        dependency_descriptor_extension: Option<u8>,
        level_extension: Option<u8>,
        nack: bool,
        pli: bool,
        remb: bool,
    ) -> PyResult<()> {
        self.submit(Command::AddProducer(ProducerSpec {
            producer: ProducerId(producer),
            transport: TransportId(transport),
            kind: parse_kind(kind)?,
            codec: parse_codec(codec)?,
            mid,
            rid,
            payload_type: PayloadType(payload_type),
            red_payload_type: red_payload_type.map(PayloadType),
            rtx_payload_type: rtx_payload_type.map(PayloadType),
            ssrc: ssrc.map(Ssrc),
            rtx_ssrc: rtx_ssrc.map(Ssrc),
            mid_extension,
            rid_extension,
            repaired_rid_extension,
            twcc_extension,
            dependency_descriptor_extension,
            level_extension,
            nack,
            pli,
            remb,
        }))
    }

    fn remove_producer(&self, producer: u64) -> PyResult<()> {
        self.submit(Command::RemoveProducer {
            producer: ProducerId(producer),
        })
    }

    #[pyo3(signature = (producer, every))]
    fn watch_level(&self, producer: u64, every: Option<f64>) -> PyResult<()> {
        let seconds = |every| {
            Duration::try_from_secs_f64(every).map_err(|_| {
                PyValueError::new_err(format!("levels come every so many seconds, not {every}"))
            })
        };
        self.submit(Command::WatchLevel {
            producer: ProducerId(producer),
            every: every.map(seconds).transpose()?,
        })
    }

    #[expect(clippy::too_many_arguments, reason = "keyword arguments in Python")]
    #[pyo3(signature = (*, consumer, transport, producers, source, temporal, mid, payload_type,
                        red_payload_type, rtx_payload_type, ssrc, rtx_ssrc, mid_extension, twcc_extension,
                        dependency_descriptor_extension, pads, rank, cname))]
    fn add_consumer(
        &self,
        consumer: u64,
        transport: u64,
        producers: Vec<u64>,
        source: usize,
        temporal: Option<u8>,
        mid: String,
        payload_type: u8,
        red_payload_type: Option<u8>,
        rtx_payload_type: Option<u8>,
        ssrc: u32,
        rtx_ssrc: Option<u32>,
        mid_extension: Option<u8>,
        twcc_extension: Option<u8>,
        dependency_descriptor_extension: Option<u8>,
        pads: bool,
        rank: u8,
        cname: String,
    ) -> PyResult<()> {
        self.submit(Command::AddConsumer(ConsumerSpec {
            consumer: ConsumerId(consumer),
            transport: TransportId(transport),
            producers: producers.into_iter().map(ProducerId).collect(),
            source,
            temporal,
            mid,
            payload_type: PayloadType(payload_type),
            red_payload_type: red_payload_type.map(PayloadType),
            rtx_payload_type: rtx_payload_type.map(PayloadType),
            ssrc: Ssrc(ssrc),
            rtx_ssrc: rtx_ssrc.map(Ssrc),
            mid_extension,
            twcc_extension,
            dependency_descriptor_extension,
            pads,
            rank,
            cname,
        }))
    }

    fn remove_consumer(&self, consumer: u64) -> PyResult<()> {
        self.submit(Command::RemoveConsumer {
            consumer: ConsumerId(consumer),
        })
    }

    fn set_consumer_source(
        &self,
        consumer: u64,
        source: usize,
        temporal: Option<u8>,
    ) -> PyResult<()> {
        self.submit(Command::SetConsumerSource {
            consumer: ConsumerId(consumer),
            source,
            temporal,
        })
    }

    fn set_consumer_paused(&self, consumer: u64, paused: bool) -> PyResult<()> {
        self.submit(Command::SetConsumerPaused {
            consumer: ConsumerId(consumer),
            paused,
        })
    }

    #[pyo3(signature = (timeout = 1.0))]
    fn snapshot<'py>(&self, py: Python<'py>, timeout: f64) -> PyResult<Bound<'py, PyBytes>> {
        let timeout = read_timeout(timeout)?;
        // Formatted here, by the thread that asks: a shard only copies its numbers out.
        let json = py
            .detach(|| Ok(self.engine.snapshot(timeout)?.to_json()))
            .map_err(snapshot_error)?;
        Ok(PyBytes::new(py, json.as_bytes()))
    }

    #[pyo3(signature = (timeout = 1.0))]
    fn numbers<'py>(&self, py: Python<'py>, timeout: f64) -> PyResult<NumbersTexts<'py>> {
        let timeout = read_timeout(timeout)?;
        // Summed up and formatted here, by the thread that asks, and without the interpreter.
        let numbers = py
            .detach(|| {
                let snapshot = self.engine.snapshot(timeout)?;
                let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(tally.take(&snapshot))
            })
            .map_err(snapshot_error)?;
        let Numbers {
            shards,
            transports,
            producers,
        } = numbers;
        let texts = |rows: Vec<String>| {
            let texts = rows.iter().map(|text| PyBytes::new(py, text.as_bytes()));
            texts.collect()
        };
        Ok((
            PyBytes::new(py, shards.as_bytes()),
            texts(transports),
            texts(producers),
        ))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if py.detach(|| self.engine.close()) {
            Ok(())
        } else {
            Err(PyTimeoutError::new_err(
                "a media thread did not stop in time; its port is free when it does",
            ))
        }
    }
}

/// The texts of [`Numbers`].
type NumbersTexts<'py> = (
    Bound<'py, PyBytes>,
    Vec<Bound<'py, PyBytes>>,
    Vec<Bound<'py, PyBytes>>,
);

fn read_timeout(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        PyValueError::new_err(format!("a timeout is seconds from 0 up, not {seconds}"))
    })
}

impl MediaEngine {
    fn submit(&self, command: Command) -> PyResult<()> {
        self.engine.submit(command).map_err(command_error)
    }
}

fn event_dict<'py>(py: Python<'py>, event: &Event) -> PyResult<Bound<'py, PyDict>> {
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

fn parse_kind(text: &str) -> PyResult<Kind> {
    match text {
        "audio" => Ok(Kind::Audio),
        "video" => Ok(Kind::Video),
        _ => Err(PyValueError::new_err(format!(
            "a track is audio or video, not {text:?}"
        ))),
    }
}

fn parse_codec(text: &str) -> PyResult<Codec> {
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
fn parse_fingerprint(text: &str) -> Option<[u8; 32]> {
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

fn start_error(error: StartError) -> PyErr {
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

fn command_error(error: CommandError) -> PyErr {
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

fn snapshot_error(error: SnapshotError) -> PyErr {
    match error {
        SnapshotError::Timeout { .. } => PyTimeoutError::new_err(error.to_string()),
        SnapshotError::Refused(error) => command_error(error),
    }
}
