//! Looks at the server every few seconds: at the last minute, and whether it keeps its bounds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::serve::agreement::Agreement;
use crate::serve::alert_command::AlertTeller;
use crate::serve::alerts::{Alerts, Objectives, window_numbers};
use crate::serve::process::MemoryUse;
use crate::serve::recent::{LastMinute, Recent};
use crate::serve::record::Records;

/// What is known of the last minute. Its locks are on the way of no request of a model.
pub(super) struct Watcher {
    records: Arc<Records>,
    recent: Mutex<Recent>,
    alerts: Mutex<Alerts>,
    /// By the models' names: how they are to the CPU, or why that is not known.
    agreements: Mutex<BTreeMap<String, Result<Agreement, String>>>,
    teller: AlertTeller,
}

impl Watcher {
    /// # Errors
    /// [`crate::Error::Device`] where there is no thread.
    pub(super) fn new(records: Arc<Records>, objectives: Objectives, command: Vec<String>) -> crate::Result<Self> {
        Ok(Self {
            teller: AlertTeller::new(command, records.clone())?,
            records,
            recent: Mutex::default(),
            alerts: Mutex::new(Alerts::new(objectives)),
            agreements: Mutex::default(),
        })
    }

    /// To be done every [`crate::serve::recent::TICK`].
    pub(super) fn tick(&self) {
        let minute = locked(&self.recent).mark(&self.records.counts);
        let cosine_min = self.agreements().values().flatten().map(|found| found.cosine_min).reduce(f64::min);
        let numbers = window_numbers(&minute, MemoryUse::now(), cosine_min);
        let changes = self.alerts().advance(SystemTime::now(), numbers);
        changes.iter().for_each(|change| self.teller.tell(change.to_json()));
    }

    pub(super) fn note_agreement(&self, model: &str, found: Result<Agreement, String>) {
        self.agreements().insert(model.to_owned(), found);
    }

    pub(super) fn agreements(&self) -> MutexGuard<'_, BTreeMap<String, Result<Agreement, String>>> {
        locked(&self.agreements)
    }

    pub(super) fn last_minute(&self) -> LastMinute {
        locked(&self.recent).now(&self.records.counts)
    }

    pub(super) fn alerts(&self) -> MutexGuard<'_, Alerts> {
        locked(&self.alerts)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
