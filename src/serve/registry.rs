//! The models of a server, by their names: loaded at the start or when a request asks for one, unloaded when none did for long.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex as AsyncMutex;

use crate::Error;
use crate::panic::guarded;
use crate::serve::fault::{Fault, FaultKind};
use crate::serve::served_model::{Role, ServedModel};
use crate::serve::timestamp::seconds_now;

/// Loads a model, which takes a while: called on a thread that may wait.
pub type LoadModel = Arc<dyn Fn() -> crate::Result<ServedModel> + Send + Sync>;

/// A model that a server has, before it is loaded.
pub struct ModelEntry {
    /// What requests call it, and what answers call it.
    pub name: String,
    /// What requests may call it, too.
    pub aliases: Vec<String>,
    pub load: LoadModel,
    /// Loads it for the CPU in float32; None for a model that is not compared with that.
    pub load_reference: Option<LoadModel>,
    /// Whether it is loaded when the server starts.
    pub preload: bool,
    /// How long it stays loaded after its last request; None for ever.
    pub keep_alive: Option<Duration>,
}

/// A model of a server, and where it stands.
pub(super) struct Slot {
    pub(super) name: String,
    load_model: LoadModel,
    load_reference: Option<LoadModel>,
    preload: bool,
    /// Milliseconds that it stays loaded after its last request, or `FOR_EVER`.
    keep_alive: AtomicU64,
    /// The first value of `keep_alive`, which it has again whenever the model is loaded.
    usual_keep_alive: u64,
    loaded: ArcSwapOption<ServedModel>,
    /// Held while it is loaded: of several requests that need it, one loads it.
    loading: AsyncMutex<()>,
    loaded_once: AtomicBool,
    /// Known from its first loading on.
    role: OnceLock<Role>,
    failure: Mutex<Option<String>>,
    last_used: AtomicU64,
    /// When a pass ended well, or the model was loaded, in seconds since 1970; 0 after a pass that failed.
    last_pass: AtomicU64,
}

/// A value of [`Slot::keep_alive`].
const FOR_EVER: u64 = u64::MAX;

/// How soon a client should ask again for a model that is being loaded.
const LOADING_RETRY: Duration = Duration::from_secs(1);

/// The models of a server.
pub(super) struct Registry {
    slots: Vec<Arc<Slot>>,
    by_name: HashMap<String, usize>,
    /// Bytes of the weights of all models that are loaded; None for no limit.
    max_bytes: Option<usize>,
    start: Instant,
}

impl Registry {
    /// # Errors
    /// [`Error::Argument`] where two models have one name, or there is no model.
    pub(super) fn new(entries: Vec<ModelEntry>, max_bytes: Option<usize>) -> crate::Result<Self> {
        let (mut slots, mut by_name) = (Vec::new(), HashMap::new());
        for (place, entry) in entries.into_iter().enumerate() {
            for name in std::iter::once(&entry.name).chain(&entry.aliases) {
                if by_name.insert(name.clone(), place).is_some_and(|other| other != place) {
                    return Err(Error::argument("models", format!("two are called {name:?}: give each its own name")));
                }
            }
            slots.push(Arc::new(Slot {
                name: entry.name,
                load_model: entry.load,
                load_reference: entry.load_reference,
                preload: entry.preload,
                keep_alive: AtomicU64::new(milliseconds(entry.keep_alive)),
                usual_keep_alive: milliseconds(entry.keep_alive),
                loaded: ArcSwapOption::empty(),
                loading: AsyncMutex::new(()),
                loaded_once: AtomicBool::new(false),
                role: OnceLock::new(),
                failure: Mutex::new(None),
                last_used: AtomicU64::new(0),
                last_pass: AtomicU64::new(0),
            }));
        }
        if slots.is_empty() {
            return Err(Error::argument("models", "give one model at least"));
        }
        Ok(Self { slots, by_name, max_bytes, start: Instant::now() })
    }

    pub(super) fn slots(&self) -> &[Arc<Slot>] {
        &self.slots
    }

