//! One process of the fleet, from its start to its end: what it can do only through its network, its
//! disk and its clock, and how each of these fails it.
//!
//! A process that has crashed is not torn down. Its calls never come back, its disk takes nothing any
//! more: so its tasks stand still for ever, and its memory is as good as gone.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evergreen_engine::testing::{Fault, Op};
use futures::FutureExt;
use futures::future::BoxFuture;
use ninjaone::journal::{Disk, MemoryDisk, Orphans};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::dice::Dice;
use super::scene::Scene;

/// One life of a process.
pub(crate) struct Process {
    pub(crate) name: String,
    /// Distinguishes its lives, and those of all others.
    pub(crate) number: u64,
    pub(crate) scene: Arc<Scene>,
    pub(crate) dice: Dice,
    pub(crate) wall_offset_ms: AtomicI64,
    ended: AtomicBool,
    pub(crate) end: Notify,
    frozen_until: Mutex<Option<Instant>>,
    cut_off_until: Mutex<Option<Instant>>,
}

impl Process {
    pub(crate) fn new(name: &str, number: u64, scene: &Arc<Scene>) -> Self {
        Self {
            name: name.to_owned(),
            number,
            scene: Arc::clone(scene),
            dice: Dice::new(scene.seed, &format!("process {number}")),
            wall_offset_ms: AtomicI64::new(0),
            ended: AtomicBool::new(false),
            end: Notify::new(),
            frozen_until: Mutex::default(),
            cut_off_until: Mutex::default(),
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// It is no more: nothing that it was about to do happens.
    pub(crate) fn die(&self, how: &str) {
        if !self.ended.swap(true, Ordering::Relaxed) {
            self.scene.trace.say(&self.name, how);
            self.scene.provider.reader_ended(self.number);
            self.scene.truth().ended(self.number);
            self.end.notify_one();
        }
    }

    pub(crate) fn freeze(&self, span: Duration) {
        self.scene
            .trace
            .say(&self.name, format!("stands still for {span:?}"));
        *lock(&self.frozen_until) = Some(Instant::now() + span);
    }

    pub(crate) fn cut_off(&self, span: Duration) {
        self.scene
            .trace
            .say(&self.name, format!("does not reach the store for {span:?}"));
        *lock(&self.cut_off_until) = Some(Instant::now() + span);
    }

    /// It goes on, and reaches the store.
    pub(crate) fn recover(&self) {
        *lock(&self.frozen_until) = None;
        *lock(&self.cut_off_until) = None;
    }

    fn is_held(&self) -> bool {
        let frozen = *lock(&self.frozen_until);
        self.has_ended() || frozen.is_some_and(|until| until > Instant::now())
    }

    /// Goes on when the process does: at once, when it thaws, or never.
    pub(crate) async fn goes_on(&self) {
        loop {
            if self.has_ended() {
                std::future::pending::<()>().await;
            }
            let frozen = *lock(&self.frozen_until);
            match frozen {
                Some(until) if until > Instant::now() => sleep_until(until).await,
                _ => return,
            }
        }
    }

    /// What becomes of one call of the store.
    pub(crate) fn fate(self: &Arc<Self>, op: Op) -> Option<Fault> {
        let bad = self.scene.is_bad();
        let plan = &self.scene.plan;
        let writes = matches!(op, Op::Claim | Op::Commit | Op::Signal | Op::Extend);
        if !bad {
            return self.is_held().then(|| self.journey(None, None, None));
        }
        if writes && self.dice.chance(plan.freeze) {
            if self.dice.chance(0.5) {
                self.freeze(self.dice.seconds(2, 40));
            } else {
                return Some(self.journey(None, None, Some(Befalls::Freeze)));
            }
        }
        if writes && self.dice.chance(plan.crash) {
            if self.dice.chance(0.5) {
                self.die(&format!("crashes before a {op:?}"));
            } else {
                return Some(self.journey(None, None, Some(Befalls::Crash(op))));
            }
        }
        let cut = *lock(&self.cut_off_until);
        let end = if cut.is_some_and(|until| until > Instant::now()) || self.dice.chance(plan.away)
        {
            Some(Fault::Away)
        } else if writes && self.dice.chance(plan.reply_lost) {
            Some(Fault::ReplyLost)
        } else if writes && self.dice.chance(plan.unconfirmed) {
            Some(Fault::Unconfirmed)
        } else {
            None
        };
        let late = self.dice.chance(plan.late).then(|| {
            let longest = *self.dice.pick(&[3, 30, 300, 6_000]);
            (self.dice.millis(0, longest), self.dice.millis(0, longest))
        });
        if end.is_none() && late.is_none() && !self.is_held() {
            return None;
        }
        Some(self.journey(late, end, None))
    }

    fn journey(
        self: &Arc<Self>,
        late: Option<(Duration, Duration)>,
        end: Option<Fault>,
        behind: Option<Befalls>,
    ) -> Fault {
        let way = |span: Option<Duration>, behind: Option<Befalls>| -> BoxFuture<'static, ()> {
            let this = Arc::clone(self);
            async move {
                if let Some(span) = span {
                    sleep_until(Instant::now() + span).await;
                }
                match behind {
                    Some(Befalls::Crash(op)) => this.die(&format!("crashes after a {op:?}")),
                    Some(Befalls::Freeze) => this.freeze(this.dice.seconds(2, 40)),
                    None => {}
                }
                this.goes_on().await;
            }
            .boxed()
        };
        Fault::Journey {
            there: way(late.map(|(there, _)| there), None),
            end: end.map(Box::new),
            back: way(late.map(|(_, back)| back), behind),
        }
    }

    /// Its wall clock, ms since 1970.
    pub(crate) fn wall_ms(&self) -> u64 {
        let offset = self.wall_offset_ms.load(Ordering::Relaxed);
        self.scene.true_ms().saturating_add_signed(offset)
    }
}

/// What befalls a process when a call has taken effect, and before it is answered.
#[derive(Debug, Clone, Copy)]
enum Befalls {
    Crash(Op),
    Freeze,
}

/// The disk of a process. Its content outlives the process.
pub(crate) struct ProcessDisk {
    disk: MemoryDisk,
    process: Arc<Process>,
    /// Ids of the entries that it has seen.
    seen: BTreeSet<String>,
}

impl ProcessDisk {
    pub(crate) fn new(disk: MemoryDisk, process: &Arc<Process>) -> Self {
        let seen = puts(&disk.bytes()).into_iter().map(|(id, _)| id).collect();
        Self {
            disk,
            process: Arc::clone(process),
            seen,
        }
    }

