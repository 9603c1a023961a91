//! API keys from both ends: `evergreen apikeys` as a client of a server that runs.

use evergreen_tests::Site;

/// Who may change integrations need not hold their tokens, and cannot make itself able to.
#[tokio::test]
async fn an_admin_cannot_make_a_key_for_tokens() {
    let site = Site::start("a-secret-of-the-app").await;
    let create = ["apikeys", "create", "--name", "psa", "--tenant", "acme"];
    let asking = |scopes: &[&'static str]| -> Vec<&str> {
        let scopes = scopes.iter().flat_map(|scope| ["--scope", scope]);
        create.into_iter().chain(scopes).chain(["--json"]).collect()
    };
    let admin = site.key(&["admin"]).await;
    let ask = site.from_afar(&admin, &asking(&["read", "token"]));
    let refused = site.run(ask).await.expect_code(2);
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(said.contains("lacks the scope `token`"), "{said}");
    let ask = site.from_afar(&admin, &asking(&["read"]));
    let made = site.run(ask).await.expect_code(0).json();
    assert!(made["key"].as_str().is_some());

    let both = site.key(&["admin", "token"]).await;
    let ask = site.from_afar(&both, &asking(&["read", "token"]));
    site.run(ask).await.expect_code(0);
    let ask = site.from_afar(&both, &["apikeys", "list", "--json"]);
    let listed = site.run(ask).await.expect_code(0).json();
    let keys = listed["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 4, "{listed}");
    let bound = keys.iter().filter(|key| key["name"] == "psa");
    assert!(bound.clone().all(|key| key["tenants"][0] == "acme"));
    assert_eq!(bound.count(), 2);
}