    /// The model of that name; the first one for no name, for "" and for "default". Ollama's `:latest` may follow.
    ///
    /// # Errors
    /// A fault that lists the names.
    pub(super) fn slot(&self, name: Option<&str>) -> Result<&Arc<Slot>, Fault> {
        let name = match name {
            None | Some("") => return Ok(&self.slots[0]),
            Some(name) => name,
        };
        let place = self.by_name.get(name).or_else(|| self.by_name.get(name.strip_suffix(":latest")?));
        match place {
            Some(&place) => Ok(&self.slots[place]),
            None if name == "default" => Ok(&self.slots[0]),
            None => {
                let names: Vec<_> = self.slots.iter().map(|slot| slot.name.as_str()).collect();
                let message = format!("model {:?} not found; this server has {}", short(name), names.join(", "));
                Err(Fault::new(FaultKind::UnknownModel, message).about("model"))
            }
        }
    }

    /// The model of that name, loaded now if it was unloaded, or is loaded by need.
    ///
    /// # Errors
    /// Those of [`Self::slot`]; a fault while it is loaded for the first time at the start, and where it cannot be loaded.
    pub(super) async fn model(&self, name: Option<&str>) -> Result<(Arc<Slot>, Arc<ServedModel>), Fault> {
        let slot = self.slot(name)?;
        slot.last_used.store(milliseconds(Some(self.start.elapsed())), Ordering::Relaxed);
        let model = match slot.loaded.load_full() {
            Some(model) => model,
            None if slot.is_starting() => {
                let message = format!("{} is being loaded", slot.name);
                return Err(Fault::new(FaultKind::Unavailable, message).retry_after(LOADING_RETRY));
            }
            None => {
                let model = slot.load(false).await?;
                self.make_room(slot);
                model
            }
        };
        Ok((slot.clone(), model))
    }

    /// The model of that name; for no name the first one that `fits`, or else the first one.
    ///
    /// Which one that is does not depend on what is loaded now: models whose roles are not known yet are loaded in their order.
    ///
    /// # Errors
    /// Those of [`Self::model`].
    pub(super) async fn fitting(
        &self,
        name: Option<&str>,
        fits: fn(&Role) -> bool,
    ) -> Result<(Arc<Slot>, Arc<ServedModel>), Fault> {
        if name.is_some_and(|name| !name.is_empty()) {
            return self.model(name).await;
        }
        for slot in self.slots.iter().filter(|slot| slot.role.get().is_none_or(fits)) {
            let found = self.model(Some(&slot.name)).await?;
            if fits(&found.1.role) {
                return Ok(found);
            }
        }
        self.model(None).await
    }

    /// Loads what is to be there from the start, one after the other. Those that fail are tried again by the first request.
    pub(super) async fn preload(&self) {
        for slot in self.slots.iter().filter(|slot| slot.preload) {
            // Kept as its failure, and told by health and by requests.
            let _ = slot.load(false).await;
            self.make_room(slot);
        }
    }

    /// Loads what is loaded again, from its files as they are now. Each takes the other's place when it is there; one that cannot be
    /// loaded leaves the other where it was. Gives the names, with what went wrong.
    pub(super) async fn reload(&self) -> Vec<(String, Option<String>)> {
        let mut reloaded = Vec::new();
        for slot in self.slots.iter().filter(|slot| slot.loaded().is_some()) {
            let failure = slot.load(true).await.err().map(|fault| fault.message);
            reloaded.push((slot.name.clone(), failure));
        }
        reloaded
    }

    /// Unloads those that nobody asked for longest, until all but `newest` take no more than they may.
    fn make_room(&self, newest: &Arc<Slot>) {
        let Some(max_bytes) = self.max_bytes else { return };
        loop {
            let loaded: Vec<_> = self.slots.iter().filter_map(|slot| Some((slot, slot.loaded()?))).collect();
            let bytes: usize = loaded.iter().map(|(_, model)| model.routes.weight_bytes()).sum();
            let others = loaded.iter().filter(|(slot, _)| !Arc::ptr_eq(slot, newest));
            match others.min_by_key(|(slot, _)| slot.last_used.load(Ordering::Relaxed)) {
                Some((oldest, _)) if bytes > max_bytes => oldest.loaded.store(None),
                _ => return,
            }
        }
    }

    /// Unloads what no request has asked for as long as it is kept.
    pub(super) fn unload_idle(&self) {
        for slot in &self.slots {
            if self.time_left(slot) == Some(Duration::ZERO) {
                slot.loaded.store(None);
            }
        }
    }

