//! One token request: what is opened for it, what its answer means for the machine.

use std::sync::Arc;

use evergreen_engine::{Call, Millis, WorkflowId};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::late::{deliver_left, read_on};
use super::said::When;
use super::sealing::{blob, workflow};
use super::{Refresher, said};
use crate::integration::{GrantKind, GrantRef};
use crate::lifecycle::{Credential, Issued, Outcome, Refresh, is_quarantine};
use crate::provider::{
    Answer, Attention, ClientApp, Detail, InstanceUrl, Reason, Reply, TokenCall, TokenRequest, Why,
};
use crate::vault::{Pair, Place};

/// A detail of our own words.
pub(super) fn words(text: &str) -> Detail {
    Detail {
        description: Some(text.to_owned()),
        ..Detail::default()
    }
}

/// What a request is made of.
struct Prepared {
    instance: InstanceUrl,
    app: ClientApp,
    request: TokenRequest,
    /// The pair that is there, for what the answer does not bring.
    old: Option<Pair>,
}

/// Sends the request that the machine asked for.
pub(super) async fn perform(refresher: &Refresher, call: &Call<'_, Credential>) -> Outcome {
    let prepared = match prepare(refresher, call) {
        Ok(prepared) => prepared,
        Err(outcome) => return outcome,
    };
    let trust = call.trust.clone();
    let mut request = TokenCall::new(
        prepared.instance,
        prepared.app,
        prepared.request,
        call.deadline,
    );
    request.known_path = call.activity.token_path;
    let (asked, id) = (refresher.clone(), call.id.clone());
    let host = call.activity.instance_url.clone();
    request.may_send = Some(Arc::new(move || {
        trust.holds() && !asked.gate.was_told_to_stay_away(&host, &id)
    }));
    let clock = StoreClock::at(call.now);
    let sent = refresher.endpoint.send_detachable(request).await;
    if let Some(late) = sent.late {
        let waiting = Answered {
            id: call.id.clone(),
            claim: call.claim.to_owned(),
            activity: call.activity.clone(),
            old: prepared.old.clone(),
            clock,
        };
        read_on(refresher, waiting, late);
    }
    let answered = Answered {
        id: call.id.clone(),
        claim: call.claim.to_owned(),
        activity: call.activity.clone(),
        old: prepared.old,
        clock,
    };
    let unopened = unopened(refresher, call);
    let refresher = refresher.clone();
    let (tell, told) = oneshot::channel();
    // In a task of its own: a disk that is slow past the deadline must not lose what has come.
    tokio::spawn(async move {
        let id = answered.id.clone();
        let outcome = judge(&refresher, answered, sent.reply, When::InTime).await;
        let outcome = match (outcome, unopened) {
            // What is kept apart comes before a verdict, and it cannot be tried.
            (Outcome::Rejected { detail, .. }, Some(why)) => Outcome::Misconfigured {
                attention: Attention::Undecryptable,
                detail: Detail {
                    description: Some(why),
                    ..detail
                },
            },
            (outcome, _) => outcome,
        };
        // The turn may be over.
        if let Err(outcome) = tell.send(outcome) {
            deliver_left(&refresher, &id, outcome);
        }
    });
    told.await.unwrap_or_else(|_| Outcome::Unknown {
        detail: words("the answer could not be judged"),
    })
}

/// Why a pair that is kept apart cannot be opened, if there is one. Nothing but a rejection asks for it.
fn unopened(refresher: &Refresher, call: &Call<'_, Credential>) -> Option<String> {
    let apart = call.sealed.iter().filter(|(slot, _)| is_quarantine(slot));
    let mut keys = apart.map(|(slot, _)| blob(call.sealed, slot).map(|b| b.key_id().to_owned()));
    keys.find_map(|key| match key {
        Ok(key) if refresher.ring.ids().any(|id| id == key) => None,
        Ok(key) => Some(format!(
            "the tokens are refused, and a pair that is kept apart is sealed with the key {key}, which is \
             not in the ring"
        )),
        Err(why) => Some(format!(
            "the tokens are refused, and a pair that is kept apart is damaged: {why}"
        )),
    })
}

