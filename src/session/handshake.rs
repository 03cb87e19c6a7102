//! The client's side of a connection until its StartupMessage or CancelRequest: encryption requests, and who is refused before the
//! server is asked. Sans-io; `net` performs the [`Step`]s.
//!
//! Invariants: each encryption request is answered at most once; nothing that came in clear before a TLS handshake is ever taken for
//! something that came through it (CVE-2021-23222); a client that must use TLS never gets further without.
//! Deliberately absent: authentication (relayed by [`super::Session`]) and the answer NegotiateProtocolVersion (the server's own).

use crate::wire::sqlstate::SqlState;
use crate::wire::startup::{self, CancelRequest, MAX_NAME_LENGTH, Opening, StartupError, StartupMessage};
use bytes::{BufMut, Bytes, BytesMut};

/// The ALPN protocol of PostgreSQL (documentation, 55.2.11).
pub const ALPN: &[u8] = b"postgresql";

/// Parameters of which the server takes the last, and that decide on rights: given twice, somebody tries to have pgward and the server
/// read them differently. No driver does that.
const ONCE: [&str; 4] = ["user", "database", "options", "replication"];

/// First byte of a TLS record that carries a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// Whether TLS is offered to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsOffer {
    /// No.
    Off,
    /// Yes.
    Allow,
    /// Yes, and nothing else.
    Require,
}

/// A fatal error that pgward tells the client in place of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fatal {
    /// SQLSTATE
    pub sqlstate: SqlState,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Fatal {
    /// An error without a hint.
    pub fn new(sqlstate: SqlState, message: impl Into<String>) -> Self {
        Self {
            sqlstate,
            message: message.into(),
            hint: None,
        }
    }
    /// Adds a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// As an ErrorResponse.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64 + self.message.len());
        out.put_u8(b'E');
        out.put_u32(0);
        let mut field = |tag: u8, value: &[u8]| {
            out.put_u8(tag);
            // A NUL would end the field early.
            out.extend(value.iter().map(|b| if *b == 0 { b'?' } else { *b }));
            out.put_u8(0);
        };
        field(b'S', b"FATAL");
        field(b'V', b"FATAL");
        field(b'C', &self.sqlstate.0);
        field(b'M', self.message.as_bytes());
        if let Some(hint) = &self.hint {
            field(b'H', hint.as_bytes());
        }
        out.put_u8(0);
        let length = (out.len() - 1) as u32;
        out[1..5].copy_from_slice(&length.to_be_bytes());
        out.freeze()
    }
}

impl From<StartupError> for Fatal {
    fn from(error: StartupError) -> Self {
        let sqlstate = match error {
            // The server's own choice.
            StartupError::UnsupportedProtocol { .. } => SqlState::FEATURE_NOT_SUPPORTED,
            StartupError::Length | StartupError::UnknownRequest { .. } | StartupError::Layout => {
                SqlState::PROTOCOL_VIOLATION
            }
        };
        Fatal::new(sqlstate, error.to_string())
    }
}

/// What to do next for the client.
#[derive(Clone, Debug)]
pub enum Step {
    /// Read more.
    Read,
    /// Send this byte, then go on.
    Answer(u8),
    /// Send `S`, then do a TLS handshake; afterwards call [`Handshake::secured`].
    AnswerAndSecure,
    /// Do a TLS handshake, starting with the bytes read so far; afterwards call [`Handshake::secured`].
    Secure,
    /// The client wants a session.
    Startup(StartupMessage),
    /// The client wants a statement cancelled; no answer.
    Cancel(CancelRequest),
    /// Send this, then close.
    Refuse(Fatal),
    /// Close without a word: the client could not read it.
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No byte seen yet.
    Fresh,
    /// In clear, after an encryption request was answered `N`.
    Clear,
    /// A TLS handshake is under way.
    Securing { direct: bool },
    /// Within TLS.
    Secured { direct: bool },
    /// A final step was given.
    Done,
}

/// The state machine.
#[derive(Debug)]
pub struct Handshake {
    offer: TlsOffer,
    state: State,
    ssl_answered: bool,
    gss_answered: bool,
}

impl Handshake {
    /// For a client that has just connected.
    pub fn new(offer: TlsOffer) -> Self {
        Self {
            offer,
            state: State::Fresh,
            ssl_answered: false,
            gss_answered: false,
        }
    }

