//! The protocol as a model, and every way in which it could go wrong.
//!
//! A checker (`stateright`) visits every state that the model can reach, nearest first, and looks in each
//! whether the promises hold. That is worth more than a simulation, which meets what its seeds meet, and
//! it is worth it only as far as the model is the protocol. This page says how far that is.
//!
//! # What is modelled
//! - **The store**, script by script (`store.rs`): claim, commit (strict, `already`, fenced, `invalid`), signal
//!   (plain, pre-emptive, creating, ending a claim), giving back, reconcile; record, inbox, sealed blob, index.
//! - **A worker's turn** (`turn.rs`), cut at every point at which a process can stop or die with something
//!   different left behind: claim, reply of the claim, intent, request, answer, reading and journalling,
//!   final commit, delivery of what was fenced. Whoever stops goes on at any later time, or never.
//! - **The machine** (`machine.rs`): the chart of a grant with its generation, the mark of the unknown, the one
//!   retry, what is spent, the quarantine, `not_before`, and one thing that is to be said in time.
//! - **The journal** of each worker: carried, left over, aging; replay at the start and on a new run id.
//! - **The provider**: of each grant one refresh token works, using it replaces it, any other is rejected and
//!   nothing else happens. In one configuration it answers a spent one once more.
//! - **What goes wrong** (`faults.rs`): processes die and start, replies of the store and of the provider are
//!   lost or late, a replica stops hearing and takes over (its clock ahead or not), the store comes back empty,
//!   the index is damaged; people consent, consent twice, disconnect, revoke, reset and want refreshes.
//!
//! # How time is kept small
//! Every time is counted from now, and what has come stays at 0 (`time.rs`). There is no clock that grows, so
//! the states are finitely many although time passes for as long as it likes, and so the check is over all
//! durations, not up to a bound. A lease is one tick: held, or ended. Trust is as long as the lease, which is
//! what the margin makes sure of in production. Claim ids, commit ids and fences are only ever compared, so they
//! are renamed after each step; distances between fences stay, since a failover may mint one again.
//!
//! # How "in the end" is checked
//! That a good end can be reached from *every* state is not a property of one state, nor one that the checker
//! knows (its "eventually" speaks of every path, and a process that stops for ever is one). So from every
//! state the model takes a run in which nothing more goes wrong (`fair.rs`), until nothing is left to do, and
//! looks at the end: nothing held, nothing unheard, nothing in a journal, a token that works, or a verdict
//! that is true. The steps of such a run are steps of the model, so it soon meets a state whose end is known,
//! and all ends together cost about as much as the search.
//!
//! # What is not modelled
//! - More than one workflow: workflows share nothing but the index, which is a set of entries, and the gate.
//! - The gate's bucket and slots, the order of expiry, heads and wake messages: they delay, and never decide.
//! - `Active` but for its one answer that asks for a request, `Adopt` (a `Connect`, or nothing), the client
//!   grant (no refresh token, so nothing to lose), webhooks and streams, schema upgrades.
//! - Three rounds of a strict commit: here there are as many as signals come. The limit is the turn's.
//! - A disk that is lost with its journal, several replicas (each must vouch, so they are one), restoring an old
//!   backup: a failover that goes back further than anybody vouched for is the same with more lost.
//! - Reading and journalling are one step: a pair counts as read once it is on the disk. A process that dies
//!   between the two loses it, and no protocol can help.
//! - A second copy of the same `Rescued` in an inbox: the machine drops it in every state, and copies without end
//!   would make states without end.
//!
//! # Rules as switches
//! `rules.rs` has a switch for each rule. `holds.rs` shows that with all of them no promise breaks, in every
//! configuration; `breaks.rs` that without any one of them a promise does, which, and how; `limits.rs` what
//! is no promise although it sounds like one. README.md has the table; a test keeps it true.
//!
//! # How you could get this wrong
//! By adding a rule that no promise needs: then `breaks.rs` cannot have its line. By noting a broken promise
//! from what the model *thinks* rather than from what *is* (`State::working`, `State::read`, `uncertain`). By
//! a budget so small that the fault never happens: the line in `breaks.rs` would be missing. By a fair run
//! that takes a step which the checker does not take: it would call good what cannot be reached.

mod breaks;
mod check;
mod configs;
mod fair;
mod faults;
mod holds;
mod limits;
mod machine;
mod observed;
mod promises;
mod rescue;
mod rules;
mod state;
mod store;
mod table;
mod time;
mod turn;
mod words;
mod world;
