//! The endpoint against hosts that misbehave, byte by byte, on loopback.

mod broken;
mod unsent;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::http::HttpOptions;
use super::super::misbehaving_host::{Host, Play, bytes, reply};
use super::super::request::{ClientApp, TokenRequest};
use super::super::resolver::GuardedResolver;
use super::*;

const PAIR: &str = r#"{"access_token":"A1","refresh_token":"R1","expires_in":3600}"#;
const NO_PATH: &str = r#"{"resultCode":"FAILURE","errorMessage":"HTTP 404 Not Found","incidentId":"WEB_MGMT_SERVICE-1"}"#;
const NO_APP: &str = r#"{"resultCode":"Client app not exist","incidentId":"WEB_MGMT_SERVICE-2"}"#;
/// Longer than any exchange on loopback takes.
const PATIENT: Duration = Duration::from_secs(20);
/// Short enough to be waited for, and long enough for a reply to begin on a busy machine.
const HASTY: Duration = Duration::from_secs(1);

impl Host {
    fn instance(&self, scheme: &str) -> InstanceUrl {
        let text = format!("{scheme}://{}", self.address);
        InstanceUrl::parse(&text, &HostPolicy::new().with_loopback()).unwrap()
    }

    fn call(&self, patience: Duration) -> TokenCall {
        TokenCall::new(
            self.instance("http"),
            app(),
            refresh(),
            Instant::now() + patience,
        )
    }
}

fn app() -> ClientApp {
    ClientApp {
        client_id: "app".to_owned(),
        client_secret: Some("CANARY-client-secret".into()),
    }
}

fn refresh() -> TokenRequest {
    TokenRequest::Refresh {
        refresh_token: "CANARY-old-refresh-token".into(),
    }
}

fn loopback() -> TokenEndpointOptions {
    TokenEndpointOptions {
        http: HttpOptions {
            policy: HostPolicy::new().with_loopback(),
            ..HttpOptions::default()
        },
        ..TokenEndpointOptions::default()
    }
}

fn endpoint() -> TokenEndpoint {
    TokenEndpoint::new(loopback()).unwrap()
}

/// Plays one connection and sends one patient request to it.
async fn ask(play: Play) -> (Reply, Host) {
    let host = Host::playing(vec![play]).await;
    let reply = endpoint().send(host.call(PATIENT)).await;
    (reply, host)
}

fn access_token(reply: &Reply) -> &str {
    match &reply.answer {
        Answer::Granted(granted) => granted.access_token.as_ref().unwrap().expose_secret(),
        other => panic!("{other:?}"),
    }
}

fn unknown(reply: &Reply) -> (Why, Option<&str>) {
    match &reply.answer {
        Answer::Unknown { why, salvaged } => {
            (*why, salvaged.as_ref().map(ExposeSecret::expose_secret))
        }
        other => panic!("{other:?}"),
    }
}