/// Opens what is needed; what cannot be opened is an outcome of its own.
fn prepare(refresher: &Refresher, call: &Call<'_, Credential>) -> Result<Prepared, Outcome> {
    let Refresh {
        grant,
        generation,
        instance_url,
        own_app,
        scopes,
        ..
    } = call.activity;
    let misconfigured = |attention, detail| Outcome::Misconfigured { attention, detail };
    let undecryptable = |what: &str, why: &dyn std::fmt::Display| {
        misconfigured(Attention::Undecryptable, words(&format!("{what}: {why}")))
    };
    let instance = InstanceUrl::parse(instance_url, &refresher.policy)
        .map_err(|why| misconfigured(Attention::WrongEndpoint, words(&why.to_string())))?;
    let workflow = workflow(call.id);
    let app = if *own_app {
        let place = Place::Client {
            workflow,
            grant: *grant,
        };
        let opened = blob(call.sealed, "app").and_then(|app| refresher.ring.open_app(&place, &app));
        let app = opened.map_err(|why| undecryptable("the client app's credentials", &why))?;
        ClientApp {
            client_id: app.client_id,
            client_secret: app.client_secret,
        }
    } else {
        refresher.client.clone().ok_or_else(|| {
            let why = "no client app is configured: set EVERGREEN_NINJAONE_CLIENT_ID";
            misconfigured(Attention::NoClient, words(why))
        })?
    };
    let minted = call
        .id
        .id()
        .parse::<GrantRef>()
        .is_ok_and(|g| g.kind() == GrantKind::Client);
    let place = Place::Stored {
        workflow,
        grant: *grant,
        generation: *generation,
    };
    let missing = || Outcome::Rejected {
        reason: Reason::MissingCredentials,
        detail: words("no refresh token is stored"),
    };
    let old = match call.sealed.get("pair") {
        None => None,
        Some(_) => Some(
            blob(call.sealed, "pair")
                .and_then(|pair| refresher.ring.open_pair(&place, &pair))
                .map_err(|why| undecryptable("the stored tokens", &why))?,
        ),
    };
    let request = if minted {
        TokenRequest::ClientCredentials {
            scope: scopes.clone(),
        }
    } else {
        let token = old.as_ref().and_then(|pair| pair.refresh_token.clone());
        TokenRequest::Refresh {
            refresh_token: token.ok_or_else(missing)?,
        }
    };
    Ok(Prepared {
        instance,
        app,
        request,
        old,
    })
}

/// The store's time of what happens here. It goes on by the monotonic clock, because our wall clock
/// may be stepped between a request and its answer.
#[derive(Clone, Copy)]
struct StoreClock {
    store: Millis,
    here: Instant,
}

impl StoreClock {
    fn at(store: Millis) -> Self {
        Self {
            store,
            here: Instant::now(),
        }
    }

    fn time_of(self, here: Instant) -> Millis {
        let since = here.saturating_duration_since(self.here).as_millis();
        self.store
            .saturating_add(Millis::try_from(since).unwrap_or(Millis::MAX))
    }
}

