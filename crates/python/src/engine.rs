//! `MediaEngine`: the engine of `parlour-shard` with Python's types around it.

use crate::conversions::{
    command_error, event_dict, parse_codec, parse_fingerprint, parse_kind, snapshot_error,
    start_error,
};
use parlour_media::dtls::DtlsRole;
use parlour_media::router::MAX_TRANSPORTS;
use parlour_media::{
    Command, ConsumerId, ConsumerSpec, IngressLimit, PayloadType, ProducerId, ProducerSpec, Ssrc,
    TransportId,
};
use parlour_shard::{Engine, EngineConfig, Numbers, Tally, TcpLimits};
use pyo3::exceptions::{PyTimeoutError, PyValueError};
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
