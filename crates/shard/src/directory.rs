//! Which shard has which transport, producer and consumer.
//!
//! Kept beside the command rings, so that a command finds its shard and a wrong id is refused at the
//! call that names it.

use crate::error::CommandError;
use parlour_media::{Command, ConsumerId, ConsumerSpec, ProducerId, ProducerSpec, TransportId};
use std::collections::{HashMap, HashSet};

#[derive(Default)]
pub(crate) struct Directory {
    transports: HashMap<TransportId, Home>,
    /// How many transports each shard has; the shard is the index.
    load: Vec<usize>,
    producers: HashMap<ProducerId, Track>,
    consumers: HashMap<ConsumerId, Forward>,
}

struct Home {
    shard: usize,
    producers: HashSet<ProducerId>,
    consumers: HashSet<ConsumerId>,
}

struct Track {
    transport: TransportId,
    consumers: HashSet<ConsumerId>,
}

struct Forward {
    transport: TransportId,
    /// Those that it may forward and that are there.
    producers: Vec<ProducerId>,
}

impl Directory {
    /// The shard a command is for; None for removing what is gone already, which is no error: the
    /// peer may have closed it at the same moment. Nothing is changed yet.
    pub(crate) fn route(&self, command: &Command) -> Result<Option<usize>, CommandError> {
        match command {
            Command::AddTransport { .. } => unreachable!("its shard is the caller's choice"),
            Command::SetRemote { transport, .. } | Command::RestartIce { transport, .. } => {
                self.transport(*transport).map(Some)
            }
            Command::RemoveTransport { transport } => Ok(self.shard_of(*transport)),
            Command::AddProducer(spec) => {
                if self.producers.contains_key(&spec.producer) {
                    return Err(CommandError::DuplicateId(spec.producer.0));
                }
                self.transport(spec.transport).map(Some)
            }
            Command::RemoveProducer { producer } => {
                let track = self.producers.get(producer);
                Ok(track.and_then(|track| self.shard_of(track.transport)))
            }
            Command::WatchLevel { producer, .. } => {
                let track = self.producers.get(producer);
                let shard = track.and_then(|track| self.shard_of(track.transport));
                shard
                    .map(Some)
                    .ok_or(CommandError::UnknownProducer(*producer))
            }
            Command::AddConsumer(spec) => self.route_consumer(spec).map(Some),
            Command::RemoveConsumer { consumer } => {
                let forward = self.consumers.get(consumer);
                Ok(forward.and_then(|forward| self.shard_of(forward.transport)))
            }
            Command::SetConsumerSource { consumer, .. }
            | Command::SetConsumerPaused { consumer, .. } => {
                let forward = self.consumers.get(consumer);
                let shard = forward.and_then(|forward| self.shard_of(forward.transport));
                shard
                    .map(Some)
                    .ok_or(CommandError::UnknownConsumer(*consumer))
            }
        }
    }

    /// The shard took the command.
    pub(crate) fn taken(&mut self, command: &Passed) {
        match command {
            Passed::AddProducer(producer, transport) => self.add_producer(*producer, *transport),
            Passed::AddConsumer(consumer, transport, producers) => {
                self.add_consumer(*consumer, *transport, producers);
            }
            Passed::RemoveTransport(transport) => self.remove_transport(*transport),
            Passed::RemoveProducer(producer) => self.remove_producer(*producer),
            Passed::RemoveConsumer(consumer) => self.remove_consumer(*consumer),
            Passed::Other => {}
        }
    }

    /// A transport lives on that shard from now on.
    pub(crate) fn add_transport(&mut self, transport: TransportId, shard: usize) {
        let home = Home {
            shard,
            producers: HashSet::new(),
            consumers: HashSet::new(),
        };
        self.transports.insert(transport, home);
        if self.load.len() <= shard {
            self.load.resize(shard + 1, 0);
        }
        self.load[shard] += 1;
    }

    /// How many transports a shard has.
    pub(crate) fn transports_on(&self, shard: usize) -> usize {
        self.load.get(shard).copied().unwrap_or(0)
    }

    /// Whether that id is taken.
    pub(crate) fn has_transport(&self, transport: TransportId) -> bool {
        self.transports.contains_key(&transport)
    }

    /// A transport is gone, with all that is on it.
    pub(crate) fn remove_transport(&mut self, transport: TransportId) {
        if let Some(home) = self.transports.remove(&transport) {
            self.load[home.shard] -= 1;
            for consumer in home.consumers {
                self.remove_consumer(consumer);
            }
            for producer in home.producers {
                self.remove_producer(producer);
            }
        }
    }

