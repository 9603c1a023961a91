//! What the fleet's timers and requests depend on, kept in the store, so that a change is noticed.

use evergreen_engine::Delivery;
use evergreen_engine::store::{Signalled, StoreError};

use super::App;
use crate::lifecycle::{Credential, KIND, Phase, Signal};

/// The plain table that holds what the fleet works with.
const SETTINGS: &str = "settings";

impl App {
    /// If the fleet's timers were computed with other settings, every healthy grant is told; if it
    /// spoke to the provider with other credentials or had other keys, every grant that may have
    /// waited for these.
    pub(super) async fn tell_settings(&self) -> Result<(), StoreError> {
        let parts = &self.0.refresher;
        let settings = &parts.settings;
        let timing = format!(
            "buffer={:?} min_delay={:?} client={:?}",
            settings.refresh_buffer, settings.refresh_min_delay, settings.client_id
        );
        let secret = parts.client.as_ref().and_then(|c| c.client_secret.as_ref());
        let secret = secret.map(|secret| parts.fingerprints.fingerprint(secret).to_string());
        let keys = parts.ring.prints(&parts.fingerprints);
        let access = format!("{timing} secret={secret:?} keys={keys:?}");
        let moved = self.has_changed("timing", &timing).await?;
        let opened = self.has_changed("access", &access).await?;
        if moved || opened {
            tracing::info!("the settings have changed; what depends on them is judged anew");
            let mut cursor = None;
            loop {
                let (some, next) = self.store().walk(KIND, cursor, 200).await?;
                for (id, record) in some {
                    let machine = evergreen_engine::engine::view::<Credential>(&record);
                    let concerned = match machine {
                        Ok((_, Phase::Scheduled { .. })) => moved,
                        Ok((_, Phase::Active { .. })) => true,
                        _ => false,
                    };
                    if concerned {
                        let signal = Signal::ConfigurationChanged;
                        let engine = &self.0.engine;
                        let told = engine
                            .signal::<Credential>(&id, &signal, Delivery::default())
                            .await?;
                        if told == Signalled::Full {
                            tracing::warn!(
                                workflow = %id,
                                "it is not told that the settings have changed: too many signals wait for it \
                                 already; `evergreen explain` says why nobody hears them"
                            );
                        }
                    }
                }
                cursor = next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        self.store().table_put(SETTINGS, "timing", &timing).await?;
        self.store().table_put(SETTINGS, "access", &access).await
    }

    /// Whether the fleet ran with something else before.
    async fn has_changed(&self, field: &str, mine: &str) -> Result<bool, StoreError> {
        let stored = self.store().table_get(SETTINGS, field).await?;
        Ok(stored.is_some_and(|stored| stored != mine))
    }
}
