//! Each scripted fault, as a client meets it.

use super::super::{
    Action, Delivery, Echo, EchoPlace, Edit, Fault, Match, Presented, RefreshToken, Respond,
    Target, When,
};
use super::*;

impl Bench {
    fn script(&self, fault: Fault) -> u64 {
        self.simulator.handle().script(fault).unwrap()
    }

    fn last(&self) -> Entry {
        let page = self.simulator.handle().entries(0, 1000);
        page.entries.last().unwrap().clone()
    }

    /// The refresh token is as it was, or not.
    async fn assert_spent(&self, token: &str, spent: bool) {
        let status = self.refresh(token).await.status;
        assert_eq!(status, if spent { 400 } else { 200 });
    }
}

fn token_of(grant: &SeededGrant) -> &str {
    grant.refresh_token.as_deref().unwrap()
}

#[tokio::test]
async fn a_verbatim_answer_spends_nothing_unless_told_to() {
    for rotate in [false, true] {
        let bench = strict().await;
        let grant = bench.one_grant();
        bench.script(Fault::new(Action::Respond(Respond {
            status: 500,
            body: "<h1>no</h1>".to_owned(),
            headers: [
                ("Retry-After".to_owned(), "120".to_owned()),
                ("Content-Type".to_owned(), "text/html".to_owned()),
            ]
            .into(),
            rotate,
        })));
        let answer = bench.refresh(token_of(&grant)).await;
        assert_eq!((answer.status, answer.body.as_str()), (500, "<h1>no</h1>"));
        assert_eq!(answer.header("retry-after"), "120");
        assert_eq!(answer.header("content-type"), "text/html");
        assert_eq!(bench.last().status, Some(500));
        assert_eq!(bench.last().rotated, rotate);
        let delivery = if rotate {
            Delivery::Eaten
        } else {
            Delivery::Sent
        };
        assert_eq!(bench.last().delivery, delivery);
        bench.assert_spent(token_of(&grant), rotate).await;
    }
}

#[tokio::test]
async fn a_connection_is_closed_before_reading_or_dropped_after_rotating() {
    for reset in [false, true] {
        for (action, spent) in [
            (Action::Close { reset }, false),
            (
                Action::Drop {
                    rotate: false,
                    reset,
                },
                false,
            ),
            (
                Action::Drop {
                    rotate: true,
                    reset,
                },
                true,
            ),
        ] {
            let bench = strict().await;
            let grant = bench.one_grant();
            let name = action.name();
            bench.script(Fault::new(action));
            let error = bench.try_refresh(token_of(&grant)).await.unwrap_err();
            assert!(!error.is_timeout() && !error.is_status(), "{name}");
            assert_eq!(bench.last().fault.as_deref(), Some(name));
            assert_eq!(bench.last().delivery, Delivery::Eaten);
            bench.assert_spent(token_of(&grant), spent).await;
        }
    }
}

#[tokio::test]
async fn a_hang_keeps_its_client_waiting_and_nobody_else() {
    let bench = strict().await;
    let grant = bench.one_grant();
    bench.script(Fault::new(Action::Hang { rotate: true }));
    let hung = bench.refresh(token_of(&grant));
    tokio::pin!(hung);
    let eaten = |entry: &Entry| entry.delivery == Delivery::Eaten;
    let entry = tokio::select! {
        answer = &mut hung => panic!("{answer:?}"),
        entry = bench.entry(eaten) => entry,
    };
    assert_eq!((entry.rotated, entry.status), (true, Some(200)));
    bench.assert_spent(token_of(&grant), true).await;
    // Others are answered; this one still is not.
    assert!(futures::poll!(hung).is_pending());
}

#[tokio::test]
async fn a_shutdown_ends_what_hangs() {
    let bench = strict().await;
    let grant = bench.one_grant();
    let fault = bench.script(Fault::new(Action::Hang { rotate: false }));
    let sent = bench.try_refresh(token_of(&grant));
    let stopped = async {
        bench.struck(fault).await;
        bench.simulator.handle().shared().stopping.cancel();
    };
    let (answer, ()) = tokio::join!(sent, stopped);
    assert!(!answer.unwrap_err().is_timeout());
}

