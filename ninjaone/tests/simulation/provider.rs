//! The provider, before HTTP: single use, dead at once, and a ledger of every refresh token that was
//! ever presented.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ninjaone::vault::FingerprintKey;
use url::form_urlencoded;

use super::dice::Dice;
use super::plan::Plan;

/// One pair that was issued.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) refresh: String,
    pub(crate) access: String,
    /// The refresh token's fingerprint, as workflows show it.
    pub(crate) print: String,
    pub(crate) fate: Fate,
}

/// Where a pair is that the provider has issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// On its way, or lost there.
    Travelling,
    /// Read by this process at this time, and not yet in its journal.
    Read(u64, u64),
    /// In a journal, or given to a person; it may not be lost any more.
    Kept,
    /// Its process ended before it could write it down.
    DiedWithItsReader,
}

/// One consent, and all pairs that followed from it.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    pub(crate) integration: String,
    pub(crate) pairs: Vec<Issued>,
    pub(crate) revoked: bool,
}

impl Family {
    pub(crate) fn live(&self) -> &Issued {
        self.pairs.last().expect("a family begins with a pair")
    }

    /// Whether no process can have the live refresh token.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.live().fate, Fate::Travelling | Fate::DiedWithItsReader)
    }
}

/// What the provider does with a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: String,
    /// Which pair it carries: family and place.
    pub(crate) carries: Option<(usize, usize)>,
    /// What is known of the token once the answer is read.
    pub(crate) tells: Tells,
}

/// What an answer says of the refresh token that was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tells {
    Spent,
    Rejected,
    Nothing,
}

#[derive(Default)]
struct Inside {
    families: Vec<Family>,
    tokens: BTreeMap<String, (usize, usize)>,
    storm_until_ms: u64,
}

pub(crate) struct Provider {
    inside: Mutex<Inside>,
    dice: Dice,
    fingerprints: FingerprintKey,
    odds: f64,
    life_s: u64,
}

impl Provider {
    pub(crate) fn new(seed: u64, plan: &Plan, salt: &str) -> Self {
        Self {
            inside: Mutex::default(),
            dice: Dice::new(seed, "provider"),
            fingerprints: FingerprintKey::from_hex(salt).expect("a salt"),
            odds: plan.provider,
            life_s: plan.life_s,
        }
    }

    pub(crate) fn life_s(&self) -> u64 {
        self.life_s
    }

    pub(crate) fn family(&self, number: usize) -> Family {
        self.lock().families[number].clone()
    }

    /// A person consents: a family begins, and that person holds its first pair.
    pub(crate) fn consent(&self, integration: &str) -> (usize, Issued) {
        let mut inside = self.lock();
        let number = inside.families.len();
        inside.families.push(Family {
            integration: integration.to_owned(),
            pairs: Vec::new(),
            revoked: false,
        });
        let place = self.issue(&mut inside, number);
        let pair = &mut inside.families[number].pairs[place];
        pair.fate = Fate::Kept;
        (number, pair.clone())
    }

    /// A person revokes a consent.
    pub(crate) fn revoke(&self, family: usize) {
        self.lock().families[family].revoked = true;
    }

    pub(crate) fn storm_until(&self, at_ms: u64) {
        self.lock().storm_until_ms = at_ms;
    }

    fn issue(&self, inside: &mut Inside, family: usize) -> usize {
        let place = inside.families[family].pairs.len();
        let tail = format!("{:016x}{:016x}", self.dice.bits(), self.dice.bits());
        let refresh = format!("refresh-{family:04}-{place:04}.{tail}");
        let print = self.fingerprints.fingerprint(&refresh.clone().into());
        inside.tokens.insert(refresh.clone(), (family, place));
        inside.families[family].pairs.push(Issued {
            access: format!("access-{family:04}-{place:04}.{tail}"),
            refresh,
            print: print.to_string(),
            fate: Fate::Travelling,
        });
        place
    }

    /// Which family and place a form presents.
    pub(crate) fn presented(&self, form: &str) -> Option<(usize, usize)> {
        let mut fields = form_urlencoded::parse(form.as_bytes());
        let (_, token) = fields.find(|(name, _)| name == "refresh_token")?;
        self.lock().tokens.get(token.as_ref()).copied()
    }

