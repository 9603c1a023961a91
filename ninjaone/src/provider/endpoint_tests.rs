//! The endpoint against hosts that misbehave, byte by byte, on loopback.

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
/// `{"access_token":"A1","refresh_token":"R1","expires_in":60}`
const ZIPPED: &str = "1f8b08000000000002ffab564a4c4e4e2d2e8e2fc9cf4ecd53b252723454d2512a4a4d2b4a2dce800b068104532b0a3281a2f199401133835a00821276783a000000";
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
async fn a_host_with_the_plain_path_only_is_found_and_remembered() {
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
async fn a_host_that_is_not_allowed_hears_nothing() {
    let host = Host::playing(vec![]).await;
    let call = host.call(PATIENT);
    let strict = TokenEndpoint::new(TokenEndpointOptions::default()).unwrap();
    let reply = strict.send(call).await;
    let wrong = Attention::WrongEndpoint;
    assert!(matches!(reply.answer, Answer::Misconfigured { attention } if attention == wrong));
    assert!(
        reply
            .detail
            .description
            .unwrap()
            .starts_with("instance_url: ")
    );
    assert_eq!(host.connections(), 0);
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_connected_to() {
    let options = TokenEndpointOptions::default();
    let to = |ip: &str| {
        let addresses = vec![SocketAddr::new(ip.parse().unwrap(), 0)];
        let resolver = GuardedResolver::new(HostPolicy::new()).with_addresses(addresses);
        let http = options.http.build_with(resolver).unwrap();
        TokenEndpoint::with_client(http, options.clone())
    };
    let instance = super::super::Region::Us.url();
    for ip in ["169.254.169.254", "127.0.0.1", "10.0.0.1", "::1"] {
        let deadline = Instant::now() + PATIENT;
        let call = TokenCall::new(instance.clone(), app(), refresh(), deadline);
        let reply = to(ip).send(call).await;
        assert_eq!(
            not_sent_because(&reply),
            (Why::AddressRefused, false),
            "{ip}"
        );
    }
}

#[tokio::test]
async fn a_name_without_addresses_is_not_sent_to() {
    let options = TokenEndpointOptions::default();
    let resolver = GuardedResolver::new(HostPolicy::new()).with_addresses(vec![]);
    let http = options.http.build_with(resolver).unwrap();
    let endpoint = TokenEndpoint::with_client(http, options);
    let instance = super::super::Region::Eu.url();
    let call = TokenCall::new(instance, app(), refresh(), Instant::now() + PATIENT);
    let reply = endpoint.send(call).await;
    assert_eq!(not_sent_because(&reply), (Why::NameResolution, false));
}

#[tokio::test]
async fn a_refused_connection_is_not_sent() {
    let host = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let instance = InstanceUrl::parse(
        &format!("http://{host}"),
        &HostPolicy::new().with_loopback(),
    )
    .unwrap();
    let call = TokenCall::new(instance, app(), refresh(), Instant::now() + PATIENT);
    let reply = endpoint().send(call).await;
    assert_eq!(not_sent_because(&reply), (Why::Connect, false));
}

#[tokio::test]
async fn a_failed_handshake_is_loud_and_not_sent() {
    let alert = vec![0x15, 3, 3, 0, 2, 2, 40];
    for answer in [b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), alert] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = [0; 5];
            stream.read_exact(&mut hello).await.unwrap();
            stream.write_all(&answer).await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            rest
        });
        let policy = HostPolicy::new().with_loopback();
        let instance = InstanceUrl::parse(&format!("https://{address}"), &policy).unwrap();
        let call = TokenCall::new(instance, app(), refresh(), Instant::now() + PATIENT);
        let reply = endpoint().send(call).await;
        assert_eq!(not_sent_because(&reply), (Why::Tls, true));
        let heard = server.await.unwrap();
        assert!(!String::from_utf8_lossy(&heard).contains("CANARY"));
    }
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_not_sent() {
    let host = Host::playing(vec![Play::Silence, Play::Silence]).await;
    let mut call = host.call(HASTY);
    call.instance = host.instance("https");
    let sent = endpoint().send_detachable(call.clone()).await;
    assert_eq!(not_sent_because(&sent.reply), (Why::Deadline, false));
    assert!(sent.late.is_none());

    let mut options = loopback();
    options.http.connect_timeout = Duration::from_millis(50);
    call.deadline = Instant::now() + PATIENT;
    let reply = TokenEndpoint::new(options).unwrap().send(call).await;
    assert_eq!(not_sent_because(&reply), (Why::ConnectTimeout, false));
}

#[tokio::test]
async fn without_permission_nothing_leaves() {
    let host = Host::playing(vec![Play::Silence]).await;
    let mut call = host.call(PATIENT);
    call.may_send = Some(Arc::new(|| false));
    let reply = endpoint().send(call).await;
    assert_eq!(not_sent_because(&reply), (Why::Withheld, false));
    assert!(!host.requests().concat().contains("CANARY"));
}

