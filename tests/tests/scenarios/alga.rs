//! Take-over of what Alga PSA and the MCP server have kept, as an operator does it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use evergreen_tests::eventually;
use evergreen_tests::process::Finished;
use evergreen_tests::site::Site;
use serde_json::{Value, json};

use crate::processes::SOON;

const TENANTS: usize = 200;

fn put(base: &Path, name: &str, content: &str) {
    let path = base.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// What Alga keeps of a live grant.
fn credentials(grant: &Value) -> Value {
    let expires_at = DateTime::parse_from_rfc3339(grant["expires_at"].as_str().unwrap());
    json!({
        "access_token": grant["access_token"], "refresh_token": grant["refresh_token"],
        "expires_at": expires_at.unwrap().timestamp_millis(),
        "instance_url": format!("{}/api/v2/", grant["instance_url"].as_str().unwrap()),
    })
}

async fn seeded(site: &Site, count: usize) -> Vec<Value> {
    let ask = json!({"client_id": "site", "count": count});
    site.simulated("seed", &ask).await["grants"]
        .as_array()
        .unwrap()
        .clone()
}

/// A directory of 200 tenants; of those that are told apart, what is to become of them.
struct Alga {
    base: PathBuf,
    /// Tenants whose grants are adopted and served as they are.
    good: Vec<(String, String)>,
    /// Tenants whose access token's end is not known: refreshed at once.
    at_once: Vec<String>,
    /// Tenant, field and a word of the reason.
    bad: Vec<(String, &'static str, &'static str)>,
}

impl Alga {
    async fn new(site: &Site) -> Self {
        let base = site.file("alga");
        let mut alga = Self {
            base,
            good: Vec::new(),
            at_once: Vec::new(),
            bad: Vec::new(),
        };
        let grants = seeded(site, TENANTS).await;
        for (n, grant) in grants.iter().enumerate() {
            alga.tenant(n, grant);
        }
        // Beside ours lies what is none of ours.
        put(&alga.base, "ninjaone_client_id", "");
        put(&alga.base, "postgres_password", "CANARY-foreign");
        put(&alga.base, "tenants/README", "CANARY-foreign");
        put(&alga.base, "tenants/empty/smtp_password", "CANARY-foreign");
        alga
    }

    fn tenant(&mut self, n: usize, grant: &Value) {
        let tenant = grant["tenant"].as_str().unwrap().to_owned();
        let file = format!("tenants/{tenant}/ninjaone_credentials");
        let oauth_state = format!("tenants/{tenant}/ninjaone_oauth_state");
        put(&self.base, &oauth_state, "CANARY-foreign");
        let mut kept = credentials(grant);
        let token = grant["access_token"].as_str().unwrap().to_owned();
        let seconds = kept["expires_at"].as_i64().unwrap() / 1_000;
        match n {
            0 => kept["refresh_token"] = Value::Null,
            1 => {
                kept.as_object_mut().unwrap().remove("refresh_token");
            }
            2 => kept["expires_at"] = json!(seconds),
            3 => kept["expires_at"] = json!((seconds * 1_000).to_string()),
            4 => put(
                &self.base,
                &format!("tenants/{tenant}/ninjaone_client_id"),
                "\n",
            ),
            _ => {}
        }
        match n {
            5 => kept["expires_at"] = Value::Null,
            6 => kept["expires_at"] = json!("soon"),
            7 => kept["expires_at"] = json!(-1),
            11 => kept["instance_url"] = json!("https://app.ninjarmm.com.evil.example"),
            _ => {}
        }
        match n {
            5..8 => self.at_once.push(tenant.clone()),
            8..16 => {}
            _ => self.good.push((tenant.clone(), token)),
        }
        let whole = kept.to_string();
        let content = match n {
            8 => whole[..whole.len() / 2].to_owned(),
            9 => format!("[{whole}]"),
            10 => json!({"expires_at": 1, "instance_url": grant["instance_url"]}).to_string(),
            12 => json!({"access_token": 7, "refresh_token": "CANARY"}).to_string(),
            13 => " ".repeat(70 * 1024) + &whole,
            _ => whole,
        };
        let path = self.base.join(&file);
        match n {
            14 => fs::create_dir_all(&path).unwrap(),
            15 => symlink("/nowhere/at/all", &path).unwrap(),
            _ => put(&self.base, &file, &content),
        }
        let bad = match n {
            8 => ("ninjaone_credentials", "is not JSON"),
            9 => ("ninjaone_credentials", "is not a JSON object"),
            10 => ("refresh_token", "is missing, and so is access_token"),
            11 => ("instance_url", "is not a known host"),
            12 => ("access_token", "is not text"),
            13 => ("ninjaone_credentials", "is too large"),
            14 => ("ninjaone_credentials", "is not a regular file"),
            15 => ("ninjaone_credentials", "leads nowhere"),
            _ => return,
        };
        self.bad.push((tenant, bad.0, bad.1));
    }

    async fn import(&self, site: &Site, key: &str) -> Finished {
        let base = self.base.to_str().unwrap();
        let arguments = ["import", "--format", "alga", base, "--json"];
        site.run(site.from_afar(key, &arguments)).await
    }
}

/// All integrations as they stand.
async fn listed(site: &Site, key: &str) -> Vec<Value> {
    let list = site.from_afar(key, &["list", "--json"]);
    let list = site.run(list).await.expect_code(0).json();
    list["integrations"].as_array().unwrap().clone()
}

fn row<'a>(report: &'a Value, tenant: &str) -> &'a Value {
    let rows = report["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["tenant"] == tenant);
    row.unwrap_or_else(|| panic!("no row of {tenant}: {report}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn s56_each_good_tenant_is_adopted_each_bad_one_named_and_a_second_import_changes_nothing() {
    let site = Site::start("a-secret-of-the-app").await;
    let key = site.key(&["admin", "token"]).await;
    let alga = Alga::new(&site).await;
    let first = alga.import(&site, &key).await.expect_code(4);
    let report = first.json();
    assert_eq!(report["adopted"], TENANTS - alga.bad.len(), "{report}");
    assert_eq!(report["refused"], alga.bad.len());
    assert_eq!(report["rows"].as_array().unwrap().len(), TENANTS);
    for (tenant, field, reason) in &alga.bad {
        let row = row(&report, tenant);
        assert_eq!(
            (&row["result"], &row["field"]),
            (&json!("refused"), &json!(field))
        );
        let told = row["reason"].as_str().unwrap();
        assert!(told.contains(reason), "{tenant}: {told}");
        // Nothing half-written: no key of the store names it.
        let status = site.from_afar(&key, &["status", &format!("{tenant}/ninjaone")]);
        site.run(status).await.expect_code(3);
        let keys: Vec<String> = site.redis.cli(&["KEYS", &format!("*{tenant}*")]).await;
        assert_eq!(keys, Vec::<String>::new(), "{tenant}");
    }
    // Those whose end nobody knows are asked for at once, the others are served as they came.
    let settled = eventually("all at rest", SOON, async || {
        let all = listed(&site, &key).await;
        let known = |one: &Value| !one["access_token_expires_at"].is_null();
        let rest = |one: &Value| one["state"] != "Refreshing" && known(one);
        all.iter().all(rest).then_some(all)
    })
    .await;
    for one in &settled {
        let tenant = one["integration"]
            .as_str()
            .unwrap()
            .split('/')
            .next()
            .unwrap();
        let at_once = alga.at_once.iter().any(|known| known == tenant);
        assert_eq!(one["generation"], u64::from(at_once), "{one}");
    }
    for (n, (tenant, token)) in alga.good.iter().enumerate() {
        let lasting = !row(&report, tenant).to_string().contains("refresh_token");
        let wanted = if lasting { "Scheduled" } else { "Active" };
        let id = format!("{tenant}/ninjaone");
        let one = settled.iter().find(|one| one["integration"] == id.as_str());
        assert_eq!(one.unwrap()["state"], wanted, "{tenant}");
        assert_eq!(
            lasting,
            n >= 2,
            "the first two came without a refresh token"
        );
        if n % 20 < 3 {
            let read = site.from_afar(&key, &["token", &id]);
            let served = site.run(read).await.expect_code(0).stdout;
            assert_eq!(served.trim(), token, "{tenant}");
        }
    }
    let second = alga.import(&site, &key).await.expect_code(4);
    let report = second.json();
    assert_eq!(report["adopted"], 0, "{report}");
    for tenant in &alga.at_once {
        let row = row(&report, tenant);
        assert_eq!(row["field"], "refresh_token", "spent meanwhile: {row}");
    }
    assert_eq!(report["unchanged"], alga.good.len(), "{report}");
    assert_eq!(listed(&site, &key).await, settled, "nothing was changed");
    for said in [first, second] {
        let said = format!("{}{}", said.stdout, said.stderr);
        assert!(
            !said.contains("CANARY") && said.contains("Two owners"),
            "{said}"
        );
        assert!(!said.contains(&alga.good[9].1));
    }
}

/// One slot of `tokens.json` around a live grant.
fn slot(grant: &Value, expires_at: &Value) -> Value {
    json!({"access_token": grant["access_token"], "refresh_token": grant["refresh_token"],
        "expires_at": expires_at, "scope": "monitoring management", "token_type": "Bearer",
        "valid": true})
}

async fn take(site: &Site, key: &str, id: &str, file: &Path) -> Finished {
    let arguments = [
        "import",
        "--format",
        "tokens-json",
        file.to_str().unwrap(),
        "--id",
        id,
        "--instance-url",
        &site.simulator_url,
        "--json",
    ];
    // Two hours east of Greenwich.
    site.run(site.from_afar(key, &arguments).env("TZ", "CAT-2"))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn s57_58_tokens_json_is_read_however_it_was_written_and_a_broken_one_is_moved_aside() {
    let site = Site::start("a-secret-of-the-app").await;
    let key = site.key(&["admin", "token"]).await;
    let grants = seeded(&site, 8).await;
    let until = DateTime::from_timestamp(Utc::now().timestamp() + 500, 0).unwrap();
    let here = until.naive_utc() + TimeDelta::hours(2);
    let offset = until.naive_utc() - TimeDelta::hours(4);
    let known = [
        json!(here.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()),
        json!(here.format("%Y-%m-%d %H:%M:%S").to_string()),
        json!(until.to_rfc3339_opts(SecondsFormat::Secs, true)),
        json!(format!("{}-04:00", offset.format("%Y-%m-%dT%H:%M:%S%.3f"))),
    ];
    let file = site.file("tokens.json");
    let write = |user: &Value, more: Value| {
        let mut whole = json!({"client": null, "user": user});
        whole
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        fs::write(&file, whole.to_string()).unwrap();
    };
    for (n, expires_at) in known.iter().enumerate() {
        // Unknown keys, at both levels, are none of our business.
        let mut user = slot(&grants[n], expires_at);
        user["surprise"] = json!({"deep": [1]});
        write(&user, json!({"version": 3}));
        let id = format!("acme/{n}");
        let told = take(&site, &key, &id, &file).await.expect_code(0).json();
        assert_eq!(
            (&told["adopted"], &told["refused"]),
            (&json!(1), &json!(0)),
            "{told}"
        );
        let status = site.from_afar(&key, &["status", &id, "--json"]);
        let status = site.run(status).await.expect_code(0).json();
        let stored = status["access_token_expires_at"].as_str().unwrap();
        let stored = DateTime::parse_from_rfc3339(stored).unwrap();
        assert_eq!(stored.with_timezone(&Utc), until, "{expires_at}");
        assert_eq!(status["scopes"], "monitoring management");
        let again = take(&site, &key, &id, &file).await.expect_code(0).json();
        assert_eq!(again["unchanged"], 1, "{again}");
    }
    // Members that are missing: an end that nobody knows is a refresh at once.
    let grant = &grants[4];
    let bare =
        json!({"access_token": grant["access_token"], "refresh_token": grant["refresh_token"]});
    write(&bare, json!({}));
    take(&site, &key, "acme/4", &file).await.expect_code(0);
    eventually("its refresh", SOON, async || {
        let status = site.from_afar(&key, &["status", "acme/4", "--json"]);
        let status = site.run(status).await.json();
        (status["generation"] == 1).then_some(())
    })
    .await;
    // What Evergreen has spent since is not taken back, and not by another way either.
    let again = take(&site, &key, "acme/4", &file)
        .await
        .expect_code(4)
        .json();
    assert_eq!(again["rows"][0]["field"], "refresh_token", "{again}");
    for empty in [json!({"user": null}), json!({"user": {}}), json!({})] {
        fs::write(&file, empty.to_string()).unwrap();
        let told = take(&site, &key, "acme/5", &file)
            .await
            .expect_code(0)
            .json();
        assert_eq!(told["rows"], json!([]), "{empty}");
    }
    for broken in [
        "",
        "{\"user\": {\"access_token\": \"CANARY",
        "[]",
        "not JSON",
    ] {
        fs::write(&file, broken).unwrap();
        let said = take(&site, &key, "acme/5", &file).await.expect_code(4);
        assert_eq!(said.json()["rows"][0]["field"], "file");
        assert!(!format!("{}{}", said.stdout, said.stderr).contains("CANARY"));
        assert!(!file.exists(), "moved aside");
        let aside = |entry: &fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            name.starts_with("tokens.json.unreadable-")
        };
        let folder = fs::read_dir(file.parent().unwrap()).unwrap().flatten();
        let kept: Vec<_> = folder.filter(aside).collect();
        assert_eq!(kept.len(), 1, "kept as it was");
        assert_eq!(fs::read_to_string(kept[0].path()).unwrap(), broken);
        fs::remove_file(kept[0].path()).unwrap();
    }
    site.run(site.from_afar(&key, &["status", "acme/5"]))
        .await
        .expect_code(3);
}
