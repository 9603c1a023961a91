//! A workflow that has nothing to do with credentials: a trial that reminds and expires.
//!
//! ```text
//! cargo run -p evergreen-engine --example trial_expiry
//! cargo run -p evergreen-engine --example trial_expiry -- --redis-url redis://127.0.0.1:6379/0
//! ```
//!
//! The first runs at once: a store in memory, and a clock that is moved by hand from timer to timer.
//! The second runs the same story on a real Redis, with a worker, in days of a tenth of a second.
//!
//! Read [`trial`] first: it is the workflow, and all of it. Then [`mail`]: the one thing that it does
//! to the outside world, and what it takes to do that safely. [`story`] is what happens to two trials.

mod mail;
mod story;
mod trial;
mod world;

use std::process::ExitCode;

use world::World;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let told = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => tell(Ok(World::in_memory())).await,
        (Some("--redis-url"), Some(url)) => tell(World::on_redis(&url).await).await,
        _ => Err("usage: trial_expiry [--redis-url redis://HOST:PORT/DB]".into()),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn tell(world: Result<World, world::Problem>) -> Result<(), world::Problem> {
    let world = world?;
    story::tell(&world, &mut std::io::stdout()).await?;
    world.end().await
}
