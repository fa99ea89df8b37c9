//! The checks of a peer with one candidate pair: it is in control and nominates with each (RFC 8445 §8.1.1, and
//! "aggressive" in RFC 5245 §8.1.1.2, which a lite peer takes as well).

use parlour_media::num::Rng;
use parlour_media::stun::{self, BindingRequest, MAX_WRITTEN_LEN, StunMessage};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The first check is repeated after so long, and later ones after twice that each time, up to `SLOWEST`.
const FIRST_REPEAT: Duration = Duration::from_millis(50);
const SLOWEST: Duration = Duration::from_millis(500);
/// An answered pair is checked again for consent (RFC 7675 §5.1).
const CONSENT: Duration = Duration::from_secs(5);
/// Priority of a host candidate (RFC 8445 §5.1.2.1).
const PRIORITY: u32 = 0x7eff_ffff;

/// Room for a request with the longest user names there are (RFC 8445 §15.4 allows 256 characters each).
const REQUEST: usize = MAX_WRITTEN_LEN + 520;

pub(crate) struct Ice {
    local_pwd: String,
    remote_pwd: String,
    username: String,
    remote: SocketAddr,
    rng: Rng,
    tie_breaker: u64,
    pub(crate) answered: bool,
    repeat: Duration,
    pub(crate) next: Instant,
}

impl Ice {
    pub(crate) fn new(
        local: (&str, &str),
        remote: (&str, &str),
        address: SocketAddr,
        seed: u64,
        now: Instant,
    ) -> Ice {
        let mut rng = Rng::new(seed);
        Ice {
            local_pwd: local.1.into(),
            remote_pwd: remote.1.into(),
            username: format!("{}:{}", remote.0, local.0),
            remote: address,
            tie_breaker: rng.next_u64(),
            rng,
            answered: false,
            repeat: FIRST_REPEAT,
            next: now,
        }
    }

    /// Sends the check that is due.
    pub(crate) fn on_timer(&mut self, now: Instant, mut send: impl FnMut(&[u8])) {
        if now < self.next {
            return;
        }
        let mut transaction = [0; 12];
        transaction[..8].copy_from_slice(&self.rng.next_u64().to_be_bytes());
        let request = BindingRequest {
            username: &self.username,
            priority: PRIORITY,
            tie_breaker: self.tie_breaker,
            controlling: true,
            nominate: true,
        };
        let mut buffer = [0; REQUEST];
        let pwd = self.remote_pwd.as_bytes();
        let len = stun::write_binding_request(&mut buffer, transaction, &request, pwd);
        send(&buffer[..len]);
        self.next = now + if self.answered { CONSENT } else { self.repeat };
        self.repeat = (self.repeat * 2).min(SLOWEST);
    }

    /// Takes in a message of the server's: answers its checks, and notes that ours are answered. The server sees what
    /// address ours come from; an answer with the right password is from it, whichever of our checks it is for.
    pub(crate) fn on_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        mut send: impl FnMut(&[u8]),
    ) {
        let Ok(message) = StunMessage::parse(datagram) else {
            return;
        };
        if message.is_binding_request() && message.verify_integrity(self.local_pwd.as_bytes()) {
            let mut buffer = [0; MAX_WRITTEN_LEN];
            let len = stun::write_binding_success(
                &mut buffer,
                message.transaction_id(),
                self.remote,
                self.local_pwd.as_bytes(),
            );
            send(&buffer[..len]);
        } else if message.is_binding_success()
            && message.verify_integrity(self.remote_pwd.as_bytes())
            && !self.answered
        {
            self.answered = true;
            self.next = now + CONSENT;
        }
    }
}
