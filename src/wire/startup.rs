//! The messages that come before the first typed frame: SSLRequest, GSSENCRequest, CancelRequest, StartupMessage
//! (PostgreSQL documentation, 55.7; `ProcessStartupPacket` in the server's source for what it accepts).
//!
//! Invariants: nothing is allocated before the length is known to be within the server's own cap; a message is read exactly as the
//! server reads it (terminator as last byte, last duplicate wins), so that proxy and server never disagree about who asks for what.
//! Deliberately absent: deciding (that is `session::handshake`).

use bytes::{Buf, Bytes, BytesMut};

/// Longest packet before the first typed frame, its length word left out (`MAX_STARTUP_PACKET_LENGTH`).
pub const MAX_STARTUP_LENGTH: usize = 10_000;
/// Shortest and longest secret of a cancel key (4 in protocol 3.0, up to 256 in 3.2).
pub const CANCEL_SECRET_LENGTHS: std::ops::RangeInclusive<usize> = 4..=256;
/// Longest database name that the server does not silently cut (`NAMEDATALEN - 1`).
pub const MAX_NAME_LENGTH: usize = 63;

const SPECIAL_MAJOR: u16 = 1234;
const CANCEL_MINOR: u16 = 5678;
const SSL_MINOR: u16 = 5679;
const GSSENC_MINOR: u16 = 5680;
const SUPPORTED_MAJOR: u16 = 3;
/// Length word and code word.
const HEADER: usize = 8;

/// A StartupMessage, parsed, its bytes kept as they came (order and bytes of the parameters are forwarded unchanged).
#[derive(Clone, Debug)]
pub struct StartupMessage {
    /// The whole message, length included.
    pub raw: Bytes,
    /// Protocol version: major << 16 | minor.
    pub protocol: u32,
    /// Parameters in order.
    pub parameters: Vec<(String, String)>,
}

impl StartupMessage {
    /// The value of a parameter; of several, the last, as the server has it.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
    /// The role that logs in; `None` is an error that the server reports.
    pub fn role(&self) -> Option<&str> {
        self.parameter("user").filter(|role| !role.is_empty())
    }
    /// The database: the role's name where left out or empty.
    pub fn database(&self) -> Option<&str> {
        self.parameter("database")
            .filter(|name| !name.is_empty())
            .or_else(|| self.role())
    }
    /// Whether the client may get a walsender (`replication=true|database`, and every other spelling that the server takes for true).
    /// One occurrence that is not a clear "no" suffices.
    pub fn asks_for_replication(&self) -> bool {
        self.parameters
            .iter()
            .any(|(key, value)| key == "replication" && !is_false(value))
    }
    /// Minor protocol version.
    pub fn minor(&self) -> u16 {
        (self.protocol & 0xFFFF) as u16
    }
}

/// What the server's `parse_bool` takes for false.
fn is_false(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    match value.as_str() {
        "" | "o" => false,
        "0" => true,
        value => "false".starts_with(value) || "no".starts_with(value) || "off".starts_with(value),
    }
}

/// A CancelRequest. No Debug: the secret is one.
#[derive(Clone, PartialEq, Eq)]
pub struct CancelRequest {
    /// Process id as BackendKeyData gave it.
    pub process_id: u32,
    /// Secret, 4 to 256 bytes.
    pub secret: Bytes,
}

impl std::fmt::Debug for CancelRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelRequest")
            .field("process_id", &self.process_id)
            .finish_non_exhaustive()
    }
}

/// One message that comes before the first typed frame.
#[derive(Clone, Debug)]
pub enum Opening {
    /// SSLRequest
    Ssl,
    /// GSSENCRequest
    GssEnc,
    /// CancelRequest
    Cancel(CancelRequest),
    /// StartupMessage
    Startup(StartupMessage),
}

/// Why an opening message is none. The client is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// Shorter than its header or longer than the server's cap.
    #[error("invalid length of startup packet")]
    Length,
    /// Major 1234 with a minor that means nothing.
    #[error("unknown request code 1234.{minor}")]
    UnknownRequest {
        /// Its lower half.
        minor: u16,
    },
    /// A protocol version other than 3.
    #[error("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2")]
    UnsupportedProtocol {
        /// Asked for.
        major: u16,
        /// Asked for.
        minor: u16,
    },
    /// Names and values do not end in one terminator as the last byte.
    #[error("invalid startup packet layout: expected terminator as last byte")]
    Layout,
}

