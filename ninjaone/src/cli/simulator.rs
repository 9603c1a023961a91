//! `evergreen simulator`: the stand-in for NinjaOne, alone.

use super::failure::{Ended, Exit, Failure};
use super::shutdown;
use crate::simulator::cli::{SimulatorArgs, run as serve};

pub(super) async fn run(args: SimulatorArgs) -> Ended {
    let stop = shutdown::signalled()?;
    match serve(args, stop).await {
        Ok(()) => Ok(Exit::Ok),
        Err(error) => Err(Failure::of(Exit::Usage, "running the simulator", &error)
            .help("choose another address: evergreen simulator --listen 127.0.0.1:0")),
    }
}
