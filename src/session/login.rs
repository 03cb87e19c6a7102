//! Start-up and authentication: relayed, not ended here; pgward stores no password. What is learned on the way: who the
//! handler is and how the server made sure.

use super::encoding::ClientEncoding;
use super::{Database, Effect, Peer, Phase, Session};
use crate::audit::Origin;
use crate::policy::{HandlerProfile, Policy};
use crate::session::CancelKey;
use crate::wire::compose::{self, Severity};
use crate::wire::frame::Malformed;
use crate::wire::read::{self, Body};
use crate::wire::sqlstate::SqlState;
use crate::wire::startup::StartupMessage;
use bytes::{BufMut, Bytes};
use std::sync::Arc;

const PLUS: &[u8] = b"SCRAM-SHA-256-PLUS";

/// What was seen of the authentication.
#[derive(Default)]
pub(super) struct Login {
    method: &'static str,
    /// The server offered channel binding, which can't be relayed through two TLS connections.
    plus_removed: bool,
    /// The next `p` message is a SASLInitialResponse.
    sasl_initial: bool,
}

/// Who connects, from the start-up parameters and the policy.
pub(super) fn identify(
    policy: &Policy,
    database: &Database,
    startup: &StartupMessage,
    peer: &Peer,
) -> (Origin, HandlerProfile) {
    let get = |name: &str| {
        startup
            .parameters
            .iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, v)| v.as_str())
    };
    let role = startup.role().unwrap_or_default();
    let purpose = purpose_option(get("options"));
    let profile = policy.handler(&database.name, role, purpose.as_deref());
    let origin = Origin {
        handler: profile.handler.clone(),
        handler_kind: profile.kind.clone(),
        login_role: profile.login_role.clone(),
        auth_method: Arc::from("unknown"),
        session_id: uuid::Uuid::now_v7(),
        client: peer.addr,
        client_cert_fp: peer.cert_fingerprint.clone(),
        application_name: get("application_name").chars().take(64).collect::<String>().into(),
        database: database.name.clone(),
        purpose: profile.purpose.clone(),
    };
    (origin, profile)
}

/// `-c pgward.purpose=…` (or `--pgward.purpose=…`) in the start-up options.
fn purpose_option(options: &str) -> Option<String> {
    let words: Vec<&str> = options.split_ascii_whitespace().collect();
    words.iter().enumerate().find_map(|(index, word)| {
        let setting = match *word {
            "-c" => words.get(index + 1).copied()?,
            word => word.strip_prefix("-c").or_else(|| word.strip_prefix("--"))?,
        };
        setting.strip_prefix("pgward.purpose=").map(str::to_owned)
    })
}

impl Session {
    pub(super) fn start(&mut self, startup: &StartupMessage) {
        if startup.asks_for_replication() && self.database.catalog.load().protects_anything() {
            compose::error(
                self.to_client.tail(),
                Severity::Fatal,
                SqlState::FEATURE_NOT_SUPPORTED,
                "replication connections to a database with protected columns are not relayed",
                None,
                Some("Replicate directly from the database server. See docs/ERRORS.md#protocol"),
            );
            self.phase = Phase::Closing;
            return;
        }
        self.to_server.put_bytes(startup.raw.clone());
    }

    /// A message of the client before the first ReadyForQuery.
    pub(super) fn login_from_client(&mut self, tag: u8, frame: &[u8]) {
        match tag {
            b'p' => {
                if std::mem::take(&mut self.login.sasl_initial) && self.login.plus_removed && wants_binding(frame) {
                    compose::error(
                        self.to_client.tail(),
                        Severity::Fatal,
                        SqlState::INVALID_AUTHORIZATION,
                        "SCRAM can't be relayed: the client would use channel binding, which can't reach through two TLS connections",
                        None,
                        Some("Set channel_binding=disable on the client. See docs/ERRORS.md#channel-binding"),
                    );
                    compose::bare(self.to_server.tail(), b'X');
                    self.close();
                    return;
                }
                self.to_server.put(frame);
            }
            b'X' => self.terminate(),
            _ => self.malformed("client", &Malformed::new("expected an authentication message")),
        }
    }