    fn write(&mut self, bytes: &[u8], how: How) -> io::Result<()> {
        let process = Arc::clone(&self.process);
        let mut new = puts(bytes);
        new.retain(|(id, _)| self.seen.insert(id.clone()));
        let (plan, mut dies) = (&process.scene.plan, false);
        if !new.is_empty() && process.scene.is_bad() {
            dies = process.dice.chance(plan.crash_at_the_disk);
            if dies && process.dice.chance(0.5) {
                process.die("crashes before a pair is in its journal");
            }
            if process.dice.chance(plan.full_disk) {
                process.scene.trace.say(&process.name, "its disk is full");
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        self.alive()?;
        how(&mut self.disk, bytes)?;
        for (_, integration) in &new {
            process
                .scene
                .provider
                .journalled(integration, process.number);
        }
        if dies {
            process.die("crashes after a pair is in its journal");
        }
        Ok(())
    }

    fn alive(&self) -> io::Result<()> {
        if self.process.has_ended() {
            return Err(io::Error::other("this process has ended"));
        }
        Ok(())
    }
}

type How = fn(&mut MemoryDisk, &[u8]) -> io::Result<()>;

/// The entries that are put in these lines: id and workflow.
fn puts(bytes: &[u8]) -> Vec<(String, String)> {
    /// Length, blank, checksum, blank.
    const PREFIX: usize = 8 + 1 + 16 + 1;
    let text = String::from_utf8_lossy(bytes);
    let jsons = text.lines().filter_map(|line| line.get(PREFIX..));
    let values = jsons.filter_map(|json| serde_json::from_str::<serde_json::Value>(json).ok());
    let put = |value: serde_json::Value| {
        let put = value.get("put")?;
        let text = |field: &str| Some(put.get(field)?.as_str()?.to_owned());
        Some((text("id")?, text("workflow")?))
    };
    values.filter_map(put).collect()
}

impl Disk for ProcessDisk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes, MemoryDisk::append)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.sync()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.alive()?;
        self.disk.cut(length)
    }

    fn write_fresh(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes, MemoryDisk::write_fresh)
    }

    fn sync_fresh(&mut self) -> io::Result<()> {
        self.disk.sync_fresh()
    }

    fn install_fresh(&mut self) -> io::Result<()> {
        self.alive()?;
        self.disk.install_fresh()
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        self.disk.sync_directory()
    }

    fn take_orphans(&mut self) -> io::Result<Orphans> {
        self.disk.take_orphans()
    }

    fn delete_orphans(&mut self) -> io::Result<()> {
        self.disk.delete_orphans()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
