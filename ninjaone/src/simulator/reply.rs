//! The answers of the host, byte for byte where NinjaOne's are known.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::wire::{Name, escape_html};

/// An answer before it is put on the wire, while a fault can still change it.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub content: Content,
}

/// Its body.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A JSON object as members with raw values, in order.
    Members(Vec<(String, String)>),
    Text(String),
    Bytes(Vec<u8>),
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html;charset=utf-8");

impl Reply {
    fn json(status: StatusCode, body: String) -> Self {
        Self {
            status,
            headers: vec![(CONTENT_TYPE, JSON)],
            content: Content::Text(body),
        }
    }

    /// An error of the authorization server: `{"error":"…"}` and nothing else.
    pub(super) fn oauth(status: StatusCode, error: &str) -> Self {
        let mut reply = Self::json(status, format!(r#"{{"error":"{error}"}}"#));
        reply.headers.push((CACHE_CONTROL, no_store()));
        reply
    }

    /// Tokens.
    pub(super) fn tokens(members: Vec<(String, String)>) -> Self {
        Self {
            status: StatusCode::OK,
            headers: vec![(CONTENT_TYPE, JSON), (CACHE_CONTROL, no_store())],
            content: Content::Members(members),
        }
    }

    /// No such app: also the answer of the wrong region and to the wrong kind of app.
    pub(super) fn client_unknown(incident: &Name) -> Self {
        let body = format!(
            r#"{{"resultCode":"Client app not exist","incidentId":"WEB_MGMT_SERVICE-{incident}"}}"#
        );
        Self::json(StatusCode::NOT_FOUND, body)
    }

    /// What the application layer makes of any HTTP error.
    pub(super) fn failure(status: StatusCode, incident: &Name) -> Self {
        let number = status.as_u16();
        let phrase = status.canonical_reason().unwrap_or_default();
        let body = format!(
            r#"{{"resultCode":"FAILURE","errorMessage":"HTTP {number} {phrase}","incidentId":"WEB_MGMT_SERVICE-{incident}"}}"#
        );
        Self::json(status, body)
    }

    /// An error of the API's gate.
    pub(super) fn gate(status: StatusCode, error: &str, description: &str, code: u8) -> Self {
        let body = format!(
            r#"{{"error":"{error}","error_description":"{description}","error_code":{code}}}"#
        );
        Self::json(status, body)
    }

    /// A scope is missing. The status is NinjaOne's choice.
    pub(super) fn insufficient_privileges(incident: &Name) -> Self {
        let body = format!(
            r#"{{"resultCode":"insufficient_privileges","incidentId":"WEB_MGMT_SERVICE-{incident}"}}"#
        );
        Self::json(StatusCode::UNAUTHORIZED, body)
    }

    /// A page of the API.
    pub(super) fn list(body: String) -> Self {
        Self::json(StatusCode::OK, body)
    }

    pub(super) fn html(status: StatusCode, page: String) -> Self {
        Self {
            status,
            headers: vec![(CONTENT_TYPE, HTML)],
            content: Content::Text(page),
        }
    }

    /// How NinjaOne throttles: a page, and nothing in it for a machine.
    pub(super) fn throttle_page(status: StatusCode) -> Self {
        Self::html(status, THROTTLE_PAGE.to_owned())
    }

    /// A redirect. A location that HTTP does not allow becomes an empty one.
    pub(super) fn redirect(status: StatusCode, location: &str) -> Self {
        let location = HeaderValue::from_str(location).unwrap_or(HeaderValue::from_static(""));
        Self {
            status,
            headers: vec![(LOCATION, location), (CACHE_CONTROL, no_store())],
            content: Content::Text(String::new()),
        }
    }

    /// What stands in for the answer of a request that is not carried out.
    pub(super) fn none() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            headers: Vec::new(),
            content: Content::Text(String::new()),
        }
    }

    /// Sets a header, or takes it away with an empty value.
    pub(super) fn set_header(&mut self, name: &str, value: &str) {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
        else {
            return;
        };
        self.headers.retain(|(known, _)| *known != name);
        if !value.is_empty() {
            self.headers.push((name, value));
        }
    }

    /// The bytes of the body.
    pub(super) fn bytes(&self) -> Vec<u8> {
        match &self.content {
            Content::Text(text) => text.clone().into_bytes(),
            Content::Bytes(bytes) => bytes.clone(),
            Content::Members(members) => {
                let written: Vec<String> = (members.iter())
                    .map(|(name, value)| format!("{}:{value}", json_text(name)))
                    .collect();
                format!("{{{}}}", written.join(",")).into_bytes()
            }
        }
    }

    /// This answer's head with another body.
    pub(super) fn with_body(self, body: Body) -> Response {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let body = Body::from(self.bytes());
        self.with_body(body)
    }
}

pub(super) fn no_store() -> HeaderValue {
    HeaderValue::from_static("no-store")
}

/// Text as a JSON string.
pub(super) fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A page of the simulator's own, in the plainest style that is still readable.
pub(super) fn page(title: &str, body: &str) -> String {
    let title = escape_html(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;\
         padding:0 1rem;color:#1c2b24}}td,th{{padding:.15rem 1rem .15rem 0;text-align:left}}\
         button{{font:inherit;padding:.4rem 1.2rem;margin-right:.6rem}}code{{background:#eef3f0}}\
         </style></head><body><h1>{title}</h1>\n{body}\n</body></html>\n"
    )
}

const THROTTLE_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Too Many Requests</title></head>\
<body><h1>Request limit exceeded</h1><p>You have sent too many requests. The rate limit will be \
lifted shortly.</p></body></html>\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn text(reply: &Reply) -> String {
        String::from_utf8(reply.bytes()).unwrap()
    }

    #[test]
    fn known_bodies_are_exact_to_the_byte() {
        let dead = Reply::oauth(StatusCode::BAD_REQUEST, "invalid_token");
        assert_eq!(text(&dead), r#"{"error":"invalid_token"}"#);
        assert_eq!(dead.bytes().len(), 25);
        let incident = Name::from("5f0c");
        assert_eq!(
            text(&Reply::client_unknown(&incident)),
            r#"{"resultCode":"Client app not exist","incidentId":"WEB_MGMT_SERVICE-5f0c"}"#
        );
        assert_eq!(
            text(&Reply::failure(StatusCode::NOT_FOUND, &incident)),
            r#"{"resultCode":"FAILURE","errorMessage":"HTTP 404 Not Found","incidentId":"WEB_MGMT_SERVICE-5f0c"}"#
        );
        assert_eq!(
            text(&Reply::gate(
                StatusCode::UNAUTHORIZED,
                "not_authenticated",
                "Invalid credentials",
                10
            )),
            r#"{"error":"not_authenticated","error_description":"Invalid credentials","error_code":10}"#
        );
    }

    #[test]
    fn members_keep_their_order_and_raw_values() {
        let members = [("access_token", "\"a\""), ("expires_in", "1e400")];
        let members = members.map(|(name, raw)| (name.to_owned(), raw.to_owned()));
        let reply = Reply::tokens(members.to_vec());
        assert_eq!(text(&reply), r#"{"access_token":"a","expires_in":1e400}"#);
    }
}
