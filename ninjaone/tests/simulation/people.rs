//! One person for each integration: connects it, and then does what people do, at random moments.

use std::sync::Arc;
use std::time::Duration;

use ninjaone::integration::{GrantKind, GrantRef, Target};
use ninjaone::service::{AdoptOptions, Adopted, App, Offer, ServiceError, TokenAsk};
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep_until, timeout};

use super::dice::Dice;
use super::fleet::Fleet;
use super::scene::Scene;
use super::truth::Wanted;

/// How long a person waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// For how long an access token that was read is served while the store does not answer.
const BELIEVED: Duration = Duration::from_secs(60);

pub(crate) struct Person {
    scene: Arc<Scene>,
    fleet: Arc<Fleet>,
    grant: GrantRef,
    dice: Dice,
}

/// The name of an integration's workflow.
pub(crate) fn name(number: u64) -> String {
    format!("tenant-{number}/prod@user")
}

impl Person {
    pub(crate) fn new(number: u64, scene: &Arc<Scene>, fleet: &Arc<Fleet>) -> Self {
        Self {
            scene: Arc::clone(scene),
            fleet: Arc::clone(fleet),
            grant: name(number).parse().expect("a name"),
            dice: Dice::new(scene.seed, &format!("person {number}")),
        }
    }

    pub(crate) async fn live(self) {
        self.pause(0, 3).await;
        self.connect().await;
        while self.scene.is_bad() {
            self.pause(1, 30).await;
            if self.scene.plan.revocations && self.dice.chance(0.05) {
                self.revoke();
            }
            if !self.scene.plan.people || !self.scene.is_bad() {
                continue;
            }
            match self.dice.number(1, 20) {
                1..=2 => self.connect().await,
                3 => self.disconnect().await,
                4..=6 => self.refresh().await,
                7..=9 => self.reset().await,
                _ => self.read_token().await,
            }
        }
        // Whoever was disconnected half way insists.
        if self.wanted().is_none() {
            self.connect().await;
        }
    }

    /// Consents anew until that was taken: each time with a pair of its own, as consents are.
    async fn connect(&self) {
        loop {
            let (family, pair) = self.scene.provider.consent(&self.grant.to_string());
            let life = self.scene.provider.life_s() * 1_000;
            let offer = Offer {
                grant: self.grant.clone(),
                access_token: Some(pair.access.into()),
                refresh_token: Some(pair.refresh.into()),
                expires_at: Some(self.scene.store_ms() + life),
                instance_url: Some("https://eu.ninjarmm.com".to_owned()),
                client_id: None,
                client_secret: None,
                scopes: None,
                legacy_token_path: false,
            };
            self.say(format!("connects with {family}.0"));
            let how = AdoptOptions {
                replace: true,
                dry_run: false,
            };
            if let Some(Ok(Adopted::Adopted)) =
                self.ask(async |app| app.adopt(offer, how).await).await
            {
                return self.say("is told that it is connected");
            }
            self.pause(1, 5).await;
        }
    }

    async fn disconnect(&self) {
        loop {
            self.say("disconnects");
            let target = self.target();
            match self.ask(async |app| app.disconnect(&target).await).await {
                Some(Ok(_)) => {
                    self.say("is told that it is disconnected");
                    return self.nothing_is_left();
                }
                Some(Err(ServiceError::NotFound { .. })) => return,
                _ => self.pause(1, 5).await,
            }
        }
    }

    /// 10: after the answer nothing is left, unless somebody has connected it since, or the store has
    /// gone back and knows of the disconnect by its barrier.
    fn nothing_is_left(&self) {
        let found = self
            .scene
            .memory
            .inspect(&super::link::workflow(&self.grant.to_string()));
        let barrier = found.record.is_some_and(|record| record.barrier);
        if self.wanted() == Some(Wanted::Disconnected) && !barrier && !found.sealed.is_empty() {
            self.scene.violated(format!(
                "(10) {}: credentials are left after the answer",
                self.grant
            ));
        }
    }

    async fn refresh(&self) {
        self.say("asks for a refresh");
        let target = self.target();
        self.ask(async |app| app.refresh(&target).await).await;
    }

    async fn reset(&self) {
        self.say("asks for a reset");
        let target = self.target();
        self.ask(async |app| app.reset(&target).await).await;
    }

    async fn read_token(&self) {
        let target = self.target();
        let (dice, ask) = (
            &self.dice,
            TokenAsk {
                min_validity: self.dice.chance(0.5).then(|| self.dice.seconds(1, 40)),
                with_refresh_token: false,
            },
        );
        let before = self.wanted();
        let told = self.ask(async |app| app.token(&target, &ask).await).await;
        let Some(Ok(handed)) = told else { return };
        // While the store is away, what was read within a minute counts (PROTOCOL 32).
        let away = handed.warning.as_deref() == Some("store_away");
        if away && self.changed_within(BELIEVED) {
            return;
        }
        // What was wanted all the while is what is served.
        let access = handed.access_token.expose_secret();
        match (before, self.wanted()) {
            (Some(Wanted::Connected { family }), after)
                if after == before && !self.scene.provider.issued_access(family, access) =>
            {
                self.scene.violated(format!(
                    "(10) {}: served {access}, which is of another consent",
                    self.grant
                ));
            }
            (Some(Wanted::Disconnected), Some(Wanted::Disconnected)) => {
                self.scene.violated(format!(
                    "(10) {}: served {access} after its disconnect",
                    self.grant
                ));
            }
            _ => {}
        }
        let _ = dice;
    }

    fn revoke(&self) {
        if let Some(Wanted::Connected { family }) = self.wanted() {
            self.say(format!("revokes {family} at the provider"));
            self.scene.provider.revoke(family);
        }
    }

    fn changed_within(&self, age: Duration) -> bool {
        let truth = self.scene.truth();
        truth.changed_within(&self.grant.to_string(), age)
    }

    fn wanted(&self) -> Option<Wanted> {
        self.scene.truth().wanted(&self.grant.to_string())
    }

    fn target(&self) -> Target {
        Target {
            integration: self.grant.integration().clone(),
            grant: Some(GrantKind::User),
        }
    }

    /// Asks a process, and does not wait for ever: it may have crashed.
    async fn ask<T>(
        &self,
        what: impl AsyncFnOnce(App) -> Result<T, ServiceError>,
    ) -> Option<Result<T, ServiceError>> {
        let app = self.fleet.any(&self.dice)?;
        timeout(PATIENCE, what(app)).await.ok()
    }

    async fn pause(&self, from_s: u64, to_s: u64) {
        sleep_until(Instant::now() + self.dice.seconds(from_s, to_s)).await;
    }

    fn say(&self, what: impl AsRef<str>) {
        self.scene
            .trace
            .say("person", format!("{} {}", self.grant, what.as_ref()));
    }
}