    /// Looks at what came. Call it again after performing the step, until a final one.
    pub fn advance(&mut self, input: &mut BytesMut) -> Step {
        if self.state == State::Fresh && input.first() == Some(&TLS_HANDSHAKE) {
            if self.offer == TlsOffer::Off {
                return self.finish(Step::Close);
            }
            self.state = State::Securing { direct: true };
            return Step::Secure;
        }
        let opening = match startup::parse(input) {
            Ok(Some(opening)) => opening,
            Ok(None) => return Step::Read,
            // As the server does: this is no client of PostgreSQL's, or one that ended before it began (node-postgres then sends a Terminate).
            Err(StartupError::Length) => return self.finish(Step::Close),
            Err(error) => return self.refuse(error.into()),
        };
        match opening {
            Opening::Ssl if self.ssl_answered => self.repeated("SSLRequest"),
            Opening::GssEnc if self.gss_answered => self.repeated("GSSENCRequest"),
            Opening::Ssl | Opening::GssEnc if !input.is_empty() => self.refuse(
                Fatal::new(
                    SqlState::PROTOCOL_VIOLATION,
                    "received unencrypted data behind an encryption request",
                )
                .hint("This is either a bug of the client's software or an attempted man-in-the-middle attack."),
            ),
            Opening::Ssl => {
                self.ssl_answered = true;
                if self.offer == TlsOffer::Off || self.is_secured() {
                    self.leave_fresh();
                    return Step::Answer(b'N');
                }
                // As in the server, GSS encryption may follow only where TLS was turned down.
                self.gss_answered = true;
                self.state = State::Securing { direct: false };
                Step::AnswerAndSecure
            }
            Opening::GssEnc => {
                self.gss_answered = true;
                self.leave_fresh();
                Step::Answer(b'N')
            }
            // Libpq before 17 sends cancel requests in clear whatever the session uses, and the server takes them so.
            Opening::Cancel(cancel) => self.finish(Step::Cancel(cancel)),
            Opening::Startup(message) => self.startup(message),
        }
    }

    /// The TLS handshake is done. `Err` is a final step.
    pub fn secured(&mut self, alpn: Option<&[u8]>) -> Result<(), Step> {
        let direct = matches!(self.state, State::Securing { direct: true });
        if direct && alpn != Some(ALPN) {
            return Err(self.refuse(
                Fatal::new(
                    SqlState::PROTOCOL_VIOLATION,
                    "received direct SSL connection request without ALPN protocol negotiation extension",
                )
                .hint("Direct TLS needs the ALPN protocol \"postgresql\"."),
            ));
        }
        self.state = State::Secured { direct };
        Ok(())
    }

    /// Whether the client speaks through TLS.
    pub fn is_secured(&self) -> bool {
        matches!(self.state, State::Secured { .. })
    }

    fn startup(&mut self, message: StartupMessage) -> Step {
        if self.offer == TlsOffer::Require && !self.is_secured() {
            return self.refuse(
                Fatal::new(SqlState::INVALID_AUTHORIZATION, "connection requires TLS")
                    .hint("Connect with sslmode=require or stricter."),
            );
        }
        let times = |name: &str| message.parameters.iter().filter(|(n, _)| n == name).count();
        if let Some(name) = ONCE.iter().find(|name| times(name) > 1) {
            return self.refuse(Fatal::new(
                SqlState::PROTOCOL_VIOLATION,
                format!("start-up parameter \"{name}\" was given more than once"),
            ));
        }
        if message.role().is_none() {
            return self.refuse(Fatal::new(
                SqlState::INVALID_AUTHORIZATION,
                "no PostgreSQL user name specified in startup packet",
            ));
        }
        // The server cuts longer names silently: it would open another database than the one whose rules pgward looks up.
        if message.database().is_some_and(|name| name.len() > MAX_NAME_LENGTH) {
            return self.refuse(
                Fatal::new(
                    SqlState::INVALID_AUTHORIZATION,
                    format!("database name is longer than {MAX_NAME_LENGTH} bytes"),
                )
                .hint("Give the name as it stands in pg_database."),
            );
        }
        self.finish(Step::Startup(message))
    }

    fn repeated(&mut self, what: &str) -> Step {
        self.refuse(Fatal::new(
            SqlState::PROTOCOL_VIOLATION,
            format!("{what} came a second time or after encryption was settled"),
        ))
    }

    fn leave_fresh(&mut self) {
        if self.state == State::Fresh {
            self.state = State::Clear;
        }
    }

    fn refuse(&mut self, fatal: Fatal) -> Step {
        self.finish(Step::Refuse(fatal))
    }

    fn finish(&mut self, step: Step) -> Step {
        // `is_secured` stays answerable after the last step.
        if !self.is_secured() {
            self.state = State::Done;
        }
        step
    }
}

#[cfg(test)]
mod tests;