#[tokio::test]
async fn a_hold_keeps_a_request_until_it_is_released() {
    for when in [When::Before, When::After] {
        let bench = strict().await;
        let handle = bench.simulator.handle();
        let grant = bench.one_grant();
        let fault = bench.script(Fault::new(Action::Hold { when }));
        let held = bench.refresh(token_of(&grant));
        let meanwhile = async {
            bench.struck(fault).await;
            if when == When::After {
                let entry = bench.entry(|entry| entry.rotated).await;
                assert_eq!(entry.delivery, Delivery::Pending);
            }
            let generation = handle.chain(&grant.chain).unwrap().generation;
            assert_eq!(generation, u64::from(when == When::After));
            let path = format!("/simulator/faults/{fault}/release");
            assert_eq!(bench.admin(&path, "").await.status, 204);
        };
        let (answer, ()) = tokio::join!(held, meanwhile);
        assert_eq!(answer.status, 200);
        assert_eq!(bench.last().delivery, Delivery::Sent);
    }
}

#[tokio::test]
async fn a_client_that_leaves_during_a_delay_abandons_the_answer() {
    let bench = strict().await;
    let grant = bench.one_grant();
    bench.script(Fault::new(Action::Delay {
        time: Duration::from_secs(600),
        when: When::After,
    }));
    let reached = |delivery| move |entry: &Entry| entry.delivery == delivery;
    tokio::select! {
        answer = bench.refresh(token_of(&grant)) => panic!("{answer:?}"),
        _ = bench.entry(reached(Delivery::Pending)) => {}
    }
    let entry = bench.entry(reached(Delivery::Abandoned)).await;
    assert!(entry.rotated);
}

