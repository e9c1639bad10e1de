//! The networks of a model, and which of them a text goes through.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::Result;
use crate::config::Router;
use crate::engine::queue_depth::QueueDepth;
use crate::engine::shared_network::SharedNetwork;

/// One network, or one for each route of a Router. Routes of the same modules share theirs.
#[derive(Clone)]
pub struct Routes {
    networks: Vec<Arc<RouteNetwork>>,
    router: Option<Router>,
}

/// The network of a route, which may be loaded only when a text takes it.
pub(super) struct RouteNetwork {
    loaded: OnceLock<Arc<SharedNetwork>>,
    load: Mutex<Option<LoadNetwork>>,
}

type LoadNetwork = Box<dyn Fn() -> Result<SharedNetwork> + Send>;

impl RouteNetwork {
    pub(super) fn loaded(network: Arc<SharedNetwork>) -> Self {
        Self { loaded: OnceLock::from(network), load: Mutex::new(None) }
    }

    pub(super) fn unloaded(load: impl Fn() -> Result<SharedNetwork> + Send + 'static) -> Self {
        Self { loaded: OnceLock::new(), load: Mutex::new(Some(Box::new(load))) }
    }

    /// The network, loaded now if it is not yet. One that could not be loaded is tried again by the next call.
    pub(super) fn get(&self) -> Result<&Arc<SharedNetwork>> {
        if let Some(network) = self.loaded.get() {
            return Ok(network);
        }
        let mut load = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(load_network) = &*load {
            let network = Arc::new(load_network()?);
            *load = None;
            return Ok(self.loaded.get_or_init(|| network));
        }
        Ok(self.loaded.get().expect("what was loaded stays"))
    }
}

impl Routes {
    /// A network by itself, which has no tasks.
    pub(super) fn one(network: SharedNetwork) -> Self {
        Self { networks: vec![Arc::new(RouteNetwork::loaded(Arc::new(network)))], router: None }
    }

    /// The networks of a Router's routes, in their order. The main one is loaded.
    pub(super) fn new(networks: Vec<Arc<RouteNetwork>>, router: Option<Router>) -> Self {
        Self { networks, router }
    }

    /// The network of texts without a task, or, where they need one, of the first route.
    pub fn main(&self) -> &Arc<SharedNetwork> {
        let main = self.router.as_ref().map_or(0, Router::main_route);
        self.networks[main].loaded.get().expect("the main network is loaded with the model")
    }

    /// The network of texts of `task`; where there are no tasks, the only one. Loads it, if it is not loaded yet.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] where there is no such task, and those of loading.
    pub fn of(&self, task: Option<&str>) -> Result<&Arc<SharedNetwork>> {
        let route = self.router.as_ref().map_or(Ok(0), |router| router.route(task))?;
        self.networks[route].get()
    }

    /// Whether texts have tasks.
    pub fn has_tasks(&self) -> bool {
        self.router.is_some()
    }

    /// Bytes of the weights of all networks that are loaded.
    pub fn weight_bytes(&self) -> usize {
        self.distinct().map(|network| network.network().weight_bytes()).sum()
    }

    /// How much waits for all networks together, in this process.
    pub fn depth(&self) -> QueueDepth {
        self.distinct().map(|network| network.depth()).sum()
    }

    /// The most tokens of an input: the one that is wanted, which every network must have positions for, else the largest that the
    /// files of one allow.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] where a network refuses what is wanted.
    pub fn max_length(&self, wanted: Option<usize>) -> Result<Option<usize>> {
        let Some(length) = wanted else {
            let own: Option<Vec<usize>> = self.distinct().map(|network| network.network().own_length()).collect();
            return Ok(own.and_then(|lengths| lengths.into_iter().max()));
        };
        self.distinct().try_for_each(|network| network.network().check_max_length(length))?;
        Ok(wanted)
    }

    /// Each network that is loaded, once.
    fn distinct(&self) -> impl Iterator<Item = &Arc<SharedNetwork>> {
        let networks = &self.networks;
        let is_new = move |(i, network): &(usize, &Arc<RouteNetwork>)| {
            !networks[..*i].iter().any(|other| Arc::ptr_eq(other, network))
        };
        networks.iter().enumerate().filter(is_new).filter_map(|(_, network)| network.loaded.get())
    }
}