    /// A shard is gone, with all that is on it: its transports.
    pub(crate) fn remove_shard(&mut self, shard: usize) -> Vec<TransportId> {
        let lost = self
            .transports
            .iter()
            .filter(|(_, home)| home.shard == shard);
        let lost: Vec<TransportId> = lost.map(|(transport, _)| *transport).collect();
        for transport in &lost {
            self.remove_transport(*transport);
        }
        lost
    }

    fn add_producer(&mut self, producer: ProducerId, transport: TransportId) {
        if let Some(home) = self.transports.get_mut(&transport) {
            home.producers.insert(producer);
            let track = Track {
                transport,
                consumers: HashSet::new(),
            };
            self.producers.insert(producer, track);
        }
    }

    fn add_consumer(
        &mut self,
        consumer: ConsumerId,
        transport: TransportId,
        producers: &[ProducerId],
    ) {
        let Some(home) = self.transports.get_mut(&transport) else {
            return;
        };
        let mut known = producers.to_vec();
        known.retain(|producer| match self.producers.get_mut(producer) {
            Some(track) => track.consumers.insert(consumer),
            None => false,
        });
        if !known.is_empty() {
            home.consumers.insert(consumer);
            let forward = Forward {
                transport,
                producers: known,
            };
            self.consumers.insert(consumer, forward);
        }
    }

    fn remove_producer(&mut self, producer: ProducerId) {
        if let Some(track) = self.producers.remove(&producer) {
            for consumer in track.consumers {
                let Some(forward) = self.consumers.get_mut(&consumer) else {
                    continue;
                };
                forward.producers.retain(|other| *other != producer);
                if forward.producers.is_empty() {
                    self.remove_consumer(consumer);
                }
            }
            if let Some(home) = self.transports.get_mut(&track.transport) {
                home.producers.remove(&producer);
            }
        }
    }

    fn remove_consumer(&mut self, consumer: ConsumerId) {
        if let Some(forward) = self.consumers.remove(&consumer) {
            if let Some(home) = self.transports.get_mut(&forward.transport) {
                home.consumers.remove(&consumer);
            }
            for producer in forward.producers {
                if let Some(track) = self.producers.get_mut(&producer) {
                    track.consumers.remove(&consumer);
                }
            }
        }
    }

    fn route_consumer(&self, spec: &ConsumerSpec) -> Result<usize, CommandError> {
        if self.consumers.contains_key(&spec.consumer) {
            return Err(CommandError::DuplicateId(spec.consumer.0));
        }
        let shard = self.transport(spec.transport)?;
        let mut is_any_known = false;
        for producer in &spec.producers {
            let track = self.producers.get(producer);
            match track.and_then(|track| self.shard_of(track.transport)) {
                // Another one is forwarded while it is missing.
                None => {}
                Some(source) if source != shard => {
                    return Err(CommandError::OtherShard {
                        producer: *producer,
                        transport: spec.transport,
                    });
                }
                Some(_) => is_any_known = true,
            }
        }
        match (is_any_known, spec.producers.first()) {
            (true, _) => Ok(shard),
            (false, first) => Err(CommandError::UnknownProducer(
                first.copied().unwrap_or(ProducerId(0)),
            )),
        }
    }

    fn shard_of(&self, transport: TransportId) -> Option<usize> {
        self.transports.get(&transport).map(|home| home.shard)
    }

    fn transport(&self, transport: TransportId) -> Result<usize, CommandError> {
        self.shard_of(transport)
            .ok_or(CommandError::UnknownTransport(transport))
    }
}

/// What a command changes in the directory; kept when the command itself goes down the ring.
pub(crate) enum Passed {
    AddProducer(ProducerId, TransportId),
    AddConsumer(ConsumerId, TransportId, Vec<ProducerId>),
    RemoveTransport(TransportId),
    RemoveProducer(ProducerId),
    RemoveConsumer(ConsumerId),
    Other,
}

