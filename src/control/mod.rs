//! pgward's own log-in at the server: the connection, the stored keyring and the column ids in the control database, the storage
//! domain in the application database.
