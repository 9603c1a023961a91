//! What is not sent: hosts that may not be asked, connections that do not come about.

use super::*;

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
async fn s51_a_name_that_leads_inside_is_not_connected_to() {
    let options = TokenEndpointOptions::default();
    let to = |ip: &str| {
        let addresses = vec![SocketAddr::new(ip.parse().unwrap(), 0)];
        let resolver = GuardedResolver::new(HostPolicy::new()).with_addresses(addresses);
        let http = options.http.build_with(resolver).unwrap();
        TokenEndpoint::with_client(http, options.clone())
    };
    let instance = super::super::super::Region::Us.url();
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
async fn s37_a_name_without_addresses_is_not_sent_to() {
    let options = TokenEndpointOptions::default();
    let resolver = GuardedResolver::new(HostPolicy::new()).with_addresses(vec![]);
    let http = options.http.build_with(resolver).unwrap();
    let endpoint = TokenEndpoint::with_client(http, options);
    let instance = super::super::super::Region::Eu.url();
    let call = TokenCall::new(instance, app(), refresh(), Instant::now() + PATIENT);
    let reply = endpoint.send(call).await;
    assert_eq!(not_sent_because(&reply), (Why::NameResolution, false));
}

#[tokio::test]
async fn s37_a_refused_connection_is_not_sent() {
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
async fn s37_a_failed_handshake_is_loud_and_not_sent() {
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