impl From<&Command> for Passed {
    fn from(command: &Command) -> Passed {
        match command {
            Command::AddProducer(ProducerSpec {
                producer,
                transport,
                ..
            }) => Passed::AddProducer(*producer, *transport),
            Command::AddConsumer(spec) => {
                Passed::AddConsumer(spec.consumer, spec.transport, spec.producers.clone())
            }
            Command::RemoveTransport { transport } => Passed::RemoveTransport(*transport),
            Command::RemoveProducer { producer } => Passed::RemoveProducer(*producer),
            Command::RemoveConsumer { consumer } => Passed::RemoveConsumer(*consumer),
            Command::AddTransport { .. }
            | Command::SetRemote { .. }
            | Command::WatchLevel { .. }
            | Command::RestartIce { .. }
            | Command::SetConsumerSource { .. }
            | Command::SetConsumerPaused { .. } => Passed::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parlour_media::{Codec, Kind, PayloadType, Ssrc};

    fn producer(producer: u64, transport: u64) -> Command {
        Command::AddProducer(ProducerSpec {
            producer: ProducerId(producer),
            transport: TransportId(transport),
            kind: Kind::Video,
            codec: Codec::Vp8,
            mid: "0".into(),
            rid: String::new(),
            payload_type: PayloadType(96),
            red_payload_type: None,
            rtx_payload_type: None,
            ssrc: None,
            rtx_ssrc: None,
            mid_extension: None,
            rid_extension: None,
            repaired_rid_extension: None,
            twcc_extension: None,
            dependency_descriptor_extension: None,
            level_extension: None,
            nack: true,
            pli: true,
            remb: false,
        })
    }

    fn consumer(consumer: u64, transport: u64, producer: u64) -> Command {
        Command::AddConsumer(ConsumerSpec {
            consumer: ConsumerId(consumer),
            transport: TransportId(transport),
            producers: vec![ProducerId(producer)],
            source: 0,
            temporal: None,
            mid: "0".into(),
            payload_type: PayloadType(96),
            red_payload_type: None,
            rtx_payload_type: None,
            ssrc: Ssrc(1),
            rtx_ssrc: None,
            mid_extension: None,
            twcc_extension: None,
            dependency_descriptor_extension: None,
            pads: true,
            rank: 0,
            cname: "c".into(),
        })
    }

    fn pass(directory: &mut Directory, command: &Command) -> Result<Option<usize>, CommandError> {
        let shard = directory.route(command)?;
        directory.taken(&command.into());
        Ok(shard)
    }

    fn pause(consumer: u64) -> Command {
        Command::SetConsumerPaused {
            consumer: ConsumerId(consumer),
            paused: true,
        }
    }

    fn watch(producer: u64) -> Command {
        Command::WatchLevel {
            producer: ProducerId(producer),
            every: None,
        }
    }

    /// Transports 1 and 2 on shard 0, 3 on shard 1; producer 10 on 1; consumer 20 of it on 2.
    fn room() -> Directory {
        let mut directory = Directory::default();
        directory.add_transport(TransportId(1), 0);
        directory.add_transport(TransportId(2), 0);
        directory.add_transport(TransportId(3), 1);
        assert_eq!(pass(&mut directory, &producer(10, 1)), Ok(Some(0)));
        assert_eq!(pass(&mut directory, &consumer(20, 2, 10)), Ok(Some(0)));
        directory
    }

    #[test]
    fn every_command_finds_the_shard_of_its_transport() {
        let mut directory = room();
        assert_eq!(pass(&mut directory, &producer(11, 3)), Ok(Some(1)));
        assert_eq!(directory.route(&pause(20)), Ok(Some(0)));
        assert_eq!(directory.route(&watch(10)), Ok(Some(0)));
        let remove = Command::RemoveTransport {
            transport: TransportId(3),
        };
        assert_eq!(directory.route(&remove), Ok(Some(1)));
    }

    #[test]
    fn wrong_ids_are_refused_by_name() {
        let directory = room();
        assert_eq!(
            directory.route(&producer(11, 9)),
            Err(CommandError::UnknownTransport(TransportId(9)))
        );
        assert_eq!(
            directory.route(&producer(10, 2)),
            Err(CommandError::DuplicateId(10))
        );
        assert_eq!(
            directory.route(&consumer(21, 2, 99)),
            Err(CommandError::UnknownProducer(ProducerId(99)))
        );
        assert_eq!(
            directory.route(&consumer(21, 3, 10)),
            Err(CommandError::OtherShard {
                producer: ProducerId(10),
                transport: TransportId(3)
            })
        );
        assert_eq!(
            directory.route(&pause(21)),
            Err(CommandError::UnknownConsumer(ConsumerId(21)))
        );
        assert_eq!(
            directory.route(&watch(99)),
            Err(CommandError::UnknownProducer(ProducerId(99)))
        );
    }

    #[test]
    fn a_transport_takes_everything_on_it_along_and_removing_twice_is_no_error() {
        let mut directory = room();
        let remove = Command::RemoveTransport {
            transport: TransportId(1),
        };
        assert_eq!(pass(&mut directory, &remove), Ok(Some(0)));
        assert_eq!(pass(&mut directory, &remove), Ok(None));
        assert!(directory.producers.is_empty());
        assert!(directory.consumers.is_empty());
        assert!(directory.transports[&TransportId(2)].consumers.is_empty());
    }

    #[test]
    fn a_producer_takes_its_consumers_along() {
        let mut directory = room();
        let remove = Command::RemoveProducer {
            producer: ProducerId(10),
        };
        assert_eq!(pass(&mut directory, &remove), Ok(Some(0)));
        assert!(directory.route(&pause(20)).is_err());
        assert!(directory.transports[&TransportId(1)].producers.is_empty());
        assert!(directory.transports[&TransportId(2)].consumers.is_empty());
    }
}
