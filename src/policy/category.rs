//! The categories that every policy knows without declaring them (docs/RECORDS.md, words), each with its default mask.
//! `[categories.<name>]` changes a mask or adds a category of one's own.

use crate::value::Mask;

/// Name, default mask and meaning of each well-known category, in the order of docs/RECORDS.md.
pub const WELL_KNOWN: [(&str, Mask, &str); 18] = [
    ("email", Mask::Email, "e-mail address"),
    ("name", Mask::Name, "name of a person"),
    ("mobile-phone", Mask::Phone, "mobile or other phone number"),
    ("organisation", Mask::General, "employer, school, association"),
    ("organisation-type", Mask::General, "kind of organisation"),
    ("country", Mask::General, "country"),
    ("postal-code", Mask::PostalCode, "postal code"),
    ("service-use", Mask::General, "how and when a service was used"),
    ("access-log", Mask::General, "log of a data subject's own accesses"),
    ("cookie", Mask::General, "cookie or device identifier"),
    ("access-ip", Mask::IpAddress, "address from which a service was used"),
    ("birth-date", Mask::Date, "date of birth"),
    ("national-id", Mask::General, "national identification number"),
    ("passport", Mask::General, "passport number"),
    ("licence", Mask::General, "driving licence number"),
    ("card", Mask::General, "payment card number"),
    ("account", Mask::General, "bank account number"),
    ("biometric", Mask::General, "biometric feature"),
];

/// The default mask of a well-known category.
pub fn default_mask(name: &str) -> Option<Mask> {
    WELL_KNOWN
        .iter()
        .find(|(known, ..)| *known == name)
        .map(|(_, mask, _)| *mask)
}
