//! The messages that come before the first typed frame: SSLRequest, GSSENCRequest, CancelRequest, StartupMessage.

use bytes::Bytes;

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
