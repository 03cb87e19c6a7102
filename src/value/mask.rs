//! Masks: typed stand-ins that show what a purpose needs and no more.

use super::{LogicalType, Plaintext};

/// The mask of a category. The result always has the column's own type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mask {
    /// `k***@example.com`
    Email,
    /// First character kept: `홍**`.
    Name,
    /// All but the last four digits: `***-****-1234`.
    Phone,
    /// The first two characters kept.
    PostalCode,
    /// The host part zeroed: `203.0.113.0`.
    IpAddress,
    /// First of January of the same year.
    Date,
    /// Number: zero.
    Number,
    /// Anything: `***` for text, the type's neutral value otherwise.
    General,
}

/// Writes the masked form of a canonical value, canonical itself, into `out` (cleared first). Total: every mask is defined
/// for every type (a mask that doesn't fit the type falls back to [`Mask::General`]); it never panics on foreign bytes.
pub fn mask(_mask: Mask, _ty: LogicalType, _canonical: &[u8], _out: &mut Plaintext) {
    todo!()
}