#[tokio::test]
async fn bodies_are_truncated_slow_or_huge() {
    let bench = strict().await;
    let grant = bench.one_grant();
    bench.script(Fault::new(Action::Truncate { keep: 20 }));
    let mut cut = bench.try_refresh(token_of(&grant)).await.unwrap();
    assert!(cut.content_length().unwrap() > 20);
    let mut got = Vec::new();
    let end = loop {
        match cut.chunk().await {
            Ok(Some(piece)) => got.extend(piece),
            end => break end,
        }
    };
    assert!(end.is_err());
    assert!(got.starts_with(br#"{"access_token":""#));
    assert_eq!(got.len(), 20);
    assert_eq!(bench.last().delivery, Delivery::Eaten);

    let grant = bench.one_grant();
    bench.script(Fault::new(Action::SlowBody {
        piece: 16,
        pause: Duration::from_millis(1),
    }));
    let slow = bench.refresh(token_of(&grant)).await;
    assert_eq!(slow.text("token_type"), "Bearer");
    assert_eq!(bench.last().delivery, Delivery::Sent);

    bench.script(Fault::new(Action::HugeBody { bytes: 5_000_000 }));
    let huge = bench.refresh(&slow.text("refresh_token")).await;
    assert_eq!(huge.body.len(), 5_000_000);
    assert_eq!(huge.text("token_type"), "Bearer");
}

#[tokio::test]
async fn redirects_throttle_pages_and_echoes() {
    let bench = strict().await;
    let grant = bench.one_grant();
    bench.script(Fault::new(Action::Redirect {
        status: 307,
        location: "https://evil.example/token".to_owned(),
    }));
    bench.script(Fault::new(Action::ThrottlePage { status: 200 }));
    bench.script(Fault::new(Action::Echo(Echo {
        place: EchoPlace::Both,
        ..Echo::default()
    })));
    let moved = bench.refresh(token_of(&grant)).await;
    assert_eq!(moved.status, 307);
    assert_eq!(moved.header("location"), "https://evil.example/token");
    let page = bench.refresh(token_of(&grant)).await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.body.to_lowercase().contains("request limit exceeded"));
    let echo = bench.refresh(token_of(&grant)).await;
    assert_eq!(echo.status, 400);
    for secret in [token_of(&grant), SECRET] {
        assert!(echo.text("error_description").contains(secret));
        assert!(echo.header("x-debug").contains(secret));
    }
    bench.assert_spent(token_of(&grant), false).await;
}

#[tokio::test]
async fn an_answer_that_does_not_rotate_leaves_the_token_good() {
    use RefreshToken::{Empty, Null, Omit, Same};
    for instead in [Omit, Null, Empty, Same] {
        let bench = strict().await;
        let grant = bench.one_grant();
        bench.script(Fault::new(Action::Edit(Edit {
            refresh_token: Some(instead),
            ..Edit::default()
        })));
        let answer = bench.refresh(token_of(&grant)).await;
        assert_eq!(answer.status, 200);
        let got = answer.json().get("refresh_token").cloned();
        let expected = match instead {
            Omit => None,
            Null => Some(Value::Null),
            Empty => Some("".into()),
            Same => Some(token_of(&grant).into()),
        };
        assert_eq!(got, expected, "{instead:?}");
        assert!(!bench.last().rotated);
        bench.assert_spent(token_of(&grant), false).await;
    }
}

#[tokio::test]
async fn answers_are_edited_to_the_byte() {
    let bench = strict().await;
    let grant = bench.one_grant();
    let script = r#"{"action": {"kind": "edit", "set": {"expires_in": "1e400", "scope": "[\"a\"]"},
        "remove": ["token_type"], "status": 201,
        "headers": {"content-type": "text/html", "date": "Thu, 01 Jan 1970 00:00:00 GMT"},
        "bom": true, "gzip": true}}"#;
    assert_eq!(bench.admin("/simulator/faults", script).await.status, 200);
    let raw = bench.try_refresh(token_of(&grant)).await.unwrap();
    assert_eq!(raw.status(), 201);
    assert_eq!(raw.headers()["content-type"], "text/html");
    assert_eq!(raw.headers().get_all("date").iter().count(), 1);
    assert_eq!(raw.headers()["date"], "Thu, 01 Jan 1970 00:00:00 GMT");
    let body = raw.bytes().await.unwrap();
    // The client unpacked it: that it could is the proof of the gzip.
    let text = std::str::from_utf8(&body).unwrap();
    let text = text.strip_prefix('\u{feff}').unwrap();
    assert!(text.contains(r#""expires_in":1e400,"#) && text.contains(r#""scope":["a"]}"#));

    let lose = r#"{"action": {"kind": "edit", "remove": ["refresh_token"]}}"#;
    assert_eq!(bench.admin("/simulator/faults", lose).await.status, 200);
    let grant = bench.one_grant();
    assert_eq!(bench.refresh(token_of(&grant)).await.status, 200);
    bench.assert_spent(token_of(&grant), true).await;
}

#[tokio::test]
async fn faults_wait_for_their_request_and_go_in_order() {
    let bench = strict().await;
    let grants = bench
        .simulator
        .handle()
        .seed(SeedRequest::count(2))
        .unwrap();
    let [one, two] = &grants[..] else {
        panic!("two grants")
    };
    bench.script(Fault::respond(501, "").on_chain(&two.chain));
    bench.script(Fault::respond(502, "").times(2));
    bench.script(Fault::respond(503, "").on_client(ID).from_nth(2));
    bench.script(Fault::respond(504, "").on(Target::Api).always());
    let mut statuses = Vec::new();
    for grant in [one, two, one, one, one] {
        statuses.push(bench.refresh(token_of(grant)).await.status);
    }
    assert_eq!(statuses, [502, 501, 502, 200, 503]);
    for _ in 0..2 {
        assert_eq!(bench.api("/v2/devices", "x").await.status, 504);
    }
    assert_eq!(bench.last().presented, Some(Presented::Spent));
}

#[tokio::test]
async fn probability_is_repeatable_by_seed() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let bench = bench(SimulatorOptions {
            seed: Some(4711),
            ..SimulatorOptions::default()
        })
        .await;
        bench.script(Fault {
            matching: Match {
                probability: Some(0.5),
                ..Match::default()
            },
            ..Fault::respond(503, "").always()
        });
        let mut statuses = Vec::new();
        for _ in 0..20 {
            statuses.push(bench.refresh("a.b").await.status);
        }
        assert!(statuses.contains(&503) && statuses.contains(&400));
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn the_api_and_the_authorize_endpoint_can_fail_too() {
    let bench = strict().await;
    let grant = bench.one_grant();
    bench.script(
        Fault::respond(401, "{}")
            .on(Target::Api)
            .on_chain(&grant.chain),
    );
    assert_eq!(
        bench.api("/v2/devices", &grant.access_token).await.status,
        401
    );
    assert_eq!(
        bench.api("/v2/devices", &grant.access_token).await.status,
        200
    );
    bench.script(Fault::respond(502, "").on(Target::Authorize));
    assert_eq!(bench.get("/oauth/authorize").await.status, 502);
    bench.script(Fault::new(Action::Close { reset: false }).on(Target::Any));
    let cut = bench.http.get(bench.url("/v2/devices")).send().await;
    assert!(cut.is_err());
}
