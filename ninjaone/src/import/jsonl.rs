//! One grant a line, as a JSON object: `tenant`, `integration`, `grant` (`user` if left out),
//! `access_token`, `refresh_token`, `expires_at` (RFC 3339, or an epoch in seconds or
//! milliseconds), `instance_url`, `client_id`, `client_secret`, and `scope` if known.
//!
//! Read as a stream of any length, in the memory of one line.

use std::io::{self, BufRead};

use secrecy::zeroize::{Zeroize, Zeroizing};

use super::MAX_BYTES;
use super::candidate::{Candidate, Fault, Row, Whose};
use super::members::{Members, NO_REFRESH_TOKEN};
use super::when::{self, Seconds};
use crate::integration::{GrantKind, GrantRef, IntegrationId};

/// Reads line by line. Blank lines are nothing; a line over [`MAX_BYTES`] is refused and skipped.
pub fn read<R: BufRead>(source: R) -> Rows<R> {
    Rows {
        source,
        // One allocation for all lines: growing would leave copies of secrets behind.
        line: Zeroizing::new(Vec::with_capacity(MAX_BYTES)),
        number: 0,
        ended: false,
    }
}

/// The rows of a stream. An `Err` of the outer kind is the stream's own failure and its last item.
pub struct Rows<R> {
    source: R,
    line: Zeroizing<Vec<u8>>,
    number: u64,
    ended: bool,
}

/// How one line ended.
enum Line {
    Whole,
    TooLong,
    EndOfStream,
}

impl<R: BufRead> Rows<R> {
    fn next_line(&mut self) -> io::Result<Line> {
        self.line.zeroize();
        let mut too_long = false;
        loop {
            let chunk = match self.source.fill_buf() {
                Ok(chunk) => chunk,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            if chunk.is_empty() {
                return Ok(match (too_long, self.line.is_empty()) {
                    (true, _) => Line::TooLong,
                    (false, true) => Line::EndOfStream,
                    (false, false) => Line::Whole,
                });
            }
            let end = chunk.iter().position(|&b| b == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            too_long |= self.line.len() + part.len() > MAX_BYTES;
            if !too_long {
                self.line.extend_from_slice(part);
            }
            let used = end.map_or(chunk.len(), |end| end + 1);
            self.source.consume(used);
            if end.is_some() {
                return Ok(if too_long { Line::TooLong } else { Line::Whole });
            }
        }
    }
}

impl<R: BufRead> Iterator for Rows<R> {
    type Item = io::Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            self.number += 1;
            let place = format!("line {}", self.number);
            match self.next_line() {
                Ok(Line::Whole) if self.line.trim_ascii().is_empty() => {}
                Ok(Line::Whole) => return Some(Ok(row(&self.line, place))),
                Ok(Line::TooLong) => {
                    return Some(Ok(Err(
                        Fault::new("line", "is too long").of(Whose::Unknown, place)
                    )));
                }
                Ok(Line::EndOfStream) => self.ended = true,
                Err(e) => {
                    self.ended = true;
                    return Some(Err(e));
                }
            }
        }
        None
    }
}

fn row(line: &[u8], place: String) -> Row {
    let mut members = match Members::parse(line, "line") {
        Ok(members) => members,
        Err(fault) => return Err(fault.of(Whose::Unknown, place)),
    };
    let mut whose = Whose::Unknown;
    let grant = match name(&mut members, &mut whose) {
        Ok(grant) => grant,
        Err(fault) => return Err(fault.of(whose, place)),
    };
    candidate(members, grant.clone(), place.clone())
        .map_err(|fault| fault.of(Whose::Grant(grant), place))
}

/// The name of the row. `whose` keeps the tenant as soon as that much is known.
fn name(members: &mut Members, whose: &mut Whose) -> Result<GrantRef, Fault> {
    let missing = |field| move || Fault::new(field, "is missing");
    let wrong = |e: crate::integration::NameError| Fault::new(e.field, e.rule);
    let of = members.text("tenant")?.ok_or_else(missing("tenant"))?;
    IntegrationId::new(&of, "any").map_err(wrong)?;
    *whose = Whose::Tenant(of.clone());
    let integration = members.text("integration")?;
    let integration = integration.ok_or_else(missing("integration"))?;
    let id = IntegrationId::new(&of, &integration).map_err(wrong)?;
    let kind = match members.text("grant")? {
        Some(word) => word.parse().map_err(wrong)?,
        None => GrantKind::User,
    };
    Ok(id.grant(kind))
}

fn candidate(mut members: Members, grant: GrantRef, place: String) -> Result<Candidate, Fault> {
    let kind = grant.kind();
    let mut warnings = Vec::new();
    let tokens = members.tokens(kind, &mut warnings)?;
    let expiry = when::read(
        members.take("expires_at").as_ref(),
        Seconds::Usual,
        when::with_offset,
    );
    warnings.extend(expiry.warning.map(str::to_owned));
    let instance_url = members.text("instance_url")?;
    let client_id = members.text("client_id")?;
    let client_secret = members.secret("client_secret")?;
    let scope = members.scope()?;
    if client_id.is_none() && client_secret.is_some() {
        return Err(Fault::new("client_id", "is missing beside client_secret"));
    }
    match (kind, tokens.access.is_some(), tokens.refresh.is_some()) {
        (GrantKind::User, false, false) => {
            let reason = "is missing, and so is access_token";
            return Err(Fault::new("refresh_token", reason));
        }
        (GrantKind::Client, false, _) if client_secret.is_none() => {
            let reason = "is missing, and there is no client to mint one with";
            return Err(Fault::new("access_token", reason));
        }
        (GrantKind::User, true, false) => warnings.push(NO_REFRESH_TOKEN.to_owned()),
        _ => {}
    }
    if members.left() > 0 {
        warnings.push(format!("members unknown and left out: {}", members.left()));
    }
    Ok(Candidate {
        place,
        grant,
        access_token: tokens.access,
        refresh_token: tokens.refresh,
        expires_at: expiry.at,
        instance_url,
        client_id,
        client_secret,
        scope,
        token_path_hint: None,
        warnings,
    })
}

#[cfg(test)]
mod tests;
