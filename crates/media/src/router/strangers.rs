//! Addresses from which DTLS came before a check made them known. No honest peer speaks before its check was answered,
//! so somebody else does in its name, and its ClientHello is taken with care.

use crate::transport::path::Path;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// Places in the table, 8 bytes each. A newer address takes the place of an older one.
const PLACES: usize = 1024;

pub(crate) struct Strangers {
    /// Has taken in the secret, so that nobody can choose addresses that push out a certain one.
    hasher: DefaultHasher,
    places: Vec<u64>,
}

impl Strangers {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        let mut hasher = DefaultHasher::new();
        secret.hash(&mut hasher);
        Strangers {
            hasher,
            places: vec![0; PLACES],
        }
    }

    /// DTLS came from an address that nobody has.
    pub(crate) fn note(&mut self, path: Path) {
        let (place, mark) = self.place(path);
        self.places[place] = mark;
    }

    /// Whether some came from there before it was known. It is told once.
    pub(crate) fn take(&mut self, path: Path) -> bool {
        let (place, mark) = self.place(path);
        let spoke = self.places[place] == mark;
        if spoke {
            self.places[place] = 0;
        }
        spoke
    }

    fn place(&self, path: Path) -> (usize, u64) {
        let mut hasher = self.hasher.clone();
        path.hash(&mut hasher);
        let hash = hasher.finish();
        (hash as usize % PLACES, hash | 1 << 63)
    }
}

#[cfg(test)]
mod tests {
    use super::Strangers;
    use std::net::SocketAddr;

    #[test]
    fn who_spoke_too_early_is_told_once_and_nobody_is_taken_for_another() {
        let mut strangers = Strangers::new(&[7; 32]);
        let path = |port: u16| SocketAddr::from(([192, 0, 2, 7], port)).into();
        for port in 1..100 {
            strangers.note(path(port));
        }
        let told = |strangers: &mut Strangers, from: u16| {
            (from..from + 99)
                .filter(|port| strangers.take(path(*port)))
                .count()
        };
        assert_eq!(told(&mut strangers, 1000), 0);
        assert!(told(&mut strangers, 1) > 80);
        assert_eq!(told(&mut strangers, 1), 0);
    }
}
