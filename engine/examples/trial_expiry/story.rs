//! What happens to two trials, told as it happens.

use std::collections::BTreeMap;
use std::io::Write;

use evergreen_engine::store::Signalled;
use evergreen_engine::{Delivery, Millis, WorkflowId};

use super::trial::{Signal, Trial};
use super::world::{Problem, World};

/// Tells the story of Ada, who extends, and of Grace, who buys.
pub(crate) async fn tell(world: &World, out: &mut dyn Write) -> Result<(), Problem> {
    let ada = WorkflowId::new("trial", &format!("ada{}", world.suffix))?;
    let grace = WorkflowId::new("trial", &format!("grace{}", world.suffix))?;
    let mut teller = Teller::new(world, out).await?;

    teller.say("Ada and Grace begin trials of thirty days.")?;
    begin(world, &ada, "ada@example.com").await?;
    begin(world, &grace, "grace@example.com").await?;
    teller.days(20).await?;
    teller.show(&ada).await?;

    teller.say("Grace buys.")?;
    teller.send(&grace, &Signal::Convert).await?;
    teller.say("The next connection to the post office will break.")?;
    world.office.break_next_connection();
    teller.days(5).await?;
    teller.show(&ada).await?;

    teller.say("Ada asks for fourteen days more.")?;
    teller.send(&ada, &Signal::Extend { days: 14 }).await?;
    teller.days(5).await?;
    teller.show(&ada).await?;
    teller.days(10).await?;
    teller.show(&ada).await?;
    teller.days(10).await?;
    teller.show(&ada).await?;
    teller.show(&grace).await?;

    teller.say("Ada asks again, and is told nothing new: it is over.")?;
    teller.send(&ada, &Signal::Extend { days: 14 }).await?;
    teller.days(30).await?;
    teller.show(&ada).await?;
    teller.show(&grace).await
}

async fn begin(world: &World, id: &WorkflowId, email: &str) -> Result<(), Problem> {
    let begin = Signal::Begin {
        email: email.to_owned(),
        days: 30,
    };
    let delivery = Delivery::creating();
    match world.engine().signal::<Trial>(id, &begin, delivery).await? {
        Signalled::Queued { .. } => Ok(()),
        other => Err(format!("{id} did not begin: {other:?}").into()),
    }
}

/// Tells what has happened since it last did.
struct Teller<'a> {
    world: &'a World,
    out: &'a mut dyn Write,
    begin: Millis,
    today: Millis,
    read: BTreeMap<u16, String>,
}

impl<'a> Teller<'a> {
    async fn new(world: &'a World, out: &'a mut dyn Write) -> Result<Self, Problem> {
        let begin = world.now().await?;
        let mut read = BTreeMap::new();
        let store = world.engine().store();
        for partition in 0..store.partitions() {
            if let Some(end) = store.events_end(partition).await? {
                read.insert(partition, end);
            }
        }
        Ok(Self {
            world,
            out,
            begin,
            today: begin,
            read,
        })
    }

    fn say(&mut self, text: &str) -> Result<(), Problem> {
        writeln!(self.out, "\n{}  {text}", self.day(self.today))?;
        Ok(())
    }

    /// Sends a signal. Only what is queued will be heard.
    async fn send(&mut self, id: &WorkflowId, signal: &Signal) -> Result<(), Problem> {
        let delivery = Delivery::default();
        let engine = self.world.engine();
        match engine.signal::<Trial>(id, signal, delivery).await? {
            Signalled::Queued { .. } => Ok(()),
            Signalled::Unknown => self.say("There is nobody to hear it."),
            Signalled::Full => Err(format!("too many signals wait for {id} already").into()),
        }
    }

    /// Lets days pass, and tells what the post office and the outbox saw.
    async fn days(&mut self, days: u64) -> Result<(), Problem> {
        self.world.days(days).await;
        self.today = self.world.now().await?;
        let mut seen = self.world.office.seen();
        let store = self.world.engine().store();
        for partition in 0..store.partitions() {
            let after = self.read.get(&partition).map(String::as_str);
            for event in store.events(partition, after, 100).await? {
                let at = event.position.split('-').next().unwrap_or_default();
                let entry = event.entry;
                let (name, subject, payload) = (entry.event, entry.subject, entry.payload);
                seen.push((at.parse()?, format!("outbox: {name} {subject} {payload}")));
                self.read.insert(partition, event.position);
            }
        }
        // By the hour: what a letter brings about comes after it.
        let hour = self.world.day.div_ceil(24);
        seen.sort_by_key(|(at, _)| at.saturating_sub(self.begin) / hour);
        for (at, text) in seen {
            writeln!(self.out, "{}    {text}", self.day(at))?;
        }
        Ok(())
    }

    /// Shows a workflow as `redis-cli` would.
    async fn show(&mut self, id: &WorkflowId) -> Result<(), Problem> {
        let today = self.day(self.today);
        let view = self.world.engine().read::<Trial>(id, false).await?;
        let Some(view) = view else {
            writeln!(self.out, "{today}    {id} is gone")?;
            return Ok(());
        };
        let (trial, _) = view.machine?;
        let record = view.reading.record;
        let wakes = record.wake_at.map_or("never".to_owned(), |at| self.day(at));
        writeln!(
            self.out,
            "{today}    {id} is {}, ends {}, wakes {}",
            record.state,
            self.day(trial.ends_at).trim(),
            wakes.trim(),
        )?;
        Ok(())
    }

    /// A time as a day and an hour of this story.
    fn day(&self, at: Millis) -> String {
        let since = at.saturating_sub(self.begin);
        let hour = since % self.world.day * 24 / self.world.day;
        format!("day {:2} {hour:02}h", since / self.world.day)
    }
}