/// Takes one message from the front of `input`; `None` while it is incomplete (nothing is taken then).
pub fn parse(input: &mut BytesMut) -> Result<Option<Opening>, StartupError> {
    let Some(length) = word(input, 0) else {
        return Ok(None);
    };
    let length = length as usize;
    if !(HEADER..=MAX_STARTUP_LENGTH + 4).contains(&length) {
        return Err(StartupError::Length);
    }
    let Some(code) = word(input, 4) else {
        return Ok(None);
    };
    let (major, minor) = ((code >> 16) as u16, (code & 0xFFFF) as u16);
    // What can be known from the header is said at once: a stranger does not keep us waiting for a body.
    match (major, minor) {
        (SPECIAL_MAJOR, SSL_MINOR | GSSENC_MINOR) if length != HEADER => return Err(StartupError::Length),
        (SPECIAL_MAJOR, SSL_MINOR | GSSENC_MINOR) => {}
        (SPECIAL_MAJOR, CANCEL_MINOR) => {
            if !CANCEL_SECRET_LENGTHS.contains(&length.saturating_sub(HEADER + 4)) {
                return Err(StartupError::Length);
            }
        }
        (SPECIAL_MAJOR, minor) => return Err(StartupError::UnknownRequest { minor }),
        (SUPPORTED_MAJOR, _) => {}
        (major, minor) => return Err(StartupError::UnsupportedProtocol { major, minor }),
    }
    if input.len() < length {
        return Ok(None);
    }
    let raw = input.split_to(length).freeze();
    let mut body = raw.slice(HEADER..);
    Ok(Some(match (major, minor) {
        (SPECIAL_MAJOR, SSL_MINOR) => Opening::Ssl,
        (SPECIAL_MAJOR, GSSENC_MINOR) => Opening::GssEnc,
        (SPECIAL_MAJOR, _) => {
            let process_id = word(&body, 0).ok_or(StartupError::Length)?;
            body.advance(4);
            Opening::Cancel(CancelRequest {
                process_id,
                secret: body,
            })
        }
        _ => Opening::Startup(StartupMessage {
            parameters: parameters(&body)?,
            protocol: code,
            raw,
        }),
    }))
}

/// Name/value pairs, each NUL-terminated, and one NUL as the last byte.
fn parameters(mut body: &[u8]) -> Result<Vec<(String, String)>, StartupError> {
    let mut parameters = Vec::new();
    loop {
        let name = cstring(&mut body)?;
        if name.is_empty() {
            return if body.is_empty() {
                Ok(parameters)
            } else {
                Err(StartupError::Layout)
            };
        }
        let value = cstring(&mut body)?;
        parameters.push((lossy(name), lossy(value)));
    }
}

/// Cuts a NUL-terminated string off the front.
fn cstring<'a>(body: &mut &'a [u8]) -> Result<&'a [u8], StartupError> {
    let end = body.iter().position(|b| *b == 0).ok_or(StartupError::Layout)?;
    let (string, rest) = body.split_at(end);
    *body = rest.get(1..).ok_or(StartupError::Layout)?;
    Ok(string)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}

/// An SSLRequest, as pgward itself sends it upstream.
pub fn ssl_request() -> [u8; 8] {
    request(SSL_MINOR)
}

fn request(minor: u16) -> [u8; 8] {
    let code = (u32::from(SPECIAL_MAJOR) << 16) | u32::from(minor);
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&8u32.to_be_bytes());
    bytes[4..].copy_from_slice(&code.to_be_bytes());
    bytes
}

/// A CancelRequest, as pgward itself sends it upstream.
pub fn cancel_request(process_id: u32, secret: &[u8]) -> Bytes {
    let code = (u32::from(SPECIAL_MAJOR) << 16) | u32::from(CANCEL_MINOR);
    let mut bytes = BytesMut::with_capacity(HEADER + 4 + secret.len());
    bytes.extend_from_slice(&((HEADER + 4 + secret.len()) as u32).to_be_bytes());
    bytes.extend_from_slice(&code.to_be_bytes());
    bytes.extend_from_slice(&process_id.to_be_bytes());
    bytes.extend_from_slice(secret);
    bytes.freeze()
}

#[cfg(test)]
mod tests;
