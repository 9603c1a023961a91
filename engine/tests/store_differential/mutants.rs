//! Would the comparison notice? Each line takes a guard out of a script, or turns it round, and the
//! comparison must fail on it.

use evergreen_engine::store::redis::RedisOptions;

use crate::steps::{self, About};
use crate::support::Server;
use crate::support::wire::{SCRIPTS, Wire};
use crate::{Bench, STEPS};

/// Sequences within which each must be noticed.
const WITHIN: u32 = 1500;
/// The seed of all of them: what is found once is found again.
const SEED: u64 = 20;

/// Shorter sequences tried for one that is found.
const SHRINKS: u32 = 100;

/// A script, what stands in it, and what is put in its place.
type Mutant = (&'static str, &'static str, &'static str);

const MUTANTS: [Mutant; 72] = [
    (
        "claim",
        "tonumber(lease_until) > now or spared",
        "tonumber(lease_until) >= now or spared",
    ),
    ("claim", "> now or spared)", "> now)"),
    (
        "claim",
        "held_by and string.sub(held_by, 1, 1) ~= '('",
        "held_by",
    ),
    (
        "claim",
        "  if barrier and ahead then redis.call('DEL', sealed) end\n",
        "",
    ),
    (
        "claim",
        "local wanted = visible_at or wake_at",
        "local wanted = wake_at or visible_at",
    ),
    (
        "claim",
        "local pending = activity or redis",
        "local pending = redis",
    ),
    (
        "claim",
        "if attempt > park_after",
        "if attempt >= park_after",
    ),
    (
        "claim",
        "(attempt - delay_after - 1)",
        "(attempt - delay_after)",
    ),
    ("claim", "and held_by ~= '(delayed)' then", "then"),
    ("claim", "  'attempt', attempt)", "  'attempt', 1)"),
    (
        "claim",
        "redis.call('HINCRBY', wf, 'fence', 1)\nredis",
        "redis",
    ),
    ("commit", "or held_fence ~= fence or", "or"),
    ("commit", "or held_claim ~= claim then", "then"),
    (
        "commit",
        "if (last_commit or '') ~= follows then",
        "if false then",
    ),
    ("commit", "if last_commit == commit then", "if false then"),
    (
        "commit",
        "(strict or finish) and waiting",
        "strict and waiting",
    ),
    ("commit", "if consumed > waiting then", "if false then"),
    (
        "commit",
        "if last_heard ~= '' and redis",
        "if false and redis",
    ),
    (
        "commit",
        "if waiting == consumed or (ahead and consumed >= tonumber(ahead)) then",
        "if waiting == consumed then",
    ),
    (
        "commit",
        "  redis.call('HINCRBY', wf, 'ahead', -consumed)\n",
        "",
    ),
    (
        "commit",
        "for i = sealed_ops - 1, 0, -1 do",
        "for i = 0, sealed_ops - 1 do",
    ),
    (
        "commit",
        "elseif waiting > consumed or activity ~= '' then",
        "elseif waiting > consumed then",
    ),
    (
        "commit",
        "wanted = visible_at ~= '' and visible_at or wake_at",
        "wanted = wake_at",
    ),
    ("commit", "redis.call('HSET', wf, 'attempt', 0)\n", "\n"),
    ("commit", "  redis.call('LTRIM', log, -log_max, -1)\n", ""),
    ("signal", "if preemptive or ends then", "if ends then"),
    ("signal", "if v and unless_it_waits and", "if v and"),
    (
        "signal",
        "unless_it_waits and not preemptive",
        "unless_it_waits",
    ),
    ("signal", "preemptive and not ends then", "preemptive then"),
    ("signal", "+ 1) == payload then", "+ 1) ~= payload then"),
    ("signal", "  redis.call('HINCRBY', wf, 'fence', 1)\n", ""),
    (
        "signal",
        "if not owner and not reason then",
        "if not owner then",
    ),
    ("signal", "if not preemptive and redis", "if redis"),
    (
        "signal",
        "if preemptive and once ~= '' and last == once then",
        "if false then",
    ),
    (
        "signal",
        "'barrier', 1, 'ahead', length)",
        "'barrier', 1, 'ahead', 1)",
    ),
    ("read", "with_sealed and redis", "not with_sealed and redis"),
    ("extend", "if not counts then", "if counts then"),
    ("extend", "  redis.call('HDEL', wf, 'claim')\n", ""),
    (
        "extend",
        "if not owner or held_fence ~= fence or held_claim ~= claim then",
        "if not owner then",
    ),
    (
        "reconcile",
        "    if owner then\n      wanted = lease_until\n    elseif",
        "    if",
    ),
    (
        "reconcile",
        "if tonumber(score) > now then what = 'score' end",
        "what = 'score'",
    ),
    ("requeue", "redis.call('HSET', wf, 'attempt', 0)", ""),
    ("requeue", "if not reason then", "if false then"),
    ("stamp", "if stored < newest then", "if false then"),
    ("stamp", "math.max(now, stored, newest)", "now"),
    ("turnstile", "if other and other ~= holder", "if other"),
    (
        "enter",
        "if taken and tonumber(taken) > now then",
        "if false then",
    ),
    (
        "enter",
        "if pause_left > 0 then return",
        "if false then return",
    ),
    (
        "enter",
        "if open_until and not through then\n  local open_left",
        "if open_until then\n  local open_left",
    ),
    (
        "enter",
        "if trial_ends and tonumber(trial_ends) > now then",
        "if trial_ends then",
    ),
    ("enter", ">= at_once then return", "> at_once then return"),
    (
        "enter",
        "if next_start > now_us + window_us then",
        "if false then",
    ),
    ("enter", "unpaced and now_us or next_start", "next_start"),
    (
        "enter",
        "math.min(next_start + spacing_us, now_us + window_us)",
        "next_start + spacing_us",
    ),
    (
        "enter",
        "if open_until and not through then redis.call('HSET', gate, 'trial', place) end",
        "",
    ),
    (
        "gate",
        "if pause_left <= 0 then redis.call('HDEL', gate, 'throttled') end",
        "redis.call('HDEL', gate, 'throttled')",
    ),
    (
        "gate",
        "'failed', 'opened', 'open_until', 'trial')",
        "'failed')",
    ),
    (
        "gate",
        "(opened == 0 and failed + 1 >= opens_after)",
        "opened == 0",
    ),
    ("gate", "(opened > 0 and open_left <= 0)", "opened > 0"),
    ("gate", "    redis.call('HDEL', gate, 'trial')\n", ""),
    ("gate", "and (pause_ms or pause_left <= 0) then", "then"),
    (
        "gate",
        "elseif throttled > 0 and pause_left <= 0 then",
        "elseif false then",
    ),
    (
        "gate",
        "if pause_left <= 0 then redis.call('HSET', gate, 'throttled', throttled + 1) end",
        "redis.call('HSET', gate, 'throttled', throttled + 1)",
    ),
    (
        "gate",
        "math.max(math.min(span, pause_max_ms), pause_left)",
        "math.min(span, pause_max_ms)",
    ),
    (
        "gate",
        "first * 2 ^ math.min(times, DOUBLINGS_MAX)",
        "first",
    ),
    ("drain", "if again then return", "if false then return"),
    (
        "drain",
        "  redis.call('HSET', readers, reader .. '.read', text(field(info, 'entries-added')))\n",
        "",
    ),
    (
        "drain",
        "text(behind + lost + #entries)",
        "text(behind + lost)",
    ),
    ("drain", "take('>')", "take('0')"),
    ("settle", "if abandoned and settled > 0", "if settled > 0"),
    ("reader", "if unsettled > 0 then", "if false then"),
    ("reader", "math.max(unread, 0)", "length"),
];

macro_rules! mutants {
    ($($script:ident)*) => {
        /// The scripts that have a test here.
        const TESTED: &[&str] = &[$(stringify!($script)),*];

        mod a_guard_that_is_left_out_is_noticed_in {
            $(#[test]
            fn $script() {
                super::all_are_noticed(stringify!($script));
            })*
        }
    };
}

mutants! {
    claim commit signal read extend reconcile requeue stamp turnstile enter gate drain settle reader
}

fn all_are_noticed(script: &str) {
    let server = Server::start(&["--appendonly", "no"]);
    let wire = Wire::to(&server);
    let options = RedisOptions {
        url: wire.url(),
        ..server.options()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let raw = runtime.block_on(server.raw());
    let bench = Bench::over(runtime, options, raw);
    // As long as nothing is mutilated the comparison holds; and the server learns all scripts.
    let about = match script {
        "enter" | "gate" => About::Gates,
        "drain" | "settle" | "reader" => About::Readers,
        _ => About::Workflows,
    };
    let compare = |cases, shrinks| {
        let sequences = steps::sequence(about, STEPS);
        bench.compare(sequences, SEED, cases, shrinks)
    };
    let whole = compare(40, 0);
    assert!(whole.is_ok(), "{whole:?}");
    let mut raw = server.blocking();
    let mut unnoticed = Vec::new();
    let theirs = MUTANTS.iter().filter(|(mutant, ..)| *mutant == script);
    for (_, from, to) in theirs {
        wire.mutilate(&mut raw, script, from, to);
        match compare(WITHIN, SHRINKS) {
            Ok(_) => unnoticed.push(from),
            Err((_, steps)) => println!("{script}: {from:?} in {} steps", steps.len()),
        }
        wire.mend();
    }
    assert!(unnoticed.is_empty(), "nobody noticed {unnoticed:#?}");
}

#[test]
fn every_script_has_mutants() {
    for (script, _) in SCRIPTS {
        let has = MUTANTS.iter().any(|(mutant, ..)| *mutant == script);
        assert!(has && TESTED.contains(&script), "no mutant of {script}.lua");
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts");
    for file in std::fs::read_dir(folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let name = name.trim_end_matches(".lua");
        let known = SCRIPTS.iter().any(|(script, _)| *script == name);
        assert!(
            known,
            "{name}.lua is not compared: add it to support/wire.rs, and a step for it"
        );
    }
}
