//! What a request to Redis asks for, in the words of the protocol: found by the hashes of the engine's
//! own scripts.

use std::sync::LazyLock;

use redis::Script;

use super::frame::strings;

/// What goes over a connection, as one step of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// A workflow is taken.
    Claim,
    /// An activity is written down.
    Intent,
    /// A transition is written that ends a turn.
    Commit,
    /// A signal is queued.
    Signal,
    /// A workflow is read.
    Read,
    /// A lease is renewed or given back.
    Extend,
    /// An entry of the index is compared.
    Reconcile,
    /// What is parked is given back.
    Requeue,
    /// A name is taken for a while.
    Turnstile,
    /// A place in a gate is taken.
    Enter,
    /// A gate is told how it went inside, or asked how it stands.
    Gate,
    /// The key space is stamped.
    Stamp,
    /// The outbox is read, or what was read is noted.
    Outbox,
    /// Anything else.
    Other,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What it asks for.
    pub step: Step,
    /// Its words: the command and its arguments.
    pub words: Vec<String>,
}

impl Call {
    /// Reads a frame.
    pub(super) fn read(frame: &[u8]) -> Self {
        let words = strings(frame);
        Self {
            step: step(&words),
            words,
        }
    }

    /// What is no request of Redis.
    pub(super) fn bytes(frame: &[u8]) -> Self {
        Self {
            step: Step::Other,
            words: vec![String::from_utf8_lossy(frame).into_owned()],
        }
    }

    /// An argument of its script, counted from 1 as in the script's head.
    pub fn argument(&self, number: usize) -> &str {
        let keys = self.words.get(2).and_then(|count| count.parse().ok());
        let at = keys.map(|keys: usize| 2 + keys + number);
        at.and_then(|at| self.words.get(at))
            .map_or("", String::as_str)
    }

    /// Whether any of its words contains this.
    pub fn names(&self, text: &str) -> bool {
        self.words.iter().any(|word| word.contains(text))
    }
}

static HASHES: LazyLock<Vec<(String, Step)>> = LazyLock::new(|| {
    macro_rules! hash {
        ($name:literal) => {
            Script::new(include_str!(concat!(
                "../../../engine/scripts/",
                $name,
                ".lua"
            )))
            .get_hash()
            .to_owned()
        };
    }
    vec![
        (hash!("claim"), Step::Claim),
        (hash!("commit"), Step::Commit),
        (hash!("signal"), Step::Signal),
        (hash!("read"), Step::Read),
        (hash!("extend"), Step::Extend),
        (hash!("reconcile"), Step::Reconcile),
        (hash!("requeue"), Step::Requeue),
        (hash!("turnstile"), Step::Turnstile),
        (hash!("enter"), Step::Enter),
        (hash!("gate"), Step::Gate),
        (hash!("stamp"), Step::Stamp),
        (hash!("drain"), Step::Outbox),
        (hash!("settle"), Step::Outbox),
        (hash!("reader"), Step::Outbox),
    ]
});

fn step(words: &[String]) -> Step {
    let hash = words.get(1).map_or("", String::as_str);
    let known = HASHES.iter().find(|(known, _)| known == hash);
    match known.map(|(_, step)| *step) {
        // ARGV 14 of commit.lua: for how long the lease is kept.
        Some(Step::Commit) => {
            let call = Call {
                step: Step::Commit,
                words: words.to_vec(),
            };
            if call.argument(14).is_empty() {
                Step::Commit
            } else {
                Step::Intent
            }
        }
        Some(step) => step,
        None => Step::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(keep: &str) -> Call {
        let hash = HASHES.iter().find(|(_, step)| *step == Step::Commit);
        let mut words = vec![
            "EVALSHA".to_owned(),
            hash.unwrap().0.clone(),
            "2".to_owned(),
        ];
        words.extend(["k1", "k2"].map(str::to_owned));
        words.extend((1..=14).map(|n| {
            if n == 14 {
                keep.to_owned()
            } else {
                n.to_string()
            }
        }));
        let mut frame = format!("*{}\r\n", words.len());
        for word in &words {
            frame.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        Call::read(frame.as_bytes())
    }

    #[test]
    fn every_script_of_the_engine_has_its_step() {
        let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/scripts");
        let scripts = std::fs::read_dir(scripts).unwrap();
        let scripts = scripts.filter(|file| {
            let path = file.as_ref().unwrap().path();
            path.extension().is_some_and(|extension| extension == "lua")
        });
        assert_eq!(scripts.count(), HASHES.len(), "a script without a step");
    }

    #[test]
    fn an_intent_is_a_commit_that_keeps_the_lease() {
        assert_eq!(commit("3000").step, Step::Intent);
        assert_eq!(commit("").step, Step::Commit);
        assert_eq!(commit("").argument(2), "2");
        assert_eq!(Call::read(b"*1\r\n$4\r\nPING\r\n").step, Step::Other);
    }
}