    /// Answers a request; `bad` while things may go wrong.
    pub(crate) fn answer(&self, family: usize, place: usize, now_ms: u64, bad: bool) -> Answer {
        let mut inside = self.lock();
        if inside.storm_until_ms > now_ms {
            return said(500, r#"{"error":"boom"}"#, Tells::Nothing);
        }
        let dead =
            inside.families[family].revoked || place + 1 != inside.families[family].pairs.len();
        let trouble = bad && self.dice.chance(self.odds);
        let kind = if trouble { self.dice.number(1, 9) } else { 0 };
        match kind {
            1 => {
                let after = self.dice.number(1, 20);
                let mut answer = said(429, r#"{"error":"slow_down"}"#, Tells::Nothing);
                answer.retry_after = self.dice.chance(0.7).then_some(after);
                return answer;
            }
            2 => return said(503, "<html>busy</html>", Tells::Nothing),
            3 => return said(500, "<html>error</html>", Tells::Nothing),
            4 if !dead => {
                // A token was consumed behind a 500 before.
                self.issue(&mut inside, family);
                return said(500, "{}", Tells::Nothing);
            }
            5 => return said(200, "<html>welcome</html>", Tells::Nothing),
            6 if !dead => {
                self.issue(&mut inside, family);
                return said(200, r#"{"scope":"monitoring"}"#, Tells::Nothing);
            }
            7 if !dead => {
                // No rotation this time: the refresh token stays what it is.
                let same = inside.families[family].live().refresh.clone();
                let named = self.dice.chance(0.5);
                let access = format!("access-again-{family:04}-{:016x}", self.dice.bits());
                let mut body = serde_json::json!({
                    "access_token": access, "expires_in": self.life_s, "token_type": "Bearer",
                });
                if named {
                    body["refresh_token"] = same.into();
                }
                return said(200, &body.to_string(), Tells::Nothing);
            }
            _ => {}
        }
        if dead {
            return said(400, r#"{"error":"invalid_token"}"#, Tells::Rejected);
        }
        let place = self.issue(&mut inside, family);
        let pair = inside.families[family].live();
        let body = serde_json::json!({
            "access_token": pair.access, "refresh_token": pair.refresh,
            "expires_in": self.life_s, "token_type": "Bearer", "scope": "monitoring",
        });
        let mut answer = said(200, &body.to_string(), Tells::Spent);
        answer.carries = Some((family, place));
        answer
    }

    /// Whether a pair of this family was ever issued with this access token.
    pub(crate) fn issued_access(&self, family: usize, access: &str) -> bool {
        let inside = self.lock();
        let again = format!("access-again-{family:04}-");
        let pairs = &inside.families[family].pairs;
        access.starts_with(&again) || pairs.iter().any(|pair| pair.access == access)
    }

    /// The family whose pair has this fingerprint.
    pub(crate) fn family_of(&self, print: &str) -> Option<usize> {
        let inside = self.lock();
        let mut families = inside.families.iter();
        families.position(|family| family.pairs.iter().any(|pair| pair.print == print))
    }

    /// A process has read a pair.
    pub(crate) fn read(&self, (family, place): (usize, usize), by: u64, now_ms: u64) {
        let mut inside = self.lock();
        inside.families[family].pairs[place].fate = Fate::Read(by, now_ms);
    }

    /// A process has written down the pair that it read first of those of an integration.
    pub(crate) fn journalled(&self, integration: &str, by: u64) {
        if let Some(pair) = self.lock().waiting(by).find(|(of, _)| *of == integration) {
            pair.1.fate = Fate::Kept;
        }
    }

    /// A pair of this integration that a process has read, and neither written down at once nor before
    /// it wrote this.
    pub(crate) fn unwritten(
        &self,
        integration: &str,
        by: u64,
        now_ms: u64,
        text: &str,
    ) -> Option<String> {
        let mut inside = self.lock();
        let mut all = inside.waiting(by);
        let found = all.find(|(of, pair)| {
            let before = pair.fate != Fate::Read(by, now_ms);
            *of == integration && (before || text.contains(&pair.print))
        });
        found.map(|(_, pair)| pair.refresh[..17].to_owned())
    }

    /// This text is in the store now: what it names is kept.
    pub(crate) fn stored(&self, text: &str) {
        let mut inside = self.lock();
        let pairs = inside
            .families
            .iter_mut()
            .flat_map(|family| &mut family.pairs);
        for pair in pairs {
            if matches!(pair.fate, Fate::Read(..)) && text.contains(&pair.print) {
                pair.fate = Fate::Kept;
            }
        }
    }

    /// A process ended; what it had read and not written down is gone.
    pub(crate) fn reader_ended(&self, by: u64) {
        for (_, pair) in self.lock().waiting(by) {
            pair.fate = Fate::DiedWithItsReader;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn waiting(&mut self, by: u64) -> impl Iterator<Item = (&str, &mut Issued)> {
        self.families.iter_mut().flat_map(move |family| {
            let integration = family.integration.as_str();
            let pairs = family.pairs.iter_mut();
            pairs.filter_map(move |pair| {
                matches!(pair.fate, Fate::Read(reader, _) if reader == by)
                    .then_some((integration, pair))
            })
        })
    }
}

fn said(status: u16, body: &str, tells: Tells) -> Answer {
    Answer {
        status,
        retry_after: None,
        body: body.to_owned(),
        carries: None,
        tells,
    }
}