#[tokio::test]
async fn permission_is_asked_once_per_request_and_only_when_connected() {
    let host = Host::playing(vec![reply(404, "", NO_PATH), reply(200, "", PAIR)]).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let mut call = host.call(PATIENT);
    call.may_send = Some(Arc::new({
        let (asked, host) = (Arc::clone(&asked), host.clone());
        move || asked.fetch_add(1, Ordering::SeqCst) == host.requests().len()
    }));
    assert_eq!(access_token(&endpoint().send(call).await), "A1");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_connection_that_dies_is_ambiguous_and_never_replaced() {
    for play in [
        Play::Reply(vec![]),
        Play::Reply(b"HTTP/1.1 2".to_vec()),
        Play::Reply(b"SSH-2.0\r\n".to_vec()),
    ] {
        let (reply, host) = ask(play).await;
        assert_eq!(unknown(&reply), (Why::BrokenOff, None));
        assert_eq!(reply.detail.status, None);
        assert_eq!(host.connections(), 1);
    }
    let (_, host) = ask(Play::Slam).await;
    assert_eq!(host.connections(), 1);
}

#[tokio::test]
async fn a_cut_body_gives_up_what_it_holds() {
    let mut cut = bytes(200, "", PAIR.as_bytes());
    cut.truncate(cut.len() - 5);
    let (reply, host) = ask(Play::Reply(cut)).await;
    assert_eq!(unknown(&reply), (Why::BodyCut, Some("R1")));
    assert_eq!(reply.detail.status, Some(200));
    assert_eq!(host.connections(), 1);
}

#[tokio::test]
async fn fifty_megabytes_are_cut_at_the_bound() {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n{\"refresh_token\":\"R1\",\"x\":\"";
    let (reply, host) = ask(Play::Flood(head.as_bytes().to_vec())).await;
    assert_eq!(unknown(&reply), (Why::BodyTooLong, Some("R1")));
    let flooded = host.flooded.load(Ordering::SeqCst);
    assert!(flooded < 25_000_000, "{flooded} bytes were taken");
}

#[tokio::test]
async fn a_slow_body_is_cut_at_the_deadline_and_read_on() {
    let all = bytes(200, "", PAIR.as_bytes());
    let (before, after) = all.split_at(all.len() - 5);
    let host = Host::playing(vec![Play::Pause(before.to_vec(), after.to_vec())]).await;
    let endpoint = endpoint();
    let sent = endpoint.send_detachable(host.call(HASTY)).await;
    assert_eq!(unknown(&sent.reply), (Why::Deadline, Some("R1")));
    assert_eq!(sent.reply.detail.status, Some(200));
    assert!(sent.reply.elapsed >= HASTY);
    host.signal.notify_one();
    let late = sent.late.unwrap().await.unwrap().unwrap();
    assert_eq!(access_token(&late), "A1");
    assert_eq!(late.sent_at_ms, sent.reply.sent_at_ms);
}

#[tokio::test]
async fn a_late_answer_is_told_and_a_late_missing_path_sends_nothing_more() {
    let host = Host::playing(vec![Play::Pause(vec![], bytes(200, "", PAIR.as_bytes()))]).await;
    let endpoint = endpoint();
    let sent = endpoint.send_detachable(host.call(HASTY)).await;
    assert_eq!(unknown(&sent.reply), (Why::Deadline, None));
    host.signal.notify_one();
    assert_eq!(
        access_token(&sent.late.unwrap().await.unwrap().unwrap()),
        "A1"
    );

    let host = Host::playing(vec![Play::Pause(
        vec![],
        bytes(404, "", NO_PATH.as_bytes()),
    )])
    .await;
    let sent = endpoint.send_detachable(host.call(HASTY)).await;
    host.signal.notify_one();
    let late = sent.late.unwrap().await.unwrap().unwrap();
    assert_eq!(not_sent_because(&late), (Why::Deadline, false));
    assert_eq!(host.connections(), 1);
}

#[tokio::test]
async fn late_reading_is_bounded_in_number_and_time() {
    let host = Host::playing(vec![Play::Silence]).await;
    let mut options = loopback();
    options.late_reads = 0;
    let none = TokenEndpoint::new(options).unwrap();
    let sent = none.send_detachable(host.call(HASTY)).await;
    assert_eq!(unknown(&sent.reply), (Why::Deadline, None));
    assert!(sent.late.is_none());
    let hung_up = host.gone.notified();
    tokio::time::timeout(PATIENT, hung_up).await.unwrap();

    let host = Host::playing(vec![Play::Pause(vec![], vec![])]).await;
    let mut options = loopback();
    options.late_limit = Duration::from_millis(50);
    let brief = TokenEndpoint::new(options).unwrap();
    let sent = brief.send_detachable(host.call(HASTY)).await;
    assert!(sent.late.unwrap().await.unwrap().is_none());
}

#[tokio::test]
async fn the_exchange_outlives_its_caller() {
    let host = Host::playing(vec![Play::Pause(vec![], bytes(200, "", PAIR.as_bytes()))]).await;
    let endpoint = endpoint();
    tokio::select! {
        _ = endpoint.send(host.call(PATIENT)) => panic!("nothing was answered yet"),
        () = host.asked.notified() => {}
    }
    host.signal.notify_one();
    // The path is remembered when the answer was read to its end.
    let instance = host.instance("http");
    let read = async {
        while endpoint.known_path(&instance).is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENT, read).await.unwrap();
}

#[tokio::test]
async fn gzip_is_read_as_announced_and_salvaged_when_cut() {
    let zipped = hex::decode(ZIPPED).unwrap();
    let whole = bytes(200, "content-encoding: gzip\r\n", &zipped);
    let (reply, _) = ask(Play::Reply(whole)).await;
    assert_eq!(access_token(&reply), "A1");

    let cut = bytes(
        200,
        "content-encoding: gzip\r\n",
        &zipped[..zipped.len() - 8],
    );
    let (reply, _) = ask(Play::Reply(cut)).await;
    assert_eq!(unknown(&reply), (Why::BodyCut, Some("R1")));

    let lie = bytes(200, "content-encoding: gzip\r\n", PAIR.as_bytes());
    let (reply, _) = ask(Play::Reply(lie)).await;
    assert_eq!(unknown(&reply).0, Why::BodyCut);
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
