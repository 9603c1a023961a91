//! Running the checker.

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use super::promises::Promise;
use super::rules::Rules;
use super::state::State;
use super::words::tell;
use super::world::{Config, Step, World};

/// A promise that is broken, and the shortest way there.
pub(crate) struct Broken {
    pub(crate) world: World,
    pub(crate) trace: Vec<(State, Option<Step>)>,
}

impl Broken {
    pub(crate) fn tell(&self) -> String {
        tell(&self.world, &self.trace)
    }
}

/// Looks at all states of a configuration, nearest first, until one breaks one of the promises.
pub(crate) fn look(
    rules: Rules,
    config: Config,
    promises: &[Promise],
) -> Option<(Promise, Broken)> {
    let began = Instant::now();
    let world = World::new(rules, config, promises);
    // One thread: with more the nearest would not be met first.
    let checker = world
        .clone()
        .checker()
        .threads(1)
        .target_max_depth(config.deepest);
    let checker = checker
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    println!(
        "{}: {} states, {} steps deep, {:.1} s",
        config.name,
        checker.unique_state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f64()
    );
    let found = checker
        .discoveries()
        .into_iter()
        .map(|(name, path)| (name, path.into_vec()));
    let (name, trace) = found.min_by_key(|(_, trace)| trace.len())?;
    let promise = promises.iter().find(|promise| promise.text() == name)?;
    Some((*promise, Broken { world, trace }))
}
