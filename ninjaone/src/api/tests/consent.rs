//! A person's way to NinjaOne and back.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::json;

use super::fixture::{Answer, Fixture};

/// Asks as a browser does.
async fn visit(fixture: &Fixture, path: &str, cookie: Option<&str>) -> Answer {
    let mut request = Request::get(path).header(header::ACCEPT, "text/html,*/*");
    if let Some(cookie) = cookie {
        request = request.header(header::COOKIE, cookie);
    }
    fixture.send(request.body(Body::empty()).unwrap()).await
}

/// The link of an operator, as a path of this server.
async fn invitation(fixture: &Fixture) -> String {
    let body = json!({ "instance_url": fixture.simulator.url() });
    let answer = fixture
        .post("/v1/integrations/acme/prod/connect", &fixture.admin, &body)
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.json()["expires_in"], 600);
    let url = answer.json()["url"].as_str().unwrap().to_owned();
    url.strip_prefix("http://127.0.0.1:8080")
        .unwrap()
        .to_owned()
}

/// Consents on NinjaOne's page; the path and query that it sends the browser back to.
async fn consent(authorize_url: &str) -> String {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let page = client.unwrap().get(authorize_url).send().await.unwrap();
    let back = page.headers()["location"].to_str().unwrap().to_owned();
    back.strip_prefix("http://127.0.0.1:8080")
        .unwrap()
        .to_owned()
}

fn cookie(answer: &Answer) -> String {
    answer
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn s48_an_invitation_leads_over_ninjaone_to_a_grant() {
    let fixture = Fixture::new().await;
    let link = invitation(&fixture).await;
    let begun = visit(&fixture, &link, None).await;
    assert_eq!(begun.status, StatusCode::SEE_OTHER, "{}", begun.text);
    let set = begun.header("set-cookie");
    for part in ["HttpOnly", "SameSite=Lax", "Path=/oauth", "Max-Age=600"] {
        assert!(set.contains(part), "{set}");
    }
    let authorize_url = begun.header("location").to_owned();
    assert!(
        authorize_url.contains("code_challenge_method=S256"),
        "{authorize_url}"
    );
    assert!(!authorize_url.contains(cookie(&begun).split_once('=').unwrap().1));

    let back = consent(&authorize_url).await;
    let done = visit(&fixture, &back, Some(&cookie(&begun))).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    assert!(done.text.contains("acme/prod is connected"));
    assert!(done.text.contains("href=\"/integrations/acme/prod\""));
    assert_eq!(done.header("referrer-policy"), "no-referrer");
    assert_eq!(done.header("cache-control"), "no-store");
    let status = fixture
        .get("/v1/integrations/acme/prod", &fixture.read)
        .await;
    assert_eq!(status.json()["state"], "Scheduled");

    // Scenario 49: the callback twice.
    let again = visit(&fixture, &back, Some(&cookie(&begun))).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST);
    assert!(
        again.text.contains("Start the connection again"),
        "{}",
        again.text
    );
}

#[tokio::test]
async fn s49_another_browser_cannot_bring_the_consent_home() {
    let fixture = Fixture::new().await;
    let begun = visit(&fixture, &invitation(&fixture).await, None).await;
    let back = consent(begun.header("location")).await;
    for stranger in [None, Some(format!("evergreen_consent={}", "A".repeat(43)))] {
        let answer = visit(&fixture, &back, stranger.as_deref()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
    }
    let status = fixture
        .get("/v1/integrations/acme/prod", &fixture.read)
        .await;
    assert_eq!(status.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_ticket_is_good_once_and_for_its_integration_and_a_look_ahead_does_not_use_it_up() {
    let fixture = Fixture::new().await;
    let link = invitation(&fixture).await;
    assert_eq!(
        fixture.ask("HEAD", &link, "", None).await.status,
        StatusCode::NO_CONTENT
    );
    let ahead = Request::get(&link).header("sec-purpose", "prefetch");
    let ahead = fixture.send(ahead.body(Body::empty()).unwrap()).await;
    assert_eq!(ahead.status, StatusCode::NO_CONTENT);
    assert_eq!(
        visit(&fixture, &link, None).await.status,
        StatusCode::SEE_OTHER
    );
    let again = visit(&fixture, &link, None).await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
    assert!(
        again.header("content-type").starts_with("text/html"),
        "a person gets a page"
    );

    let other = invitation(&fixture)
        .await
        .replace("acme/prod", "globex/prod");
    assert_eq!(
        visit(&fixture, &other, None).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn without_ticket_only_an_admin_may_begin_unless_the_site_is_open() {
    let fixture = Fixture::new().await;
    let at = url::form_urlencoded::byte_serialize(fixture.simulator.url().as_bytes())
        .collect::<String>();
    let path = format!("/oauth/connect/acme/prod?instance_url={at}");
    assert_eq!(fixture.get(&path, "").await.problem(), "unauthorized");
    assert_eq!(
        fixture.get(&path, &fixture.read).await.problem(),
        "forbidden"
    );
    assert_eq!(
        fixture.get(&path, &fixture.admin).await.status,
        StatusCode::SEE_OTHER
    );
    let refused = fixture
        .get(
            "/oauth/connect/acme/prod?instance_url=https://app.ninjarmm.com.evil.example",
            &fixture.admin,
        )
        .await;
    assert_eq!(refused.json()["field"], "instance_url");
    let region = fixture
        .get("/oauth/connect/acme/prod?region=moon", &fixture.admin)
        .await;
    assert_eq!(region.json()["field"], "region");

    let open = Fixture::with(true).await;
    assert_eq!(
        visit(&open, &path, None).await.status,
        StatusCode::SEE_OTHER
    );
    assert_eq!(open.get(&path, &open.read).await.problem(), "forbidden");
}

#[tokio::test]
async fn what_ninjaone_says_is_shown_as_text_or_not_at_all() {
    let fixture = Fixture::new().await;
    let begun = visit(&fixture, &invitation(&fixture).await, None).await;
    let location = url::Url::parse(begun.header("location")).unwrap();
    let state = location
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap()
        .1
        .into_owned();
    let evil = "%3Cscript%3Ealert(1)%3C/script%3E";
    let path = format!("/oauth/callback?state={state}&error={evil}&error_description={evil}");
    let answer = visit(&fixture, &path, Some(&cookie(&begun))).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(!answer.text.contains("<script>"), "{}", answer.text);
    assert!(answer.text.contains("Not connected"));
    let twice = visit(&fixture, "/oauth/callback?state=a&state=b", None).await;
    assert_eq!(twice.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn without_a_client_app_nobody_is_invited_and_the_setting_is_named() {
    let fixture = Fixture::over(true, None).await;
    let body = json!({ "region": "eu" });
    let path = "/v1/integrations/acme/prod/connect";
    let answer = fixture.post(path, &fixture.admin, &body).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.text);
    assert_eq!(answer.problem(), "needs-attention");
    let told = answer.json();
    assert_eq!(told["recovery"], "fix_configuration");
    let detail = told["detail"].as_str().unwrap();
    for part in [
        "acme/prod",
        "no_client",
        "EVERGREEN_NINJAONE_CLIENT_ID",
        "EVERGREEN_NINJAONE_CLIENT_SECRET",
    ] {
        assert!(detail.contains(part), "{detail}");
    }
    let page = visit(&fixture, "/oauth/connect/acme/prod?region=eu", None).await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    assert!(page.text.contains("no_client"), "{}", page.text);
}