/// What an answer means for the machine. A pair is in the journal when this returns.
pub(super) async fn judge(
    refresher: &Refresher,
    answered: Answered,
    reply: Reply,
    when: When,
) -> Outcome {
    let Answered {
        id,
        claim,
        activity,
        old,
        clock,
    } = answered;
    let Reply {
        answer,
        detail,
        sent_at,
        path,
        skew_ms,
        ..
    } = reply;
    #[expect(clippy::cast_precision_loss)]
    if let Some(skew) = skew_ms {
        refresher
            .telemetry
            .clock_skew("provider", skew as f64 / 1_000.0);
    }
    let now = clock.time_of(Instant::now());
    let left = said::tell(refresher, &activity.instance_url, &answer, (when, now)).await;
    let sent_at = clock.time_of(sent_at);
    let (access, refresh, mut issued) = match answer {
        Answer::Granted(granted) => {
            let life = granted.life_s.saturating_mul(1_000);
            let fresh = granted.access_token.is_some();
            for oddity in &granted.warnings {
                refresher.telemetry.oddity(oddity.as_str());
            }
            let warning = granted.warnings.first().map(|w| w.as_str().to_owned());
            let reduced = match (&activity.scopes, &granted.scope) {
                (Some(asked), Some(given)) => crate::provider::scope_reduced(asked, given),
                _ => false,
            };
            let issued = Partly {
                expires_at: fresh.then(|| sent_at.saturating_add(life)),
                expiry_assumed: granted.expiry_assumed,
                scopes: granted.scope,
                bearer: granted.token_type_ok,
                warning: warning.or_else(|| reduced.then(|| "scope_reduced".to_owned())),
                salvaged: false,
            };
            (granted.access_token, granted.refresh_token, issued)
        }
        Answer::Unknown {
            salvaged: Some(token),
            ..
        } => {
            let issued = Partly {
                salvaged: true,
                ..Partly::default()
            };
            (None, Some(token), issued)
        }
        Answer::Unknown { .. } => return Outcome::Unknown { detail },
        Answer::Rejected { reason } => return Outcome::Rejected { reason, detail },
        Answer::Misconfigured { attention } => {
            return Outcome::Misconfigured { attention, detail };
        }
        Answer::Throttled { .. } => {
            let until = clock.time_of(Instant::now()).saturating_add(left);
            return Outcome::Throttled { until, detail };
        }
        // Trust was over before the first byte: nobody's failure, and surely nothing was spent.
        Answer::Unavailable {
            why: Why::Withheld, ..
        } => return Outcome::NotSent,
        Answer::Unavailable { tls, not_sent, .. } => {
            return Outcome::Unavailable {
                detail,
                sent: !not_sent,
                tls,
                unclassified: false,
            };
        }
        Answer::Unclassified => {
            return Outcome::Unavailable {
                detail,
                sent: true,
                tls: false,
                unclassified: true,
            };
        }
    };
    let minted = id
        .id()
        .parse::<GrantRef>()
        .is_ok_and(|g| g.kind() == GrantKind::Client);
    let (old_access, old_refresh) = match old {
        Some(pair) => (Some(pair.access_token), pair.refresh_token),
        None => (None, None),
    };
    let refresh_token = if minted {
        None
    } else {
        refresh.or(old_refresh)
    };
    let Some(access_token) = access.or(old_access) else {
        return Outcome::Unknown { detail };
    };
    if access_token.expose_secret().is_empty() {
        issued.bearer = false;
    }
    let fingerprint = |token: &SecretString| refresher.fingerprints.fingerprint(token);
    let mut issued = Issued {
        grant: activity.grant,
        base_generation: activity.generation,
        refresh_token: refresh_token.as_ref().map(fingerprint),
        pair: Pair {
            access_token,
            refresh_token,
        },
        obtained_at: sent_at,
        expires_at: issued.expires_at,
        expiry_assumed: issued.expiry_assumed,
        scopes: issued.scopes,
        bearer: issued.bearer,
        token_path: path,
        warning: issued.warning,
        salvaged: issued.salvaged,
        detail,
        entry: None,
    };
    issued.entry = refresher.keeper.put(&id, &claim, &issued).await;
    Outcome::Refreshed(Box::new(issued))
}

/// What a success says beside the tokens.
#[derive(Default)]
struct Partly {
    expires_at: Option<Millis>,
    expiry_assumed: bool,
    scopes: Option<String>,
    bearer: bool,
    warning: Option<String>,
    salvaged: bool,
}

/// What a reply needs to be of use.
pub(super) struct Answered {
    pub(super) id: WorkflowId,
    claim: String,
    activity: Refresh,
    old: Option<Pair>,
    clock: StoreClock,
}
