//! Who may have how many connections. A stranger is a connection by which no genuine check came yet; it makes room for
//! another one, the oldest first, and who is known never does.

use parlour_media::ConnectionEnd;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// How many connections one media port has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpLimits {
    /// In all.
    pub connections: usize,
    /// Of one source: an IPv4 address, or the first 64 bits of an IPv6 one.
    pub per_source: usize,
    /// Of one source without a genuine check.
    pub strangers_per_source: usize,
}

/// Whose connections are counted together: whoever has one address of IPv6 has the rest of its network, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for Source {
    fn from(ip: IpAddr) -> Source {
        match ip {
            IpAddr::V4(ip) => Source::V4(ip.to_bits()),
            IpAddr::V6(ip) => Source::V6((ip.to_bits() >> 64) as u64),
        }
    }
}

/// What is to be done with a connection that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Admit,
    /// Once the stranger of that number is closed.
    Instead(u64),
    Refuse(ConnectionEnd),
}

#[derive(Debug, Default)]
struct OfSource {
    count: usize,
    strangers: BTreeSet<u64>,
}

/// Counts who is there. Connections have numbers that count up, so the lowest is the oldest.
pub(crate) struct Doorkeeper {
    limits: TcpLimits,
    count: usize,
    sources: HashMap<Source, OfSource>,
    strangers: BTreeMap<u64, Source>,
}

impl Doorkeeper {
    pub(crate) fn new(limits: TcpLimits) -> Doorkeeper {
        Doorkeeper {
            limits,
            count: 0,
            sources: HashMap::new(),
            strangers: BTreeMap::new(),
        }
    }

    /// Whether a connection from there may come in.
    pub(crate) fn judge(&self, source: Source) -> Verdict {
        if let Some(known) = self.sources.get(&source) {
            let oldest = known.strangers.first();
            let too_strange = known.strangers.len() >= self.limits.strangers_per_source;
            match (known.count >= self.limits.per_source, oldest) {
                (true, None) => return Verdict::Refuse(ConnectionEnd::SourceFull),
                (full, Some(oldest)) if full || too_strange => return Verdict::Instead(*oldest),
                _ => {}
            }
        }
        if self.count < self.limits.connections {
            return Verdict::Admit;
        }
        match self.strangers.first_key_value() {
            Some((oldest, _)) => Verdict::Instead(*oldest),
            None => Verdict::Refuse(ConnectionEnd::Full),
        }
    }

    /// A connection of that number came in, a stranger.
    pub(crate) fn enter(&mut self, number: u64, source: Source) {
        self.count += 1;
        let of_source = self.sources.entry(source).or_default();
        of_source.count += 1;
        of_source.strangers.insert(number);
        self.strangers.insert(number, source);
    }

    /// It is no stranger any more.
    pub(crate) fn welcome(&mut self, number: u64) {
        if let Some(source) = self.strangers.remove(&number)
            && let Some(of_source) = self.sources.get_mut(&source)
        {
            of_source.strangers.remove(&number);
        }
    }

    /// It is gone.
    pub(crate) fn leave(&mut self, number: u64, source: Source) {
        self.welcome(number);
        self.count -= 1;
        if let Some(of_source) = self.sources.get_mut(&source) {
            of_source.count -= 1;
            if of_source.count == 0 {
                self.sources.remove(&source);
            }
        }
    }

    /// How many are there, and how many of them are strangers.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.count, self.strangers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TcpLimits = TcpLimits {
        connections: 6,
        per_source: 4,
        strangers_per_source: 2,
    };

    fn source(text: &str) -> Source {
        text.parse::<IpAddr>().unwrap().into()
    }

    /// Lets one in that was admitted, or in whose place another one goes.
    fn come(door: &mut Doorkeeper, number: u64, from: &str) -> Verdict {
        let verdict = door.judge(source(from));
        if let Verdict::Instead(oldest) = verdict {
            let gone = *door.strangers.get(&oldest).unwrap();
            door.leave(oldest, gone);
        }
        if !matches!(verdict, Verdict::Refuse(_)) {
            door.enter(number, source(from));
        }
        verdict
    }

    #[test]
    fn strangers_of_one_source_make_room_for_each_other_and_for_nobody_elses() {
        let mut door = Doorkeeper::new(LIMITS);
        assert_eq!(come(&mut door, 1, "192.0.2.1"), Verdict::Admit);
        assert_eq!(come(&mut door, 2, "192.0.2.1"), Verdict::Admit);
        assert_eq!(come(&mut door, 3, "192.0.2.2"), Verdict::Admit);
        assert_eq!(come(&mut door, 4, "192.0.2.1"), Verdict::Instead(1));
        assert_eq!(come(&mut door, 5, "192.0.2.1"), Verdict::Instead(2));
        assert_eq!(door.counts(), (3, 3));
    }

    #[test]
    fn who_is_known_never_makes_room() {
        let mut door = Doorkeeper::new(LIMITS);
        for number in 1..=4 {
            assert_eq!(come(&mut door, number, "192.0.2.1"), Verdict::Admit);
            door.welcome(number);
        }
        let full = Verdict::Refuse(ConnectionEnd::SourceFull);
        assert_eq!(come(&mut door, 5, "192.0.2.1"), full);
        for number in 6..=7 {
            assert_eq!(come(&mut door, number, "192.0.2.2"), Verdict::Admit);
            door.welcome(number);
        }
        let full = Verdict::Refuse(ConnectionEnd::Full);
        assert_eq!(come(&mut door, 8, "192.0.2.3"), full);
        assert_eq!(door.counts(), (6, 0));
        door.leave(6, source("192.0.2.2"));
        assert_eq!(come(&mut door, 9, "192.0.2.3"), Verdict::Admit);
        // The next one finds that stranger in its way.
        assert_eq!(come(&mut door, 10, "192.0.2.4"), Verdict::Instead(9));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_and_what_is_gone_leaves_nothing() {
        let mut door = Doorkeeper::new(LIMITS);
        assert_eq!(come(&mut door, 1, "2001:db8::1"), Verdict::Admit);
        assert_eq!(come(&mut door, 2, "2001:db8::2"), Verdict::Admit);
        assert_eq!(come(&mut door, 3, "2001:db8::3"), Verdict::Instead(1));
        assert_eq!(come(&mut door, 4, "2001:db8:0:1::3"), Verdict::Admit);
        for (number, from) in [(2, "2001:db8::"), (3, "2001:db8::"), (4, "2001:db8:0:1::")] {
            door.leave(number, source(from));
        }
        assert_eq!(door.counts(), (0, 0));
        assert!(door.sources.is_empty() && door.strangers.is_empty());
    }
}
