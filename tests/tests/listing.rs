//! All grants, page by page, over a real key space.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::collections::BTreeSet;
use std::time::Duration;

use evergreen_tests::bench::adopt;
use evergreen_tests::{Bench, RedisServer};
use ninjaone::service::{App, ListQuery, ServiceError};
use ninjaone::simulator::SimulatorOptions;

/// More keys than one step of the store's walk looks at.
const GRANTS: usize = 400;

/// The names on all pages; none may hold more than was asked for.
async fn all(app: &App, query: ListQuery) -> Vec<String> {
    let mut names = Vec::new();
    let mut query = query;
    loop {
        let page = app.list(&query).await.unwrap();
        assert!(page.integrations.len() <= query.limit, "too many on a page");
        names.extend(page.integrations.into_iter().map(|view| view.integration));
        query.cursor = page.next;
        if query.cursor.is_none() {
            return names;
        }
    }
}

fn pages_of(limit: usize) -> ListQuery {
    ListQuery {
        limit,
        ..ListQuery::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_grant_stands_on_one_page_whatever_their_size() {
    let redis = RedisServer::start_own().await;
    let simulator = SimulatorOptions {
        access_token_life: Duration::from_secs(3600),
        ..SimulatorOptions::default()
    };
    let bench = Bench::on_redis(&redis, simulator).await;
    let app = bench.app("one");
    let mut wanted = BTreeSet::new();
    let mut some_tenant = String::new();
    for grant in bench.seed(GRANTS) {
        adopt(&app, &grant).await;
        wanted.insert(format!("{}/{}", grant.tenant, grant.integration));
        some_tenant = grant.tenant;
    }
    for limit in [7, 150, 1_000] {
        let names = all(&app, pages_of(limit)).await;
        assert_eq!(names.len(), GRANTS, "pages of {limit}");
        assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), wanted);
    }
    let first = app.list(&pages_of(7)).await.unwrap();
    assert_eq!(first.integrations.len(), 7);
    assert!(first.next.is_some());

    let of_one = ListQuery {
        tenants: Some(vec![some_tenant.clone()]),
        ..pages_of(100)
    };
    let names = all(&app, of_one).await;
    assert!(names.iter().all(|name| name.starts_with(&some_tenant)));
    assert_eq!(names.len(), 1);
    let ill = ListQuery {
        attention: true,
        ..pages_of(100)
    };
    assert!(all(&app, ill).await.is_empty());

    for cursor in ["acme/prod@user", "eyJzIjoiQ0FOQVJZIiwiYSI6bnVsbH0"] {
        let query = ListQuery {
            cursor: Some(cursor.to_owned()),
            ..pages_of(7)
        };
        match app.list(&query).await {
            Err(ServiceError::Invalid { field, .. }) => assert_eq!(field, "cursor"),
            other => panic!("{cursor}: {other:?}"),
        }
    }
}
