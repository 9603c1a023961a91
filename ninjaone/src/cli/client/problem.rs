//! What an answer that is no success means: problem details (RFC 9457) and their exit codes.

use reqwest::StatusCode;
use serde::Deserialize;

use super::super::failure::{Exit, Failure, Told};
use super::{Api, KEY_VARIABLE};

const TYPE_PREFIX: &str = "urn:evergreen:problem:";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    detail: Option<String>,
    title: Option<String>,
    recovery: Option<String>,
    field: Option<String>,
    retry_after: Option<u64>,
}

pub(super) fn failure(api: &Api, doing: &str, status: StatusCode, body: &[u8]) -> Failure {
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        return bare(api, doing, status);
    };
    let Some(kind) = problem.kind.strip_prefix(TYPE_PREFIX) else {
        return bare(api, doing, status);
    };
    let exit = exit(status, problem.recovery.as_deref());
    let told = problem.detail.or(problem.title).unwrap_or_default();
    let mut why = printable(&told);
    if let Some(field) = problem.field.as_deref().map(printable)
        && !why.contains(&field)
    {
        why = format!("{field}: {why}");
    }
    let recovery = problem.recovery.as_deref();
    // A text that names the setting needs no help to find it.
    let help = match recovery {
        Some("fix_configuration") if why.contains("EVERGREEN_") => None,
        _ => help(status, exit, recovery, problem.retry_after),
    };
    let told = Told {
        kind: printable(kind),
        recovery: problem.recovery.as_deref().map(printable),
        retry_after: problem.retry_after,
    };
    Failure {
        told: Some(Box::new(told)),
        help,
        ..Failure::new(exit, doing, why)
    }
}

/// Not from Evergreen itself: a proxy in front of it, or something else altogether.
fn bare(api: &Api, doing: &str, status: StatusCode) -> Failure {
    match status.as_u16() {
        502..=504 | 429 => {
            let why = format!("{} answered {status}", api.base);
            Failure::new(Exit::Unavailable, doing, why).help("the same command may work later")
        }
        _ => api.not_ours(doing, status),
    }
}

fn exit(status: StatusCode, recovery: Option<&str>) -> Exit {
    match status.as_u16() {
        404 => Exit::NotFound,
        409 => Exit::Attention,
        429 | 503 | 504 => Exit::Unavailable,
        // NinjaOne said no: a person's business, or the weather's.
        502 => match recovery {
            Some("reconnect" | "fix_configuration") => Exit::Attention,
            _ => Exit::Unavailable,
        },
        400..=499 => Exit::Usage,
        _ => Exit::Failed,
    }
}

fn help(
    status: StatusCode,
    exit: Exit,
    recovery: Option<&str>,
    retry_after: Option<u64>,
) -> Option<String> {
    let text = match (status.as_u16(), exit, recovery) {
        (401, ..) => format!(
            "set {KEY_VARIABLE} to a key of this server (evergreen dev prints one; \
             evergreen apikeys create makes one where the fleet runs)"
        ),
        (403, ..) => {
            "use a key with that scope: evergreen apikeys create --name NAME --scope SCOPE"
                .to_owned()
        }
        (404, ..) => "evergreen list shows what there is".to_owned(),
        (_, _, Some("reconnect")) => {
            "connect it again; evergreen explain TENANT/INTEGRATION gives the command".to_owned()
        }
        (_, _, Some("fix_configuration")) => {
            "correct the configuration; evergreen status TENANT/INTEGRATION says which".to_owned()
        }
        (_, Exit::Unavailable, _) => match retry_after {
            Some(seconds) => format!("try again in {seconds} s"),
            None => "the same command may work later".to_owned(),
        },
        _ => return None,
    };
    Some(text)
}

/// A server's text goes to a terminal: one line, no control characters, not without end.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(1_000)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, body: &str) -> Failure {
        let api = Api::new("http://h", None).unwrap();
        failure(
            &api,
            "reading acme/prod",
            StatusCode::from_u16(status).unwrap(),
            body.as_bytes(),
        )
    }

    #[test]
    fn every_kind_of_problem_has_its_exit_code() {
        for (status, kind, recovery, exit) in [
            (400, "invalid-input", "none", Exit::Usage),
            (401, "unauthorized", "none", Exit::Usage),
            (403, "forbidden", "none", Exit::Usage),
            (404, "not-found", "none", Exit::NotFound),
            (409, "reconnect-required", "reconnect", Exit::Attention),
            (409, "needs-attention", "fix_configuration", Exit::Attention),
            (409, "conflict", "none", Exit::Attention),
            (422, "invalid-input", "none", Exit::Usage),
            (500, "internal", "none", Exit::Failed),
            (502, "provider-refused", "wait", Exit::Unavailable),
            (
                502,
                "provider-refused",
                "fix_configuration",
                Exit::Attention,
            ),
            (503, "try-later", "wait", Exit::Unavailable),
            (503, "store-unavailable", "wait", Exit::Unavailable),
        ] {
            let body = format!(
                r#"{{"type":"urn:evergreen:problem:{kind}","detail":"why","recovery":"{recovery}"}}"#
            );
            let failure = told(status, &body);
            assert_eq!(failure.exit, exit, "{status} {kind}");
            assert_eq!(failure.kind(), Some(kind));
            assert_eq!(failure.why, "why");
        }
    }

    #[test]
    fn field_and_time_are_told_and_control_characters_are_not() {
        let failure = told(
            422,
            r#"{"type":"urn:evergreen:problem:invalid-input","detail":"must\u001b[2J be https","field":"instance_url"}"#,
        );
        assert_eq!(failure.why, "instance_url: must [2J be https");
        let failure = told(
            503,
            r#"{"type":"urn:evergreen:problem:try-later","detail":"x","recovery":"wait","retry_after":7}"#,
        );
        assert_eq!(failure.help.as_deref(), Some("try again in 7 s"));
    }

    #[test]
    fn an_answer_that_is_not_ours_is_said_to_be_none() {
        assert_eq!(told(502, "<html>").exit, Exit::Unavailable);
        assert_eq!(told(404, "<html>").exit, Exit::Failed);
        assert!(told(200, "{}").why.contains("not Evergreen's"));
    }
}
