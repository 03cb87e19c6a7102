//! What comes before the first typed frame, from a peer that nobody knows yet.
use bytes::BytesMut;
use pgward::wire::startup::{Opening, parse};

/// One input.
pub fn run(data: &[u8]) {
    let mut input = BytesMut::from(data);
    while let Ok(Some(opening)) = parse(&mut input) {
        if let Opening::Startup(message) = opening {
            message.role();
            message.database();
            message.asks_for_replication();
            message.minor();
        }
    }
    // Nothing is taken of what is not whole, and nothing invented.
    assert!(input.len() <= data.len());
    assert!(data.ends_with(&input));
}
