//! Replies that break off, flood, crawl or come too late.

use super::*;

/// `{"access_token":"A1","refresh_token":"R1","expires_in":60}`
const ZIPPED: &str = "1f8b08000000000002ffab564a4c4e4e2d2e8e2fc9cf4ecd53b252723454d2512a4a4d2b4a2dce800b068104532b0a3281a2f199401133835a00821276783a000000";

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
    assert_eq!(late.sent_at, sent.reply.sent_at);
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
