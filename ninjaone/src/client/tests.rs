//! The client against the simulator, over real HTTP.

use serde_json::Value;

use super::{Client, ClientError, Page};
use crate::api::tests::fixture::Fixture;
use crate::simulator::{Fault, SeededGrant, SettingsChange, Target};

const NOT_AUTHENTICATED: &str =
    r#"{"error":"not_authenticated","error_description":"Invalid credentials","error_code":10}"#;

async fn fixture() -> (Fixture, SeededGrant, Client) {
    let fixture = Fixture::new().await;
    let seeded = fixture.adopted().await;
    let target = format!("{}/{}", seeded.tenant, seeded.integration);
    let client = Client::new(fixture.app.clone(), target.parse().unwrap()).unwrap();
    (fixture, seeded, client)
}

impl Fixture {
    fn fault(&self, fault: Fault) -> u64 {
        self.simulator.handle().script(fault).unwrap()
    }

    fn refused(&self) -> Fault {
        Fault::respond(401, NOT_AUTHENTICATED).on(Target::Api)
    }

    /// Refreshes that the provider has seen.
    fn refreshes(&self) -> u64 {
        self.simulator.handle().totals().refreshes_succeeded
    }

    fn has(&self, organizations: u32, devices: u32) {
        let change = SettingsChange {
            organizations: Some(organizations),
            devices: Some(devices),
            ..SettingsChange::default()
        };
        self.simulator.handle().change_settings(change).unwrap();
    }
}

#[tokio::test]
async fn pages_follow_one_another_and_all_of_them_are_everything() {
    let (fixture, _, client) = fixture().await;
    fixture.has(3, 2_005);
    let first = Page::first(2);
    let two = client.organizations(first).await.unwrap();
    assert_eq!(
        two.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(),
        ["Organization 1", "Organization 2"]
    );
    let third = client.organizations(first.next(&two)).await.unwrap();
    assert_eq!(third.iter().map(|o| o.id).collect::<Vec<_>>(), [3]);
    let none = client
        .organizations(first.next(&two).next(&third))
        .await
        .unwrap();
    assert!(none.is_empty());

    let devices = client.all_devices().await.unwrap();
    let numbers: Vec<i64> = devices.iter().map(|device| device.id).collect();
    assert_eq!(numbers, (1..=2_005).collect::<Vec<_>>());
    assert_eq!(devices[4].node_class.as_deref(), Some("WINDOWS_SERVER"));
    assert_eq!(
        fixture.refreshes(),
        0,
        "the access token was good all along"
    );
}

#[tokio::test]
async fn s45_a_refused_access_token_is_replaced_once_and_the_request_repeated_once() {
    let (fixture, _, client) = fixture().await;
    let refusal = fixture.fault(fixture.refused());
    let organizations = client.organizations(Page::first(1)).await.unwrap();
    assert_eq!(organizations.len(), 1);
    assert_eq!(fixture.refreshes(), 1);

    fixture.simulator.handle().applied(refusal, 1).await;
    let refusals = fixture.fault(fixture.refused().always());
    let error = client.organizations(Page::first(1)).await.unwrap_err();
    assert!(matches!(error, ClientError::Unauthorized { .. }), "{error}");
    fixture.simulator.handle().applied(refusals, 2).await;
    assert_eq!(fixture.refreshes(), 2, "one more, and no third");
    let faults = fixture.simulator.handle().faults();
    let applied: Vec<_> = faults.iter().map(|fault| fault.applied).collect();
    assert_eq!(applied, [1, 2], "one repetition");
}

#[tokio::test]
async fn s45_no_other_refusal_makes_a_refresh() {
    let (fixture, _, client) = fixture().await;
    for (status, body, expected) in [
        (
            401,
            r#"{"resultCode":"insufficient_privileges"}"#,
            "the grant may not",
        ),
        (
            403,
            r#"{"error":"user_context_required"}"#,
            "the grant may not",
        ),
        (400, r#"{"error":"missing_header"}"#, "missing_header"),
        (404, r#"{"resultCode":"FAILURE"}"#, "not found"),
        (429, "", "too many requests; again in 30s"),
        (200, "not JSON at all", "an answer that does not fit"),
        (302, "", "status 302"),
    ] {
        fixture.fault(Fault::respond(status, body).on(Target::Api));
        let error = client.organizations(Page::first(1)).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{status}: {error}");
        assert!(error.to_string().contains("/organizations"), "{error}");
    }
    assert_eq!(fixture.refreshes(), 0);
}

#[tokio::test]
async fn many_whose_access_token_is_refused_at_once_do_not_refresh_each_for_itself() {
    let (fixture, _, client) = fixture().await;
    fixture.fault(fixture.refused().times(10));
    let asked = (0..10).map(|_| client.organizations(Page::first(1)));
    let answers = futures::future::join_all(asked).await;
    // Those that came late were refused with the new access token already; nobody else was.
    assert!(answers.iter().any(Result::is_ok));
    for answer in answers {
        match answer {
            Ok(_) | Err(ClientError::Unauthorized { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    let totals = fixture.simulator.handle().totals();
    assert_eq!(totals.double_sends, 0);
    assert!(totals.refreshes_succeeded <= 2, "{totals:?}");
}

#[tokio::test]
async fn without_a_token_the_error_says_what_helps() {
    let (fixture, seeded, client) = fixture().await;
    let target: crate::integration::Target = format!("{}/{}", seeded.tenant, seeded.integration)
        .parse()
        .unwrap();
    fixture.app.disconnect(&target).await.unwrap();
    let error = client
        .get::<Value>("/organizations", &[])
        .await
        .unwrap_err();
    assert_eq!(error.recovery(), crate::service::Recovery::Reconnect);
}

#[tokio::test]
async fn a_path_cannot_leave_the_api() {
    let (_fixture, _, client) = fixture().await;
    for path in [
        "organizations",
        "//evil.example/",
        "/../ws/oauth/token",
        "/a?b=c",
        "/a#b",
    ] {
        let error = client.get::<Value>(path, &[]).await.unwrap_err();
        assert!(matches!(error, ClientError::Path { .. }), "{path}: {error}");
    }
}