    /// A message of the server before the first ReadyForQuery.
    pub(super) fn login_from_server(&mut self, tag: u8, frame: &[u8]) -> Result<(), Malformed> {
        let body = &frame[crate::wire::frame::HEADER..];
        match tag {
            b'R' => return self.authentication(frame),
            b'K' => {
                let (process_id, secret) = read::backend_key(body)?;
                let key = CancelKey {
                    process_id,
                    secret: Bytes::copy_from_slice(secret),
                };
                // A client that asked for protocol 3.2 may have been given 3.0, where secrets have four bytes: ours is never longer than
                // the server's. The surroundings, who are given the server's key, cut it likewise.
                let own = self.cancel_secret.clone();
                let length = own.len().min(key.secret.len());
                self.effects.push_back(Effect::ServerKey(key));
                compose::backend_key(self.to_client.tail(), process_id, &own[..length]);
                return Ok(());
            }
            b'S' => self.follow(body)?,
            b'Z' => {
                self.transaction = read::ready_for_query(body)?;
                self.phase = Phase::Ready;
            }
            b'E' => {
                // The server ends the connection after an error at log-in.
                self.to_client.put(frame);
                return Ok(());
            }
            _ => {}
        }
        self.to_client.put(frame);
        self.stop_if_idle();
        Ok(())
    }

    fn authentication(&mut self, frame: &[u8]) -> Result<(), Malformed> {
        let mut body = Body::new(&frame[crate::wire::frame::HEADER..], "Authentication");
        let method = match body.u32()? {
            0 => {
                if self.login.method.is_empty() {
                    self.login.method = "trust";
                }
                let mut origin = (*self.origin).clone();
                origin.auth_method = Arc::from(self.login.method);
                self.origin = Arc::new(origin);
                self.login.method
            }
            3 => "password",
            5 => "md5",
            7 | 8 => "gss",
            9 => "sspi",
            10 => {
                self.login.sasl_initial = true;
                self.login.method = "scram-sha-256";
                let mut mechanisms = Vec::new();
                loop {
                    match body.cstr()? {
                        [] => break,
                        PLUS => self.login.plus_removed = true,
                        other => mechanisms.push(other),
                    }
                }
                body.done()?;
                crate::wire::frame::write(self.to_client.tail(), b'R', |out| {
                    out.put_u32(10);
                    for mechanism in &mechanisms {
                        compose::put_cstr(out, mechanism);
                    }
                    out.put_u8(0);
                });
                return Ok(());
            }
            _ => self.login.method,
        };
        self.login.method = method;
        self.to_client.put(frame);
        Ok(())
    }

    /// Follows a ParameterStatus.
    pub(super) fn follow(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let (name, value) = read::parameter_status(body)?;
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"client_encoding" => self.settings.client_encoding = ClientEncoding::of(value),
            b"server_encoding" => self.settings.server_utf8 = value == b"UTF8",
            b"standard_conforming_strings" => self.settings.standard_conforming_strings = value == b"on",
            b"DateStyle" => self.settings.style.date_style = text(),
            b"server_version" => {
                let digits = text().chars().take_while(char::is_ascii_digit).collect::<String>();
                // Unknown: as the newest, with which the least is read.
                self.settings.style.server_major = digits.parse().unwrap_or(u16::MAX);
            }
            b"TimeZone" => self.settings.style.time_zone = text(),
            b"search_path" => self.lookout.scope_stale(),
            _ => {}
        }
        Ok(())
    }
}

/// Whether a SASLInitialResponse carries the flag `y`: "I could bind, and think that the server can't" (RFC 5802, section 6), with which a
/// server that can will refuse.
fn wants_binding(frame: &[u8]) -> bool {
    let mut body = Body::new(
        &frame[crate::wire::frame::HEADER.min(frame.len())..],
        "SASLInitialResponse",
    );
    let initial = body.cstr().and_then(|_| body.value());
    matches!(initial, Ok(Some([b'y', ..])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    #[test]
    fn a_purpose_is_read_from_the_options() {
        assert_eq!(purpose_option("-c pgward.purpose=audit").as_deref(), Some("audit"));
        assert_eq!(
            purpose_option("-c work_mem=1MB --pgward.purpose=audit").as_deref(),
            Some("audit")
        );
        assert_eq!(purpose_option("-cpgward.purpose=audit").as_deref(), Some("audit"));
        assert_eq!(purpose_option("-c"), None);
        assert_eq!(purpose_option("pgward.purpose=audit"), None);
    }

    #[test]
    fn the_y_flag_is_seen() {
        let mut frame = BytesMut::new();
        for (gs2, expected) in [(&b"y,,n=,r=x"[..], true), (b"n,,n=,r=x", false), (b"", false)] {
            frame.clear();
            crate::wire::frame::write(&mut frame, b'p', |out| {
                compose::put_cstr(out, b"SCRAM-SHA-256");
                out.put_u32(gs2.len() as u32);
                out.put_slice(gs2);
            });
            assert_eq!(wants_binding(&frame), expected);
        }
        assert!(!wants_binding(b"p"));
    }
}