/// Why nothing left; panics if something did.
fn not_sent_because(reply: &Reply) -> (Why, bool) {
    match reply.answer {
        Answer::Unavailable {
            why,
            not_sent: true,
            tls,
        } => (why, tls),
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_request_is_a_form_with_a_length_and_no_query() {
    let (reply, host) = ask(reply(200, "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", PAIR)).await;
    assert_eq!(access_token(&reply), "A1");
    assert_eq!(reply.path, TokenPath::Ws);
    assert!(reply.skew_ms.unwrap() < 0, "a reply from 1994");
    let request = &host.requests()[0];
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let head = head.to_lowercase();
    assert!(
        head.starts_with("post /ws/oauth/token http/1.1\r\n"),
        "{head}"
    );
    for line in [
        "content-type: application/x-www-form-urlencoded",
        "accept: application/json",
        "connection: close",
        "user-agent: evergreen/",
        &format!("content-length: {}", body.len()),
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
    assert!(!head.contains("transfer-encoding"), "{head}");
    assert!(!head.contains("authorization"), "{head}");
    assert_eq!(
        body,
        "grant_type=refresh_token&refresh_token=CANARY-old-refresh-token&client_id=app\
         &client_secret=CANARY-client-secret"
    );
}

#[tokio::test]
async fn s18_a_host_with_the_plain_path_only_is_found_and_remembered() {
    let plays = vec![
        reply(404, "", NO_PATH),
        reply(200, "", PAIR),
        reply(200, "", PAIR),
    ];
    let host = Host::playing(plays).await;
    let endpoint = endpoint();
    let first = endpoint.send(host.call(PATIENT)).await;
    assert_eq!(access_token(&first), "A1");
    assert_eq!(first.path, TokenPath::Plain);
    assert_eq!(
        endpoint.known_path(&host.instance("http")),
        Some(TokenPath::Plain)
    );
    endpoint.send(host.call(PATIENT)).await;
    assert_eq!(
        host.paths(),
        ["/ws/oauth/token", "/oauth/token", "/oauth/token"]
    );
}

#[tokio::test]
async fn a_hint_is_tried_first_and_may_be_wrong() {
    let host = Host::playing(vec![reply(405, "", ""), reply(200, "", PAIR)]).await;
    let mut call = host.call(PATIENT);
    call.known_path = Some(TokenPath::Plain);
    assert_eq!(endpoint().send(call).await.path, TokenPath::Ws);
    assert_eq!(host.paths(), ["/oauth/token", "/ws/oauth/token"]);
}

#[tokio::test]
async fn two_missing_paths_are_a_wrong_endpoint() {
    let host = Host::playing(vec![reply(404, "", NO_PATH), reply(404, "", NO_PATH)]).await;
    let endpoint = endpoint();
    let reply = endpoint.send(host.call(PATIENT)).await;
    let wrong = Attention::WrongEndpoint;
    assert!(matches!(reply.answer, Answer::Misconfigured { attention } if attention == wrong));
    assert_eq!(
        reply.detail.incident_id.as_deref(),
        Some("WEB_MGMT_SERVICE-1")
    );
    assert_eq!(host.connections(), 2);
    assert_eq!(endpoint.known_path(&host.instance("http")), None);
}

#[tokio::test]
async fn an_unknown_app_is_not_looked_for_elsewhere() {
    let (reply, host) = ask(reply(404, "", NO_APP)).await;
    let unknown = Attention::ClientUnknown;
    assert!(matches!(reply.answer, Answer::Misconfigured { attention } if attention == unknown));
    assert_eq!(host.connections(), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Host::playing(vec![]).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: http://{}/take?it=all\r\n", elsewhere.address);
        let (reply, host) = ask(reply(status, &location, "")).await;
        let redirect = Attention::UnexpectedRedirect;
        assert!(
            matches!(reply.answer, Answer::Misconfigured { attention } if attention == redirect)
        );
        assert_eq!(
            reply.detail.description.as_deref(),
            Some("redirect to http://127.0.0.1")
        );
        assert_eq!(host.connections(), 1);
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn what_the_provider_echoes_is_nowhere_to_be_seen() {
    for status in [200, 302, 400, 404, 429, 500] {
        let echo = "CANARY-old-refresh-token CANARY-client-secret";
        let headers =
            format!("x-nj-request-id: {echo}\r\nlocation: https://CANARY-client-secret/\r\n");
        let body =
            serde_json::json!({"error": echo, "error_description": echo, "incidentId": echo});
        let play = || reply(status, &headers, &body.to_string());
        let host = Host::playing(vec![play(), play()]).await;
        let call = host.call(PATIENT);
        let shown_call = format!("{call:?}");
        let sent = endpoint().send_detachable(call).await;
        let detail = serde_json::to_string(&sent.reply.detail).unwrap();
        let shown = format!("{shown_call} {sent:?} {} {detail}", sent.reply.detail);
        assert!(!shown.to_lowercase().contains("canary"), "{shown}");
    }
}
