//! The credentials of a transport. An ICE restart (RFC 8445 §9) gives both sides new ones on the same connection; the
//! ones before stay good until a path is proven under the new ones, so that media goes on meanwhile. There are two
//! generations at most, whatever is asked for: another restart takes the place of one that was not proven yet.

use super::{CONSENT_TIMEOUT, Remote};
use std::time::Instant;

/// One generation of credentials.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    /// They are counted; a newer one is a higher one.
    pub(super) number: u32,
    pub(super) local_ufrag: String,
    pub(super) local_pwd: String,
    remote: Option<Remote>,
    /// USERNAME of our checks (RFC 8445 §7.2.2), made once; empty until the peer is named.
    username: String,
}

impl Generation {
    fn new(number: u32, local_ufrag: String, local_pwd: String) -> Self {
        Generation {
            number,
            local_ufrag,
            local_pwd,
            remote: None,
            username: String::new(),
        }
    }

    fn name(&mut self, remote: Remote) {
        self.username = format!("{}:{}", remote.ufrag, self.local_ufrag);
        self.remote = Some(remote);
    }

    /// Whether a check's USERNAME (`ours:theirs`) names this pair. Before the peer is named, any `theirs` will do: our
    /// password is what authenticates.
    fn is_meant_by(&self, ours: &str, theirs: &str) -> bool {
        let remote = self.remote.as_ref();
        ours == self.local_ufrag && remote.is_none_or(|named| named.ufrag == theirs)
    }

    /// USERNAME and password of our checks, once the peer is named.
    pub(super) fn of_checks(&self) -> Option<(&str, &str)> {
        let remote = self.remote.as_ref()?;
        Some((&self.username, &remote.pwd))
    }

    /// Bytes of a check of ours, once the peer is named.
    pub(super) fn check_len(&self) -> Option<usize> {
        let (username, _) = self.of_checks()?;
        Some(crate::wire::stun::binding_request_len(username.len()))
    }
}

/// Those that are good now.
#[derive(Clone, Debug)]
pub(super) struct Generations {
    newest: Generation,
    previous: Option<Generation>,
    /// When the previous one ends at the latest; none before both sides know the newest.
    ends: Option<Instant>,
    made: u32,
}

impl Generations {
    pub(super) fn new(local_ufrag: String, local_pwd: String) -> Self {
        Generations {
            newest: Generation::new(1, local_ufrag, local_pwd),
            previous: None,
            ends: None,
            made: 1,
        }
    }

    /// Whether these credentials are still good and the peer's side of them is known, so that it can be asked.
    pub(super) fn is_named(&self, number: u32) -> bool {
        self.get(number).is_some_and(|it| it.remote.is_some())
    }

    pub(super) fn newest(&self) -> &Generation {
        &self.newest
    }

    pub(super) fn previous(&self) -> Option<&Generation> {
        self.previous.as_ref()
    }

    pub(super) fn get(&self, number: u32) -> Option<&Generation> {
        if self.newest.number == number {
            return Some(&self.newest);
        }
        self.previous.as_ref().filter(|it| it.number == number)
    }

    /// Whose credentials a check's USERNAME names (RFC 8445 §7.2.2).
    pub(super) fn meant_by(&self, username: &str) -> Option<&Generation> {
        let (ours, theirs) = username.split_once(':')?;
        let all = [Some(&self.newest), self.previous.as_ref()];
        let mut all = all.into_iter().flatten();
        all.find(|it| it.is_meant_by(ours, theirs))
    }

    /// Our user fragments that are good now.
    pub(super) fn ufrags(&self) -> impl Iterator<Item = &str> {
        let all = [Some(&self.newest), self.previous.as_ref()];
        all.into_iter().flatten().map(|it| it.local_ufrag.as_str())
    }

    /// New credentials of ours. Returns the generation that ended for it: the one of a restart that was not proven.
    pub(super) fn begin(&mut self, local_ufrag: String, local_pwd: String) -> Option<Generation> {
        self.made += 1;
        let newest = Generation::new(self.made, local_ufrag, local_pwd);
        let replaced = std::mem::replace(&mut self.newest, newest);
        self.ends = None;
        if self.previous.is_some() {
            return Some(replaced);
        }
        self.previous = Some(replaced);
        None
    }

    /// The peer's credentials of the newest: from now on the previous one may end.
    pub(super) fn name(&mut self, now: Instant, remote: Remote) {
        self.newest.name(remote);
        if self.previous.is_some() {
            self.ends = Some(now + CONSENT_TIMEOUT);
        }
    }

    /// When the previous one may end.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// It goes on until then.
    pub(super) fn extend(&mut self, until: Instant) {
        self.ends = Some(until);
    }

    /// The previous one ends.
    pub(super) fn end_previous(&mut self) -> Option<Generation> {
        self.ends = None;
        self.previous.take()
    }
}
