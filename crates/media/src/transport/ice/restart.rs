//! ICE restarts (RFC 8445 §9): new credentials on the same connection, for a peer that is somewhere else now.
//!
//! What the keys and the streams are is not touched. Media goes on over the path in use until one is proven under the new
//! credentials; the first that is takes its place without a nomination, as at the beginning. With that the old
//! credentials end. They end as well when nothing came of the new ones for a consent, unless the path in use
//! still has its own: an answer that was lost with the signaling socket is no reason to end a call.

use super::Ice;
use super::generations::Generation;
use crate::transport::path::Path;
use std::time::Instant;

impl Ice {
    /// Has new credentials of ours from now on; the peer's come with [`Ice::set_remote`].
    pub(crate) fn restart(&mut self, ufrag: String, pwd: String) {
        if let Some(unproven) = self.generations.begin(ufrag, pwd) {
            self.retire(&unproven);
        }
    }

    /// When [`Ice::end_overlap`] has something to do.
    pub(crate) fn overlap_ends(&self) -> Option<Instant> {
        self.generations.ends()
    }

    /// Ends the old credentials whose time is over.
    pub(crate) fn end_overlap(&mut self, now: Instant) {
        if self.generations.ends().is_none_or(|at| at > now) {
            return;
        }
        let in_use = self.selected.and_then(|address| self.known(address));
        match in_use {
            Some(path) if path.has_consent(now) => {
                let until = path.consent + super::CONSENT_TIMEOUT;
                self.generations.extend(until);
            }
            _ => self.end_previous(now),
        }
    }

    /// Ends the old credentials once the path in use is proven under the new ones.
    pub(super) fn end_if_proven(&mut self, now: Instant) {
        let newest = self.generations.newest().number;
        let in_use = self.selected.and_then(|address| self.known(address));
        if in_use.is_some_and(|path| path.proven_under == Some(newest)) {
            self.end_previous(now);
        }
    }

    fn end_previous(&mut self, now: Instant) {
        let Some(previous) = self.generations.end_previous() else {
            return;
        };
        self.retire(&previous);
        if let Some(selected) = self.selected
            && !self.has_consent(now, selected)
        {
            self.selected = None;
            self.lost_at = Some(now);
        }
    }

    /// These credentials are good no more. An address that was proven under older ones which are goes back to those.
    fn retire(&mut self, ended: &Generation) {
        let previous = self.generations.previous().map(|it| it.number);
        for path in &mut self.paths {
            if path.generation != ended.number {
                continue;
            }
            match previous {
                Some(previous) if path.proven_under == Some(previous) => path.go_back(previous),
                _ => path.retire(),
            }
        }
        self.ended.push(ended.local_ufrag.clone());
    }

    /// Whether `address` was proven under newer credentials than another, or older ones.
    pub(super) fn compare_age(&self, address: Path, other: Path) -> std::cmp::Ordering {
        let under = |address| self.known(address).and_then(|path| path.proven_under);
        under(address).cmp(&under(other))
    }

    /// Leaves a path that is silent for one on which the peer answered since. True: media goes elsewhere from now on.
    pub(crate) fn leave_silent(&mut self, now: Instant, jitter: f64) -> bool {
        let Some(selected) = self.selected.filter(|_| self.is_silent()) else {
            return false;
        };
        let last = self.known(selected).map(|path| path.consent);
        let others = self.paths.iter().filter(|path| path.has_consent(now));
        let later = others.filter(|path| Some(path.consent) > last);
        let latest = later.max_by_key(|path| path.consent);
        latest
            .map(|path| path.address)
            .is_some_and(|address| self.select(now, jitter, address))
    }

    /// Whether the path in use is silent, said once until a peer is proven to be there or on another. Who answers no
    /// checks is not judged.
    pub(crate) fn take_silence(&mut self) -> bool {
        let is_silent = self.is_silent();
        let is_new = is_silent && !self.told_silent;
        self.told_silent = is_silent;
        is_new
    }
}

#[cfg(test)]
mod tests;