    /// How long a model stays loaded if nobody asks for it; None for ever.
    pub(super) fn time_left(&self, slot: &Slot) -> Option<Duration> {
        let (last, kept) = (slot.last_used.load(Ordering::Relaxed), slot.keep_alive.load(Ordering::Relaxed));
        let idle = milliseconds(Some(self.start.elapsed())).saturating_sub(last);
        (kept != FOR_EVER).then(|| Duration::from_millis(kept.saturating_sub(idle)))
    }

    /// Why the server is not ready: what is not loaded of that which must be.
    pub(super) fn not_ready(&self) -> Option<String> {
        let missing = self.slots.iter().find(|slot| slot.preload && !slot.loaded_once.load(Ordering::Acquire))?;
        Some(match missing.failure() {
            Some(failure) => format!("{} cannot be loaded: {failure}", missing.name),
            None => format!("{} is being loaded", missing.name),
        })
    }
}

impl Slot {
    /// The model, where it is loaded.
    pub(super) fn loaded(&self) -> Option<Arc<ServedModel>> {
        self.loaded.load_full()
    }

    /// Why it could not be loaded, where that was tried last.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What loads it for the CPU in float32.
    pub(super) fn load_reference(&self) -> Option<LoadModel> {
        self.load_reference.clone()
    }

    /// Notes how a pass ended.
    pub(super) fn note_pass(&self, is_good: bool) {
        self.last_pass.store(if is_good { seconds_now() } else { 0 }, Ordering::Relaxed);
    }

    /// Whether no pass has ended well for so many seconds.
    pub(super) fn is_unproven(&self, seconds: u64) -> bool {
        seconds_now().saturating_sub(self.last_pass.load(Ordering::Relaxed)) > seconds
    }

    /// Whether the start of the server is loading it.
    fn is_starting(&self) -> bool {
        self.preload && !self.loaded_once.load(Ordering::Acquire) && self.failure().is_none()
    }

    /// Keeps it loaded for so long after each request, until it is loaded anew; zero unloads it behind those that run.
    pub(super) fn keep(&self, time: Option<Duration>) {
        self.keep_alive.store(milliseconds(time), Ordering::Relaxed);
    }

    /// Loads it, in a task of its own: a client that leaves meanwhile leaves a model that is loaded. One that is there, as another request
    /// may have loaded it by now, is loaded `again` or taken.
    async fn load(self: &Arc<Self>, again: bool) -> Result<Arc<ServedModel>, Fault> {
        let slot = self.clone();
        let task = tokio::spawn(async move {
            let _one = slot.loading.lock().await;
            match slot.loaded.load_full() {
                Some(model) if !again => Ok(model),
                _ => slot.load_from_files().await,
            }
        });
        task.await.unwrap_or_else(|_| Err(Fault::new(FaultKind::Failed, "loading a model panicked")))
    }

    /// Under the lock `loading`.
    async fn load_from_files(&self) -> Result<Arc<ServedModel>, Fault> {
        let load = self.load_model.clone();
        let loaded = tokio::task::spawn_blocking(move || guarded(|| load())).await;
        let model = loaded.unwrap_or_else(|_| Err(Error::internal("loading a model panicked")));
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match model {
            Ok(model) => {
                let model = Arc::new(model);
                *failure = None;
                self.keep_alive.store(self.usual_keep_alive, Ordering::Relaxed);
                self.role.get_or_init(|| model.role);
                self.loaded.store(Some(model.clone()));
                self.note_pass(true);
                self.loaded_once.store(true, Ordering::Release);
                Ok(model)
            }
            Err(error) => {
                let message = error.message();
                let fault = format!("{} cannot be loaded: {message}", self.name);
                *failure = Some(message);
                Err(Fault::new(FaultKind::Unavailable, fault).retry_after(LOADING_RETRY))
            }
        }
    }
}

fn milliseconds(time: Option<Duration>) -> u64 {
    time.and_then(|time| u64::try_from(time.as_millis()).ok()).unwrap_or(FOR_EVER)
}

/// The beginning of a name that a client sent.
fn short(name: &str) -> &str {
    &name[..name.floor_char_boundary(100)]
}
