//! The SQLSTATEs that pgward itself raises, each in one place (PostgreSQL documentation, appendix A).

use std::fmt;

/// A five-character SQLSTATE.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SqlState(pub [u8; 5]);

impl SqlState {
    /// The code as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl SqlState {
            $($(#[$doc])* pub const $name: SqlState = SqlState(*$code);)*
        }
    };
}

states! {
    /// feature_not_supported: pgward can't carry the statement out exactly.
    FEATURE_NOT_SUPPORTED = b"0A000";
    /// protocol_violation
    PROTOCOL_VIOLATION = b"08P01";
    /// connection_failure
    CONNECTION_FAILURE = b"08006";
    /// sqlclient_unable_to_establish_sqlconnection: the upstream server can't be reached.
    CANNOT_CONNECT = b"08001";
    /// string_data_right_truncation
    STRING_TRUNCATION = b"22001";
    /// numeric_value_out_of_range
    NUMERIC_OUT_OF_RANGE = b"22003";
    /// invalid_datetime_format
    INVALID_DATETIME_FORMAT = b"22007";
    /// datetime_field_overflow
    DATETIME_OVERFLOW = b"22008";
    /// character_not_in_repertoire: invalid byte sequence for the encoding.
    NOT_IN_REPERTOIRE = b"22021";
    /// invalid_text_representation
    INVALID_TEXT = b"22P02";
    /// invalid_binary_representation
    INVALID_BINARY = b"22P03";
    /// invalid_authorization_specification
    INVALID_AUTHORIZATION = b"28000";
    /// insufficient_privilege: the policy grants this handler no such use.
    INSUFFICIENT_PRIVILEGE = b"42501";
    /// syntax_error
    SYNTAX_ERROR = b"42601";
    /// datatype_mismatch
    DATATYPE_MISMATCH = b"42804";
    /// indeterminate_datatype
    INDETERMINATE_DATATYPE = b"42P18";
    /// program_limit_exceeded: a cap of pgward's, to be raised in the configuration where it says so.
    PROGRAM_LIMIT_EXCEEDED = b"54000";
    /// too_many_connections
    TOO_MANY_CONNECTIONS = b"53300";
    /// admin_shutdown
    ADMIN_SHUTDOWN = b"57P01";
    /// cannot_connect_now
    CANNOT_CONNECT_NOW = b"57P03";
    /// io_error: the journal can't be written.
    IO_ERROR = b"58030";
    /// config_file_error
    CONFIG_FILE_ERROR = b"F0000";
    /// internal_error
    INTERNAL_ERROR = b"XX000";
    /// data_corrupted: an envelope does not open.
    DATA_CORRUPTED = b"XX001";
}
