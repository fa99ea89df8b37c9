//! Who says hello in DTLS: peers that wait for the router to do so.

use crate::Sim;
use parlour_media::Command;
use parlour_media::dtls::DtlsRole;

impl Sim {
    /// Tells the router who the peer is, with the router's side of the handshake; see [`Sim::name_peer`].
    pub fn name_peer_as(&mut self, index: usize, fingerprint: [u8; 32], role: DtlsRole) {
        let peer = &mut self.peers[index];
        let theirs = peer.rtc.direct_api().local_ice_credentials();
        let transport = peer.transport;
        self.command(Command::SetRemote {
            transport,
            remote_ufrag: theirs.ufrag,
            remote_pwd: theirs.pass,
            fingerprint,
            role,
        });
    }

    /// A peer whose transport is there, that waits for a ClientHello and that the router does not know yet.
    pub fn add_unnamed_passive_peer(&mut self) -> usize {
        self.add_unnamed(false)
    }

    /// A peer that begins to connect and waits for the router's ClientHello; returns its index.
    pub fn add_passive_peer(&mut self) -> usize {
        let index = self.add_unnamed_passive_peer();
        let fingerprint = self.peers[index].fingerprint;
        self.name_peer_as(index, fingerprint, DtlsRole::Client);
        index
    }
}
