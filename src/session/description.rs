//! Descriptions of statements and portals: held against the plan, shown with the logical types.

use super::Session;
use super::refuse::Refuse;
use super::rows::{self};
use super::state::{Portal, Prepared, PreparedBody, Reply, Verified};
use crate::plan::{Output, Refusal, Snapshot};
use crate::wire::compose::{self};
use crate::wire::frame::{HEADER, Malformed};
use crate::wire::read;
use std::sync::Arc;

/// Whether a RowDescription in which nothing is planned to be protected names no protected column; if it does, why it is not given out.
pub(super) fn shows_only_unprotected(body: &[u8], snapshot: &Snapshot) -> Result<Result<(), Refusal>, Malformed> {
    let mut checked = Ok(());
    if !snapshot.protected_by_oid.is_empty() {
        for field in read::fields(body)? {
            checked = checked.and(rows::check_unprotected(&field?, snapshot));
        }
    }
    Ok(checked)
}

impl Session {
    /// `own`: pgward asked for itself.
    pub(super) fn plain_description(&mut self, frame: &[u8], own: bool) -> Result<(), Malformed> {
        let checked = self.with_snapshot(|snapshot| shows_only_unprotected(&frame[HEADER..], snapshot))?;
        if let Err(refusal) = checked {
            self.fail(Refuse::plain(refusal));
            return Ok(());
        }
        if !own {
            self.emit(frame);
        }
        Ok(())
    }

    pub(super) fn described_statement(
        &mut self,
        tag: u8,
        frame: &[u8],
        statement: Option<Arc<Prepared>>,
        own: bool,
    ) -> Result<Option<Reply>, Malformed> {
        let body = &frame[HEADER..];
        let plan = match statement.as_deref() {
            Some(Prepared {
                body: PreparedBody::Protected { plan, .. },
                ..
            }) => Some(plan.clone()),
            _ => None,
        };
        match (tag, plan) {
            (b't', None) => {
                self.emit(frame);
                Ok(Some(Reply::DescribeStatement { statement, own }))
            }
            (b't', Some(plan)) => {
                let server = read::parameter_description(body)?;
                if server.len() != plan.server_params.len()
                    && let Some(statement) = &statement
                {
                    statement.set_verified(false);
                }
                if !own && !self.mute {
                    let shown: Vec<u32> = plan
                        .client_params
                        .iter()
                        .enumerate()
                        .map(|(index, param)| {
                            param.type_oid.unwrap_or_else(|| {
                                // Usually the one of the same number: there can be 65,535.
                                let same = plan.server_params.get(index).filter(|p| p.from == index);
                                let carrier = match same {
                                    Some(_) => Some(index),
                                    None => plan.server_params.iter().position(|p| p.from == index),
                                };
                                carrier.and_then(|at| server.get(at)).copied().unwrap_or(25)
                            })
                        })
                        .collect();
                    compose::parameter_description(self.to_client.tail(), &shown);
                }
                Ok(Some(Reply::DescribeStatement { statement, own }))
            }
            (b'n', None) => {
                self.emit(frame);
                Ok(None)
            }
            (b'T', None) => {
                self.plain_description(frame, own)?;
                Ok(None)
            }
            (b'n', Some(plan)) => {
                if let Some(statement) = &statement
                    && statement.verified() == Verified::Open
                {
                    statement.set_verified(plan.outputs.as_ref().is_none_or(Vec::is_empty));
                }
                if !own {
                    self.emit(frame);
                }
                Ok(None)
            }
            (b'T', Some(plan)) => {
                self.protected_description(frame, plan.outputs.as_deref(), statement.as_deref(), own, |_| 0)?;
                Ok(None)
            }
            _ => Err(Self::unexpected(tag)),
        }
    }

    pub(super) fn described_portal(
        &mut self,
        tag: u8,
        frame: &[u8],
        portal: Option<Portal>,
        own: bool,
    ) -> Result<(), Malformed> {
        let plan = portal.as_ref().and_then(|p| match &p.statement.body {
            PreparedBody::Protected { plan, .. } => Some((p, plan)),
            PreparedBody::Forward { .. } => None,
        });
        match (tag, plan) {
            (b'n', _) if own => {}
            (b'n', _) => self.emit(frame),
            (b'T', None) => self.plain_description(frame, own)?,
            (b'T', Some((portal, plan))) => {
                let format = |index| portal.format_code(index);
                self.protected_description(frame, plan.outputs.as_deref(), Some(&portal.statement), false, format)?;
            }
            _ => return Err(Self::unexpected(tag)),
        }
        Ok(())
    }

    /// A RowDescription of a protected statement: held against the plan, shown with the logical types.
    pub(super) fn protected_description(
        &mut self,
        frame: &[u8],
        outputs: Option<&[Output]>,
        statement: Option<&Prepared>,
        own: bool,
        format: impl Fn(usize) -> u16,
    ) -> Result<(), Malformed> {
        let fields = read::row_description(&frame[HEADER..])?;
        let snapshot = self.snapshot();
        let described = match outputs {
            Some(outputs) => {
                // Formats count visible columns.
                let mut visible = 0;
                let codes: Vec<u16> = outputs
                    .iter()
                    .map(|output| {
                        let hidden = matches!(output, Output::Column { hidden: true, .. });
                        let code = format(visible);
                        visible += usize::from(!hidden);
                        code
                    })
                    .collect();
                rows::describe(&fields, outputs, &snapshot, |index| {
                    codes.get(index).copied().unwrap_or(0)
                })
            }
            None => fields
                .iter()
                .try_for_each(|field| rows::check_unprotected(field, &snapshot))
                .map(|()| fields),
        };
        match described {
            Ok(shown) => {
                if let Some(statement) = statement
                    && statement.verified() == Verified::Open
                {
                    statement.set_verified(true);
                }
                if !own && !self.mute {
                    compose::row_description(self.to_client.tail(), shown.into_iter());
                }
            }
            Err(refusal) => {
                if let Some(statement) = statement {
                    statement.set_verified(false);
                }
                self.effects.push_back(super::Effect::CatalogChanged);
                // pgward's own question is not the client's statement: it fails when its rows come.
                if !own {
                    self.fail(Refuse::plain(refusal));
                }
            }
        }
        Ok(())
    }
}
