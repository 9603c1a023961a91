//! What is posted: the body that the specification describes, with the event as its data.

use evergreen_engine::store::OutboxEntry;
use serde::Serialize;
use serde_json::value::RawValue;

use super::secret::SigningSecrets;

/// A webhook, ready to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// `webhook-id`: the event's id, the same however often it is sent.
    pub id: String,
    /// `webhook-timestamp`: when this attempt is made, in seconds since 1970. Receivers refuse what is
    /// minutes old, so each attempt has its own.
    pub timestamp_s: u64,
    /// `webhook-signature`.
    pub signature: String,
    /// The body, JSON.
    pub body: String,
}

impl Signed {
    /// Writes and signs an event.
    pub(super) fn new(entry: &OutboxEntry, timestamp_s: u64, secrets: &SigningSecrets) -> Self {
        let body = body(entry);
        Self {
            signature: secrets.sign(&entry.id, timestamp_s, &body),
            id: entry.id.clone(),
            timestamp_s,
            body,
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    timestamp: &'a str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    id: &'a str,
    event: &'a str,
    /// An event that concerns none, as a gap does, has none.
    integration: Option<&'a str>,
    at: &'a str,
    payload: Option<&'a RawValue>,
}

fn body(entry: &OutboxEntry) -> String {
    let body = Body {
        r#type: &entry.event,
        timestamp: &entry.at,
        data: Data {
            id: &entry.id,
            event: &entry.event,
            integration: Some(entry.subject.as_str()).filter(|subject| !subject.is_empty()),
            at: &entry.at,
            // As it was committed, character by character. What is no JSON was not written by us.
            payload: serde_json::from_str(&entry.payload).ok(),
        },
    };
    // Texts and JSON that was parsed a line above.
    serde_json::to_string(&body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> OutboxEntry {
        OutboxEntry {
            id: "0123456789abcdef-1".to_owned(),
            event: "INTEGRATION_TOKEN_REFRESHED".to_owned(),
            subject_field: "integration".to_owned(),
            subject: "acme/prod".to_owned(),
            at: "2026-03-26T12:00:00.000Z".to_owned(),
            payload: r#"{"generation":12345678901234567890}"#.to_owned(),
        }
    }

    #[test]
    fn the_body_is_the_specifications_with_the_event_as_data() {
        assert_eq!(
            body(&entry()),
            concat!(
                r#"{"type":"INTEGRATION_TOKEN_REFRESHED","timestamp":"2026-03-26T12:00:00.000Z","#,
                r#""data":{"id":"0123456789abcdef-1","event":"INTEGRATION_TOKEN_REFRESHED","#,
                r#""integration":"acme/prod","at":"2026-03-26T12:00:00.000Z","#,
                r#""payload":{"generation":12345678901234567890}}}"#
            )
        );
    }

    #[test]
    fn what_concerns_no_integration_and_what_is_no_json_is_null() {
        let mut odd = entry();
        odd.subject = String::new();
        odd.payload = "not JSON".to_owned();
        let body: serde_json::Value = serde_json::from_str(&body(&odd)).unwrap();
        assert_eq!(body["data"]["integration"], serde_json::Value::Null);
        assert_eq!(body["data"]["payload"], serde_json::Value::Null);
    }

    #[test]
    fn every_attempt_is_signed_anew_under_the_same_id() {
        let secrets = SigningSecrets::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let first = Signed::new(&entry(), 1_700_000_000, &secrets);
        let second = Signed::new(&entry(), 1_700_000_060, &secrets);
        assert_eq!((&first.id, &first.body), (&second.id, &second.body));
        assert_ne!(first.signature, second.signature);
        let expected = secrets.sign(&first.id, 1_700_000_000, &first.body);
        assert_eq!(first.signature, expected);
    }
}
